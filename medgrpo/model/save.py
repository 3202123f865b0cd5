"""Write a trained policy so that plain transformers and PEFT load it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medgrpo.model.base import Policy

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def save_policy(policy: Policy, folder: Path, card: str) -> None:
    """Save the adapter (or, without LoRA, the whole model) as safetensors in `folder`.

    The tokenizer lies beside it, and `card` becomes README.md.
    """
    policy.model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")


def merge(adapter: Path, merged: Path) -> None:
    """Merge what `save_policy` wrote into a whole model in bfloat16, in the folder `merged`.

    The base is loaded anew in float32 on the CPU, so that a 4-bit base is not merged into its
    rounded weights and the sum is rounded once.
    """
    import shutil

    import torch
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM

    if (adapter / "adapter_config.json").is_file():
        tuned = AutoPeftModelForCausalLM.from_pretrained(adapter, dtype=torch.float32)
        model = tuned.merge_and_unload()
    else:
        model = AutoModelForCausalLM.from_pretrained(adapter, dtype=torch.float32)
    model.to(torch.bfloat16).save_pretrained(merged)
    for file in adapter.iterdir():  # tokenizer and model card
        if not file.name.startswith(("adapter_", "model", "config", "generation_config")):
            shutil.copy(file, merged / file.name)


def load_merged(merged: Path, like: PreTrainedModel) -> PreTrainedModel:
    """The merged model, on the device and in the number format of `like`."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        merged, dtype=like.dtype, device_map=str(like.device)
    )
