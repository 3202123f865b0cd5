"""Whether a checkpoint is whole: what of it was written, byte for byte, in a file written last.

A kill or a full disk leaves half a checkpoint, and transformers resumes without a word from one
that lacks its optimizer or its random numbers. `manifest.json` lists names, sizes and SHA-256 of
the files; a checkpoint without one was never finished, and one that differs from its is damaged.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from medgrpo.errors import UserError
from medgrpo.rundir import RunFolder, replacing

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"


class ManifestCallback(TrainerCallback):
    """Writes the manifest of each checkpoint when all processes have written their part of it."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        import torch.distributed

        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        if state.is_world_process_zero:
            write_manifest(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def write_manifest(checkpoint: Path) -> None:
    """Write the manifest, once the files that it lists are on the disk."""
    files = {str(path.relative_to(checkpoint)): _described(path) for path in _files(checkpoint)}
    for name in files:
        _sync(checkpoint / name)
    with replacing(checkpoint / MANIFEST) as temporary:
        temporary.write_text(json.dumps({"files": files}, indent=2), encoding="utf-8")
        _sync(temporary)
    _sync(checkpoint)


def whole_checkpoint(folder: RunFolder) -> Path | None:
    """The newest checkpoint of `folder` that is whole, None before the first.

    Says which it leaves out. Raises UserError where there were some and all are damaged.
    """
    finished = list(folder.checkpoints.glob(f"checkpoint-*/{MANIFEST}"))
    newest_first = sorted(finished, key=lambda file: -step_of(file.parent))
    for file in newest_first:
        damage = _damage(file)
        if damage is None:
            return file.parent
        log.warning("%s is damaged (%s); an earlier one is used", file.parent, damage)
    if newest_first:
        raise UserError(
            f"resume: no checkpoint in {folder.checkpoints} is whole; put one back, or delete "
            "that folder to train from the start"
        )
    return None


def step_of(checkpoint: Path | None) -> int:
    """The step after which it was made; -1 for none."""
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else -1


@cache  # asked by several, and nobody changes a checkpoint while it is resumed
def _damage(manifest: Path) -> str | None:
    """The first file that is not as it was written."""
    try:
        for name, known in json.loads(manifest.read_text(encoding="utf-8"))["files"].items():
            path = manifest.parent / name
            if not path.is_file():
                return f"{name} is missing"
            if _described(path) != known:
                return f"{name} differs from what was written"
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        return f"{MANIFEST} cannot be read: {error}"
    return None


def _files(checkpoint: Path) -> Iterator[Path]:
    return (path for path in sorted(checkpoint.rglob("*")) if path.is_file() and _lasts(path))


def _lasts(path: Path) -> bool:
    return path.name != MANIFEST and not path.name.endswith(".tmp")


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _sync(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
