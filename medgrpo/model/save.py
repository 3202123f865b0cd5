"""Write a trained policy so that plain transformers and PEFT load it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

from medgrpo.errors import UserError
from medgrpo.model.base import ModelSource, Policy
from medgrpo.model.sharding import gathered


def save_policy(policy: Policy, folder: Path, card: str) -> None:
    """Save the adapter (or, without LoRA, the whole model) as safetensors in `folder`.

    The tokenizer lies beside it, and `card` becomes README.md. Of a model in shards, all processes
    must save.
    """
    policy.model.save_pretrained(folder, state_dict=gathered(policy.model))
    policy.tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")


def saved(source: ModelSource, folder: Path) -> Policy:
    """What `save_policy` wrote, loaded anew by whom it came from."""
    adapted = (folder / "adapter_config.json").is_file()
    if adapted:
        return replace(source, adapter=str(folder)).load(None)
    return replace(source, name_or_path=str(folder)).load(None)


def merge(
    source: ModelSource, adapter: Path, merged: Path, dtype: Literal["bfloat16", "float32"]
) -> None:
    """Merge what `save_policy` wrote into a whole model, in the folder `merged`.

    The base is loaded anew in float32 on the CPU, from `source` and not from what the adapter names
    (Unsloth's 4-bit copy), so that nothing is merged into rounded weights and the sum is rounded
    once. Raises UserError for a base that is stored in 4 bit.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForCausalLM

    adapted = (adapter / "adapter_config.json").is_file()
    place, revision = (source.weights(), source.revision) if adapted else (str(adapter), None)
    if hasattr(AutoConfig.from_pretrained(place, revision=revision), "quantization_config"):
        raise UserError(
            f"export.merged: {place} is stored quantised; set model.name_or_path to the same model "
            "in 16 bit (model.load_in_4bit=true quantises it when it is loaded)"
        )
    model = AutoModelForCausalLM.from_pretrained(place, revision=revision, dtype=torch.float32)
    if adapted:
        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    model.to(getattr(torch, dtype)).save_pretrained(merged)
    for file in adapter.iterdir():  # tokenizer and model card
        if not file.name.startswith(("adapter_", "model", "config", "generation_config")):
            shutil.copy(file, merged / file.name)
