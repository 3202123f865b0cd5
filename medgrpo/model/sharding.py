"""FSDP2 through accelerate: while it trains, each process holds a shard of the model.

What accelerate 1.15 and PEFT 0.21 leave open is closed here: without these lines a CPU trains by
DDP without a word, and an adapter in shards cannot be written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

ENVIRONMENT = {  # what `accelerate launch` would set
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
}


def shard_on_cpu() -> None:
    """Let accelerate shard on a CPU, too, which it does for all other devices."""
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType

    original = AcceleratorState.__init__

    def init(self: AcceleratorState, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        plugin = kwargs.get("fsdp_plugin") or vars(self).get("fsdp_plugin")
        if plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, plugin

    AcceleratorState.__init__ = init


def is_sharded(model: PreTrainedModel) -> bool:
    """Whether a forward pass needs all processes."""
    from torch.distributed.tensor import DTensor

    return any(isinstance(weight, DTensor) for weight in model.parameters())


def gathered(model: PreTrainedModel) -> dict[str, torch.Tensor] | None:
    """What was trained, whole and on the CPU; None for a model that is not in shards.

    All processes must call it.
    """
    from torch.distributed.tensor import DTensor

    if not is_sharded(model):
        return None
    return {
        name: weight.full_tensor().detach().cpu() if isinstance(weight, DTensor) else weight
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }
