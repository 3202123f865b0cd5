"""Write a trained policy so that plain transformers and PEFT load it."""

from __future__ import annotations

from pathlib import Path

from medgrpo.model.base import Policy


def save_policy(policy: Policy, folder: Path, card: str) -> None:
    """Save the adapter (or, without LoRA, the whole model) as safetensors in `folder`.

    The tokenizer lies beside it, and `card` becomes README.md.
    """
    policy.model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")
