"""What an engine is: prompts in, responses out. The group `engine` chooses one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeAlias

from medgrpo.config.schema import Problem
from medgrpo.dataset.example import Example, Messages
from medgrpo.errors import UserError
from medgrpo.model.base import Policy

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SEED = 0  # of sampled answers
ONLY_EVALUATES = Problem("engine", "answers with weights of its own: add trainer=none")


class Generation(NamedTuple):
    """What a model wrote."""

    text: str  # without special tokens
    tokens: int  # its length, the end token included
    truncated: bool  # cut off at max_new_tokens, before an end token


Prompts: TypeAlias = Sequence[Messages]
Labels: TypeAlias = Sequence[Sequence[str]]  # of each prompt
OnAnswers: TypeAlias = Callable[[Mapping[int, Generation]], None]
OnText: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How responses are written."""

    batch_size: int  # prompts under way at a time
    batch_tokens: int | None = None  # theirs and their responses' at most, padding included
    max_new_tokens: int  # a response's length at most
    temperature: float = 0.0  # 0: greedy; above it sampled, the same for the same prompts
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)


def unheard(answers: Mapping[int, Generation]) -> None:
    """An `OnAnswers` for who waits for all of them."""


class Engine(Protocol):
    """Answers prompts, by the policy or in its name."""

    renders: ClassVar[bool] = True  # by the policy's own chat template; what it opens is read, too
    asks: ClassVar[bool] = True  # a model, which has room for so many tokens
    gives_logprobs: ClassVar[bool] = False  # see `option_logprobs`
    no_adapter: ClassVar[str] = ""  # why it takes none, if it answers without the policy

    @property
    def answered_by(self) -> str | None:
        """Who answers, in words; None: the policy."""
        return None

    @classmethod
    def unsupported(cls, *, trains: bool, adapter: bool) -> Iterator[Problem]:
        """Why it cannot answer in a run that trains, or loads `model.adapter`, or on this machine.

        Asked while the config is checked, before anything is made.
        """
        if cls.no_adapter and trains:
            yield ONLY_EVALUATES
        if cls.no_adapter and adapter:
            yield Problem("model.adapter", f"{cls.no_adapter}: leave it null")

    def for_rows(self, rows: Sequence[Example]) -> Engine:
        """The engine that answers the prompts of `rows`, in their order."""
        return self

    def generate(
        self, policy: Policy, prompts: Prompts, decoding: Decoding, on_answers: OnAnswers = unheard
    ) -> list[Generation]:
        """The response to each prompt (chat messages), in the order of `prompts`.

        `on_answers` gets new answers as they come, by the places of their prompts. Raises
        UserError where no answer can be had: a missing one would look like a wrong one.
        """

    def option_logprobs(
        self, policy: Policy, prompts: Prompts, labels: Labels, decoding: Decoding, lead: str
    ) -> list[list[float]]:
        """The log-probability (nats) of each of a prompt's `labels` after the prompt and `lead`.

        That of all its tokens, where a label has several; of `decoding`, only how prompts are read
        counts. Raises UserError where the engine has none.
        """
        raise UserError(
            "evaluation.option_logprobs: this engine gives none; engine=transformers does"
        )

    def stream(
        self,
        policy: Policy,
        prompt: Messages,
        decoding: Decoding,
        *,
        on_text: OnText,
        stopped: Callable[[], bool] = lambda: False,
        seed: int = SEED,
    ) -> Generation:
        """The response to one prompt; `on_text` gets its text as it is written, piece by piece.

        It ends early, and counts as cut off, once `stopped()` is true; `seed` is of sampling. An
        engine that cannot do this gives all of its text at once.
        """
        (answer,) = self.generate(policy, [prompt], decoding)
        on_text(answer.text)
        return answer


def end_tokens(policy: Policy) -> list[int]:
    """Ids of the tokens that end an answer: of the generation config and of the tokenizer."""
    ends = policy.model.generation_config.eos_token_id
    ends = {*(ends if isinstance(ends, list) else [ends]), policy.tokenizer.eos_token_id}
    return sorted(ends - {None})


def prompt_ids(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Prompts,
    chat_template_kwargs: dict[str, Any],
    lead: str = "",
) -> list[list[int]]:
    """The token ids of each prompt, by the policy's own template, up to where the answer starts.

    `lead` is the start of the answer.
    """
    texts = [
        tokenizer.apply_chat_template(
            prompt, tokenize=False, add_generation_prompt=True, **chat_template_kwargs
        )
        for prompt in prompts
    ]
    return [tokenizer(text + lead, add_special_tokens=False)["input_ids"] for text in texts]
