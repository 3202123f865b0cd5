"""Answers from vLLM (Kwon et al. 2023, https://arxiv.org/abs/2309.06180): the fast way on a GPU.

vLLM loads the base model a second time, so it is for `trainer=none`; an adapter is served as it
is, without merging.
"""

from __future__ import annotations

import gc
import importlib.util
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Annotated, Any, ClassVar

from annotated_types import Interval

from medgrpo.config.schema import Problem
from medgrpo.errors import UserError
from medgrpo.evaluation.engines.base import (
    ONLY_EVALUATES,
    SEED,
    Decoding,
    Engine,
    Generation,
    Labels,
    OnAnswers,
    Prompts,
    prompt_ids,
    unheard,
)
from medgrpo.model.base import Policy

RANKS = (16, 32, 64, 128, 256, 320, 512)  # that vLLM has room for; it also knows 1 and 8

_loaded: dict[str, Any] = {}  # vLLM by what it was loaded with: one at most, for the whole process
_adapter_ids = count(1)


@dataclass(kw_only=True)
class VLLMEngine(Engine):
    """The policy's base model once more, in vLLM, with the policy's adapter on it."""

    gives_logprobs: ClassVar[bool] = True

    gpu_memory_utilization: Annotated[float, Interval(gt=0, lt=1)] = 0.6  # vLLM's share of the GPU

    @classmethod
    def unsupported(cls, *, trains: bool, adapter: bool) -> Iterator[Problem]:
        if trains:
            yield ONLY_EVALUATES
        if not importlib.util.find_spec("vllm"):
            yield Problem("engine", "needs vllm: pip install -e '.[vllm]'")

    def generate(
        self, policy: Policy, prompts: Prompts, decoding: Decoding, on_answers: OnAnswers = unheard
    ) -> list[Generation]:
        """As `Engine.generate`; the answers come at once, when all is done."""
        ids = prompt_ids(policy.tokenizer, prompts, decoding.chat_template_kwargs)
        llm = _load(
            **_base(policy),
            max_num_seqs=decoding.batch_size,
            max_model_len=max(map(len, ids), default=0) + decoding.max_new_tokens,
            gpu_memory_utilization=self.gpu_memory_utilization,
        )
        from vllm import SamplingParams

        sampling = [
            SamplingParams(
                max_tokens=decoding.max_new_tokens,
                temperature=decoding.temperature,
                seed=SEED + index if decoding.temperature else SEED,
            )
            for index in range(len(ids))
        ]
        with tempfile.TemporaryDirectory() as folder:
            outputs = llm.generate(
                [{"prompt_token_ids": prompt} for prompt in ids],
                sampling,
                use_tqdm=False,
                lora_request=_adapter(policy, folder),
            )
        written = [output.outputs[0] for output in outputs]
        answers = [
            Generation(one.text, len(one.token_ids), one.finish_reason == "length")
            for one in written
        ]
        on_answers(dict(enumerate(answers)))
        return answers

    def option_logprobs(
        self, policy: Policy, prompts: Prompts, labels: Labels, decoding: Decoding, lead: str
    ) -> list[list[float]]:
        """As `Engine.option_logprobs`: those of a label's tokens as a part of the prompt."""
        ids = prompt_ids(policy.tokenizer, prompts, decoding.chat_template_kwargs, lead)
        said = [
            [policy.tokenizer(label, add_special_tokens=False)["input_ids"] for label in some]
            for some in labels
        ]
        pairs = [(one, label) for one, some in zip(ids, said, strict=True) for label in some]
        llm = _load(
            **_base(policy),
            max_num_seqs=decoding.batch_size,
            max_model_len=max((len(one) + len(label) for one, label in pairs), default=0) + 1,
            gpu_memory_utilization=self.gpu_memory_utilization,
        )
        from vllm import SamplingParams

        with tempfile.TemporaryDirectory() as folder:
            outputs = llm.generate(
                [{"prompt_token_ids": [*one, *label]} for one, label in pairs],
                SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0),
                use_tqdm=False,
                lora_request=_adapter(policy, folder),
            )
        logs = iter(
            sum(
                step[token].logprob
                for step, token in zip(output.prompt_logprobs[-len(label) :], label, strict=True)
            )
            for output, (_, label) in zip(outputs, pairs, strict=True)
        )
        return [[next(logs) for _ in some] for some in labels]


def _base(policy: Policy) -> dict[str, Any]:
    """The policy's base model in the words of `vllm.LLM`, and room for its adapter."""
    config = policy.model.config
    ranks = [adapter.r for adapter in getattr(policy.model, "peft_config", {}).values()]
    return {
        "model": config._name_or_path,
        "revision": config._commit_hash,
        "dtype": str(policy.model.dtype).removeprefix("torch."),
        "enable_lora": bool(ranks),
        "max_lora_rank": next((size for size in RANKS if size >= max(ranks, default=0)), RANKS[-1]),
    }


def _load(**settings: Any) -> Any:
    """vLLM with these settings, kept for the next call; another one is freed first."""
    try:
        from vllm import LLM
    except ImportError as error:
        raise UserError(
            f"engine=vllm: vLLM cannot be imported ({error}). Install it "
            "(pip install -e '.[vllm]') or use engine=transformers"
        ) from error
    key = repr(settings)
    if key not in _loaded:
        _loaded.clear()
        gc.collect()
        _loaded[key] = LLM(**settings)
    return _loaded[key]


def _adapter(policy: Policy, folder: str) -> Any:
    """The policy's adapter, written into `folder`; None without one, or where it is switched off.

    Under a number and a name of its own each time, because vLLM does not look again at an adapter
    whose number it has loaded, nor at prompts that it has seen under the name.
    """
    from vllm.lora.request import LoRARequest

    model: Any = policy.model
    if not hasattr(model, "peft_config") or model.get_model_status().enabled is not True:
        return None
    model.save_pretrained(folder)
    number = next(_adapter_ids)
    return LoRARequest(f"policy-{number}", number, folder)
