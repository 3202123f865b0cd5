"""A prompt is read once for all completions that follow it, by the cache of transformers.

In GRPO a group of completions has one prompt, and so have several sampled answers to one row. Each
distinct prompt is forwarded once with `use_cache`, its keys and values are handed to all its rows
(`reorder_cache`, through which gradients flow), and only the prompts' last token and the
completions are forwarded row by row. Padding, masks, sliding windows and attention implementations
stay transformers' business, so that what comes out is the same but for rounding.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

_LAYERS = (DynamicLayer, DynamicSlidingWindowLayer)  # exactly these: others mix or drop rows


def inner_model(model: Any) -> Any:
    """The transformers model under PEFT's wrapper."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def obstacle(model: Any) -> str | None:
    """Why the keys and values of a prompt cannot stand for all its completions; None: they can."""
    inner = inner_model(model)
    if not isinstance(inner, PreTrainedModel):
        return f"the model is wrapped ({type(inner).__name__})"
    config, adapter = inner.config, getattr(model, "active_peft_config", None)
    layers = DynamicCache(config=config).layers  # none: made on demand, ordinary ones
    ordinary = inner._supports_default_dynamic_cache()
    reasons = {
        "Unsloth reads prompts by code of its own": "unsloth" in sys.modules,
        "the adapter puts tokens before the prompt": adapter and adapter.is_prompt_learning,
        "the model has an encoder": config.is_encoder_decoder,
        "the model also takes images or sound": {"vision_config", "audio_config"} & {*vars(config)},
        "some layers keep other things than keys and values": not (
            ordinary and all(type(layer) in _LAYERS for layer in layers)
        ),
        "dropout would be drawn once for a group": model.training and _draws(model),
    }
    return next((why for why, holds in reasons.items() if holds), None)


def checkpoints_gradients(model: Any) -> bool:
    """Whether a forward pass in training throws the cache away, as transformers then does."""
    return bool(model.training and inner_model(model).is_gradient_checkpointing)


def distinct(ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The different rows of `ids` and `mask` [rows, tokens]: ids, masks, and each row's place."""
    both, place = torch.unique(torch.cat([ids, mask], dim=1), dim=0, return_inverse=True)
    return *both.split(ids.shape[1], dim=1), place


class SharedPrompts:
    """Stands for a model that is asked about the last tokens of each row, with the same outputs.

    What it returns has logits from the position before the completion on.
    """

    def __init__(self, model: Any, completion: int) -> None:
        """`completion`: how many tokens at each row's end are asked about."""
        self._model = model
        self._completion = completion

    def __call__(
        self, *, input_ids: torch.Tensor, attention_mask: torch.Tensor, **more: Any
    ) -> Any:
        start = input_ids.shape[1] - self._completion - 1  # a prompt's last token predicts, too
        prompts, mask, place = distinct(input_ids[:, :start], attention_mask[:, :start])
        if start < 1 or len(prompts) == len(input_ids):
            return self._model(input_ids=input_ids, attention_mask=attention_mask, **more)
        if "labels" in more:  # of TRL 1.16
            more["labels"] = more["labels"][:, start:]
        return self._model(
            input_ids=input_ids[:, start:],
            attention_mask=attention_mask,
            past_key_values=_read(self._model, prompts, mask, place),
            **more | {"use_cache": True},
        )


@contextmanager
def prompts_read_once(model: Any) -> Iterator[None]:
    """Within, `model.generate` reads each distinct prompt of a batch once, where it can."""
    plain, own = model.generate, vars(model).get("generate")

    def generate(
        input_ids: torch.Tensor, attention_mask: torch.Tensor, generation_config: Any, **more: Any
    ) -> Any:
        prompts, mask, place = distinct(input_ids[:, :-1], attention_mask[:, :-1])
        config = generation_config
        ordinary = config.cache_implementation is None and config.use_cache is not False
        if (
            not more and ordinary and len(prompts) < len(input_ids) and prompts.shape[1]
            and not (obstacle(model) or checkpoints_gradients(model))
        ):  # fmt: skip
            positions = (mask.cumsum(-1) - 1).clamp(min=0)  # as `generate` counts them
            with torch.no_grad():
                more = {
                    "past_key_values": _read(model, prompts, mask, place, position_ids=positions)
                }
        return plain(
            input_ids=input_ids,
            attention_mask=attention_mask,
            generation_config=generation_config,
            **more,
        )

    model.generate = generate
    try:
        yield
    finally:
        del model.generate
        if own is not None:
            model.generate = own


def _read(model: Any, prompts: Any, mask: Any, place: torch.Tensor, **more: Any) -> Any:
    """The keys and values of `prompts` [n, tokens], for each row those of its `place` [rows]."""
    if "logits_to_keep" in inspect.signature(inner_model(model).forward).parameters:
        more["logits_to_keep"] = 1
    read = model(input_ids=prompts, attention_mask=mask, use_cache=True, **more).past_key_values
    read.reorder_cache(place)
    return read


def _draws(model: Any) -> bool:
    """Whether a forward pass in training draws random numbers."""
    dropout = any(isinstance(one, torch.nn.Dropout) and one.p > 0 for one in model.modules())
    return dropout or bool(getattr(inner_model(model).config, "attention_dropout", 0.0))
