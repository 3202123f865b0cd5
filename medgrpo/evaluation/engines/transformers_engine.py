"""Answers by the policy itself, in batches: greedy ones are the same as one at a time, sooner.

Prompts are sorted by length, so that a batch pads little, and the longest come first, so that
memory that will not suffice fails at once. Settings that a model carries (Qwen's repetition
penalty, Llama's temperature) are overridden: greedy means the likeliest token, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from medgrpo.dataset.example import Messages
from medgrpo.evaluation.engines.base import (
    SEED,
    Decoding,
    Engine,
    Generation,
    Labels,
    OnAnswers,
    OnText,
    Prompts,
    end_tokens,
    prompt_ids,
    unheard,
)
from medgrpo.evaluation.likelihood import label_logprobs
from medgrpo.model.base import Policy

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, PreTrainedModel


@dataclass(kw_only=True)
class TransformersEngine(Engine):
    """`generate` of transformers, with the weights as they are now."""

    gives_logprobs: ClassVar[bool] = True

    def generate(
        self, policy: Policy, prompts: Prompts, decoding: Decoding, on_answers: OnAnswers = unheard
    ) -> list[Generation]:
        """As `Engine.generate`, without moving torch's random numbers for others.

        The model may be a PeftModel; it comes back in the mode in which it was.
        """
        ids = prompt_ids(policy.tokenizer, prompts, decoding.chat_template_kwargs)
        order = sorted(range(len(ids)), key=lambda index: -len(ids[index]))
        config = _settings(policy, decoding)
        answers: dict[int, Generation] = {}
        with _evaluating(policy.model):
            while len(answers) < len(order):
                left = order[len(answers) :]
                batch = left[: _size(len(ids[left[0]]), decoding)]
                written = _write(policy, [ids[index] for index in batch], config)
                new = dict(zip(batch, written, strict=True))
                answers |= new
                on_answers(new)
        return [answers[index] for index in range(len(prompts))]

    def option_logprobs(
        self, policy: Policy, prompts: Prompts, labels: Labels, decoding: Decoding, lead: str
    ) -> list[list[float]]:
        """As `Engine.option_logprobs`."""
        ids = prompt_ids(policy.tokenizer, prompts, decoding.chat_template_kwargs, lead)
        with _evaluating(policy.model):
            return label_logprobs(policy, ids, labels, decoding.batch_size)

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
        """As `Engine.stream`: greedily, the very tokens that `generate` writes."""
        from transformers import StoppingCriteriaList, TextStreamer

        class Pieces(TextStreamer):
            def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
                on_text(text)

        ids = prompt_ids(policy.tokenizer, [prompt], decoding.chat_template_kwargs)
        with _evaluating(policy.model, seed):
            (answer,) = _write(
                policy, ids, _settings(policy, decoding),
                streamer=Pieces(policy.tokenizer, skip_prompt=True, skip_special_tokens=True),
                stopping_criteria=StoppingCriteriaList([lambda *_, **__: stopped()]),
            )  # fmt: skip
        return answer


def _size(longest: int, decoding: Decoding) -> int:
    """How many prompts of at most `longest` tokens are answered at a time."""
    if decoding.batch_tokens is None:
        return decoding.batch_size
    fitting = decoding.batch_tokens // (longest + decoding.max_new_tokens)
    return max(1, min(decoding.batch_size, fitting))


def _write(
    policy: Policy, ids: list[list[int]], config: GenerationConfig, **more: Any
) -> list[Generation]:
    """Answer one batch of token ids, padded on the left; `more` is for `generate`."""
    from medgrpo.model.shared_prompts import prompts_read_once

    model, tokenizer = policy
    batch = tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt")
    with prompts_read_once(model):  # of several answers to one row
        output = model.generate(**batch.to(model.device), generation_config=config, **more)
    completions = output[:, batch["input_ids"].shape[1] :].cpu()
    lengths, truncated = _lengths(completions, config.eos_token_id)
    texts = [
        tokenizer.decode(row[:length], skip_special_tokens=True)
        for row, length in zip(completions, lengths, strict=True)
    ]
    return list(map(Generation, texts, lengths, truncated))


def _lengths(completions: torch.Tensor, ends: list[int]) -> tuple[list[int], list[bool]]:
    """Tokens of each row [rows, tokens] up to its first end token, included; and if it has none."""
    import torch

    ended = torch.isin(completions, torch.tensor(ends)).int()
    before_end = (ended.cumsum(dim=1) - ended) == 0
    return before_end.sum(dim=1).tolist(), (ended.sum(dim=1) == 0).tolist()


def _settings(policy: Policy, decoding: Decoding) -> GenerationConfig:
    """A generation config that leaves nothing to the one that the model carries."""
    from transformers import GenerationConfig

    return GenerationConfig(
        max_new_tokens=decoding.max_new_tokens,
        do_sample=decoding.temperature > 0,
        num_beams=1,
        temperature=decoding.temperature or 1.0,
        top_p=1.0,
        top_k=0 if decoding.temperature else 50,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        use_cache=True,
        eos_token_id=end_tokens(policy),
        pad_token_id=policy.tokenizer.pad_token_id,
    )


@contextmanager
def _evaluating(model: PreTrainedModel, seed: int = SEED) -> Iterator[None]:
    """Without dropout, gradients and a mark on the random numbers; afterwards as it was.

    Unsloth's `generate` turns gradient checkpointing off and marks modules for inference; after
    `eval()` it restores neither, and training would go on without checkpointing.
    """
    import torch

    was_training = model.training
    states = [(module, _marks(module)) for module in model.modules()]
    devices = [model.device] if model.device.type == "cuda" else []
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            yield
    finally:
        model.train(was_training)
        for module, marks in states:
            for name in _marks(module).keys() - marks.keys():
                delattr(module, name)
            vars(module).update(marks)


def _marks(module: torch.nn.Module) -> dict[str, Any]:
    """What generating by Unsloth changes of a module, besides its mode."""
    names = ("gradient_checkpointing", "_flag_for_generation")
    return {name: vars(module)[name] for name in names if name in vars(module)}
