"""What the jobs of a sweep are called: by the settings that set them apart, and no others.

A job's folder and its W&B run say what was varied (`dataset-medqa+r-8`, `dataset=medqa r=8`). The
folder's name depends on nothing else, so that a resumed sweep finds its jobs again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

LONGEST = 100  # characters of a folder's name; file systems take 255 bytes


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The last parts of each key, as many as tell it from the others.

    >>> short_names(["lora.r", "rewards.a.weight", "rewards.b.weight"])
    {'lora.r': 'r', 'rewards.a.weight': 'a.weight', 'rewards.b.weight': 'b.weight'}
    """
    names = {}
    for key in keys:
        parts = key.split(".")
        endings = (".".join(parts[-size:]) for size in range(1, len(parts) + 1))
        names[key] = next(
            (name for name in endings if sum(f".{k}".endswith(f".{name}") for k in keys) == 1), key
        )
    return names


def swept_overrides(overrides: Iterable[str], fixed: Iterable[str]) -> dict[str, str]:
    """What an override sets to what, by its short name, without the keys that are `fixed`.

    >>> swept_overrides(["lora.r=8", "++seed=1", "rewards=[formats,judges]", "x=0"], ["x"])
    {'r': '8', 'seed': '1', 'rewards': 'formats+judges'}
    """
    pairs = [override.lstrip("+~").partition("=") for override in overrides]
    values = {key: value.strip("[]").replace(",", "+") for key, _, value in pairs}
    kept = [key for key in values if key not in set(fixed)]
    return {name: values[key] for key, name in short_names(kept).items()}


def folder_name(overrides: Iterable[str], fixed: Iterable[str]) -> str:
    """A job's folder: readable, bounded, and with no sign that a shell or Hydra reads.

    A name that had to be changed or cut ends in a digest of what it was.

    >>> folder_name(["dataset=medqa", "lora.r=8"], [])
    'dataset-medqa+r-8'
    >>> folder_name(["model.name_or_path=/models/a b"], [])
    'name_or_path-_models_a_b-8db4a7c8'
    """
    name = "+".join(f"{key}-{value}" for key, value in swept_overrides(overrides, fixed).items())
    plain = re.sub(r"[^A-Za-z0-9._+-]", "_", name).lstrip(".+-") or "job"
    if (plain != name and name) or len(plain) > LONGEST:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        plain = f"{plain[: LONGEST - 9]}-{digest}"
    return plain


def describe(cfg: DictConfig) -> dict[str, Any]:
    """The run for a tracker: named by what was typed, or varied in its sweep."""
    hydra = HydraConfig.get()
    choices = hydra.runtime.choices
    in_sweep = hydra.mode == RunMode.MULTIRUN
    typed = list(hydra.overrides.task)
    settings = swept_overrides(typed, hydra.job.config.override_dirname.exclude_keys)
    return {
        "name": " ".join(f"{name}={value}" for name, value in settings.items())[:120] or "default",
        "tags": [choices.dataset, choices.model, cfg.profile.name],
        "group": Path(hydra.sweep.dir).name if in_sweep else None,
        "job_type": choices.trainer,
    }
