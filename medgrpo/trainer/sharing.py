"""TRL's GRPOTrainer with each prompt read once for its group (medgrpo/model/shared_prompts.py).

Where Unsloth is loaded its own classes train, without any of this.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from medgrpo.model.shared_prompts import (
    SharedPrompts,
    checkpoints_gradients,
    distinct,
    obstacle,
    prompts_read_once,
)

# whose sum over the micro-batches of a step does not depend on which rows are in which
_REGROUPED = ("dapo", "cispo", "grpo", "dr_grpo")
_OWN = {"compute_entropy", "compute_aux_loss", "batch_size"}  # besides these: of images

Rows = dict[str, Any]  # tensors and lists of one length, and what stands for all rows


class Sharing:
    """To be put before a GRPOTrainer: the same steps but for rounding, with less to compute."""

    def why_not_shared(self: Any, model: Any = None) -> str | None:
        """Why no prompt of `model` (None: the one that is trained) is shared; None: they are."""
        args = self.args
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            return "the weights are sharded"
        if args.use_vllm or args.use_liger_kernel:
            return "vLLM generates" if args.use_vllm else "Liger computes the loss"
        if getattr(self, "aux_loss_enabled", False):
            return "the loss has a part of the router's"
        return obstacle(self.model if model is None else model)

    def why_not_grouped(self: Any) -> str | None:
        """Why rows of one prompt stay where TRL's shuffling put them; None: they are together."""
        args = self.args
        if self.loss_type not in _REGROUPED:
            return f"loss_type={self.loss_type} depends on the batches"
        if self.top_entropy_quantile < 1 or getattr(self, "_entropy_bonus_enabled", False):
            return "the entropy of a batch is in the loss"
        if args.steps_per_generation > args.gradient_accumulation_steps:
            return "several optimizer steps have one generation"
        return None

    def sharing_in_words(self: Any) -> str:
        """One line for the log."""
        if why := self.why_not_shared():
            return f"each prompt is read once a completion: {why}"
        if self.args.gradient_checkpointing:
            return (
                "each prompt is read once for its group to generate, and once a completion to "
                "train: gradient checkpointing drops its keys and values"
            )
        together = self.why_not_grouped()
        note = f"; rows stay where they are drawn: {together}" if together else ""
        return f"each prompt is read once for its group{note}"

    def _get_per_token_logps_and_entropies(
        self: Any, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, **more: Any
    ) -> Any:
        plain: Any = super()  # TRL's
        plain = partial(
            plain._get_per_token_logps_and_entropies,
            input_ids=input_ids, attention_mask=attention_mask, logits_to_keep=logits_to_keep,
            **more,
        )  # fmt: skip
        images = any(value is not None for key, value in more.items() if key not in _OWN)
        inner = self.accelerator.unwrap_model(model)
        if images or self.why_not_shared(inner) or checkpoints_gradients(inner):
            return plain(model)
        shared = partial(plain, SharedPrompts(inner, logits_to_keep))
        return shared() if model is inner else within_forward(model, inner, input_ids, shared)

    def _generate_single_turn(self: Any, *args: Any, **more: Any) -> Any:
        plain: Any = super()  # TRL's
        if self.why_not_shared():
            return plain._generate_single_turn(*args, **more)
        with prompts_read_once(self.accelerator.unwrap_model(self.model_wrapped)):
            return plain._generate_single_turn(*args, **more)

    def _prepare_inputs(self: Any, generation_batch: Rows) -> Rows:
        """TRL's, which shuffles completions over micro-batches: rows of a prompt back together."""
        before, args = self._buffered_inputs, self.args
        plain: Any = super()  # TRL's
        inputs: Rows = plain._prepare_inputs(generation_batch)
        kept = self._buffered_inputs is before or args.steps_per_generation == 1
        if kept or args.gradient_checkpointing or self.why_not_shared() or self.why_not_grouped():
            return inputs
        self._buffered_inputs = grouped(self._buffered_inputs)
        grouped_inputs: Rows = self._buffered_inputs[self._step % args.steps_per_generation]
        return grouped_inputs


def within_forward(wrapper: Any, inner: Any, ids: torch.Tensor, call: Callable[[], Any]) -> Any:
    """The result of `call`, in which `inner` is forwarded twice, as one pass of its `wrapper`.

    DistributedDataParallel gets ready for gradients in each of its passes, and for one alone.
    """
    forward = inner.forward

    def once(*_: Any) -> Any:
        inner.forward = forward
        return call()

    inner.forward = once
    try:
        return wrapper(ids)
    finally:
        inner.forward = forward


def grouped(batches: list[Rows]) -> list[Rows]:
    """The same rows in as many batches of the same size, those of one prompt side by side."""
    size = len(batches[0]["prompt_ids"])
    whole = {key: _joined([batch[key] for batch in batches]) for key in batches[0]}
    _, _, place = distinct(whole["prompt_ids"], whole["prompt_mask"])
    order = place.argsort(stable=True)
    return [
        {key: _taken(value, order[start : start + size]) for key, value in whole.items()}
        for start in range(0, len(order), size)
    ]


def _joined(parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(parts) if first.ndim else first
    return [one for part in parts for one in part] if isinstance(first, list) else first


def _taken(value: Any, places: torch.Tensor) -> Any:
    if isinstance(value, torch.Tensor):
        return value[places] if value.ndim else value
    return [value[place] for place in places.tolist()] if isinstance(value, list) else value
