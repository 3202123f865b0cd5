"""What an engine is: prompts in, responses out. The group `engine` chooses one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from medgrpo.config.schema import Problem
from medgrpo.model.base import Policy

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SEED = 0  # of sampled answers
ONLY_EVALUATES = Problem("engine", "answers with weights of its own: add trainer=none")


class Generation(NamedTuple):
    """What a model wrote."""

    text: str  # without special tokens
    tokens: int  # its length, the end token included
    truncated: bool  # cut off at `max_new_tokens`, before an end token


class Engine(Protocol):
    """Answers prompts, by the policy or in its name."""

    @classmethod
    def unsupported(cls, *, trains: bool, adapter: bool) -> Iterator[Problem]:
        """Why it cannot answer in a run that trains, or loads `model.adapter`, or on this machine.

        Asked while the config is checked, before anything is made.
        """
        yield from ()

    def generate(
        self,
        policy: Policy,
        prompts: Sequence[list[dict[str, str]]],
        *,
        batch_size: int,
        max_new_tokens: int,
        temperature: float = 0.0,
        chat_template_kwargs: dict[str, Any] | None = None,
        on_progress: Callable[[int], None] = lambda answered: None,
    ) -> list[Generation]:
        """The response to each prompt (chat messages), in the order of `prompts`.

        Greedy at temperature 0; above it sampled, the same for the same prompts. `batch_size` are
        under way at a time, and a response has at most `max_new_tokens`. `on_progress` gets the
        number of prompts answered so far. Raises UserError where no answer can be had: a missing
        one would look like a wrong one.
        """


def prompt_ids(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[list[dict[str, str]]],
    chat_template_kwargs: dict[str, Any] | None,
) -> list[list[int]]:
    """The token ids of each prompt, by the policy's own template, up to where the answer starts."""
    texts = [
        tokenizer.apply_chat_template(
            prompt, tokenize=False, add_generation_prompt=True, **(chat_template_kwargs or {})
        )
        for prompt in prompts
    ]
    return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
