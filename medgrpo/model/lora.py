"""The LoRA settings of a run (Hu et al. 2021, https://arxiv.org/abs/2106.09685)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Interval

if TYPE_CHECKING:
    from peft import LoraConfig

Model = TypeVar("Model")


@dataclass(kw_only=True)
class LoRA:
    """The adapter, in the words that both PEFT and Unsloth are told it in."""

    r: Annotated[int, Ge(1)] = 8  # rank of the update
    alpha: Annotated[int, Ge(1)] = (
        8  # the update is scaled by alpha / r (alpha / sqrt(r) with use_rslora)
    )
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.0  # on the adapter's input, in [0, 1)
    target_modules: list[str] | str = "all-linear"  # layer names, or "all-linear"
    bias: Literal["none", "all", "lora_only"] = "none"  # which biases are trained
    use_rslora: bool = False  # rank-stabilised scaling (Kalajdzievski 2023)
    use_dora: bool = False  # weight-decomposed update (Liu et al. 2024)
    modules_to_save: list[str] | None = None  # layers trained in full beside the adapter

    def peft_config(self) -> LoraConfig:
        """The same settings as a `peft.LoraConfig` for a causal language model."""
        from peft import LoraConfig

        options: dict[str, Any] = {
            "r": self.r,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "target_modules": self.target_modules,
            "bias": self.bias,
            "use_rslora": self.use_rslora,
            "use_dora": self.use_dora,
            "modules_to_save": self.modules_to_save,
        }
        return LoraConfig(task_type="CAUSAL_LM", **options)


def sort_target_modules(model: Model) -> Model:
    """The model, whose adapters now write the same adapter_config.json in every process.

    PEFT keeps the names of the adapted layers as a set, whose order each process chooses.
    """
    for config in getattr(model, "peft_config", {}).values():
        if isinstance(config.target_modules, set):
            config.target_modules = sorted(config.target_modules)
    return model
