"""Answers from vLLM (Kwon et al. 2023, https://arxiv.org/abs/2309.06180): the fast way on a GPU.

vLLM loads the base model a second time, so it is for `trainer=none`; an adapter is served as it
is, without merging.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from medgrpo.errors import UserError
from medgrpo.evaluation.generate import SEED, Generation
from medgrpo.model.base import Policy

GPU_SHARE = 0.6  # of the GPU's memory; the policy itself holds the rest


def generate_vllm(
    policy: Policy,
    prompts: Sequence[list[dict[str, str]]],
    *,
    batch_size: int,
    max_new_tokens: int,
    temperature: float = 0.0,
    chat_template_kwargs: dict[str, Any] | None = None,
    on_progress: Callable[[int], None] = lambda answered: None,
) -> list[Generation]:
    """The response to each prompt, in their order; at most `batch_size` are under way at a time.

    Raises UserError where vLLM is not installed.
    """
    try:
        from vllm import SamplingParams
        from vllm.lora.request import LoRARequest
    except ImportError as error:
        raise UserError(
            f"evaluation.engine=vllm: vLLM is not installed ({error}). Install it "
            "(pip install -e '.[vllm]') or use evaluation.engine=transformers"
        ) from error
    peft = getattr(policy.model, "peft_config", {})
    adapted = bool(peft) and policy.model.get_model_status().enabled is True
    rank = max((config.r for config in peft.values()), default=0)
    with tempfile.TemporaryDirectory() as folder:
        lora = None
        if adapted:
            policy.model.save_pretrained(folder)
            lora = LoRARequest("policy", 1, folder)
        outputs = _engine(policy.model.config._name_or_path, rank, batch_size).chat(
            list(prompts),
            SamplingParams(max_tokens=max_new_tokens, temperature=temperature, seed=SEED),
            use_tqdm=False,
            lora_request=lora,
            chat_template_kwargs=chat_template_kwargs,
        )
    on_progress(len(outputs))
    answers = [output.outputs[0] for output in outputs]
    return [Generation(answer.text, len(answer.token_ids)) for answer in answers]


@cache
def _engine(model: str, rank: int, batch_size: int) -> Any:
    """vLLM's engine, loaded once for base and adapter."""
    from vllm import LLM

    return LLM(
        model=model,
        enable_lora=rank > 0,
        max_lora_rank=max(rank, 16),
        max_num_seqs=batch_size,
        gpu_memory_utilization=GPU_SHARE,
    )
