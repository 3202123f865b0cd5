"""Which weights a run began with, by commit or files, and which a model has in memory now."""

from __future__ import annotations

import hashlib
import json
from itertools import chain
from pathlib import Path
from typing import Any

from medgrpo.rundir import replacing

KNOWN = Path("~/.cache/medgrpo/hashes.json")  # of files that were read before
READ = ("*.safetensors", "*.bin", "*.gguf", "config.json", "tokenizer.json", "*.jinja")


def identity(config: Any, adapter: str | None = None) -> dict[str, Any]:
    """Of a loaded model's `config` (transformers) and the folder of an adapter on it, as JSON.

    Of a hub model its commit, and the names of its files' contents as the hub's cache has them: no
    byte is read. Local weights are hashed once, and then known by path, size and time.
    """
    name = str(getattr(config, "_name_or_path", ""))
    folder, commit = Path(name), getattr(config, "_commit_hash", None)
    found: dict[str, Any] = {"name": name}
    if folder.is_dir():
        found["sha256"] = {file.name: file_hash(file) for file in _weights(folder)}
    elif commit:
        found |= {"commit": commit, "blobs": _blobs(name, commit)}
    if adapter:
        place = Path(adapter, "adapter") if Path(adapter, "adapter").is_dir() else Path(adapter)
        found["adapter_sha256"] = {file.name: file_hash(file) for file in _weights(place)}
    return found


def file_hash(file: Path) -> str:
    """SHA-256 of a file, remembered by its path, size and time of change."""
    stat, known = file.stat(), KNOWN.expanduser()
    key = f"{file.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"
    try:
        hashes = json.loads(known.read_text(encoding="utf-8"))
        if isinstance(hashes[key], str):
            return hashes[key]
    except (OSError, ValueError, KeyError, TypeError):
        hashes = {}
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    try:
        with replacing(known) as temporary:
            hashes = hashes if isinstance(hashes, dict) else {}
            temporary.write_text(json.dumps({**hashes, key: digest}), encoding="utf-8")
    except OSError:
        pass  # a home that cannot be written to: hashed again next time
    return digest


def _weights(folder: Path) -> list[Path]:
    return sorted(file for pattern in READ for file in folder.glob(pattern))


def _blobs(name: str, commit: str) -> dict[str, str]:
    """The names that the hub's cache gives to the contents of a snapshot's files."""
    from medgrpo.model.hub import hub_cache

    snapshot = hub_cache() / f"models--{name.replace('/', '--')}" / "snapshots" / commit
    files = sorted(snapshot.glob("*")) if snapshot.is_dir() else []
    return {file.name: file.resolve().name for file in files if file.is_symlink()}


def weights_hash(model: Any) -> str:
    """Of the weights that a loaded model (transformers, PEFT) answers with, as they are in memory.

    An adapter that is switched off, or that adds nothing yet (LoRA's B is zero until the first
    step), leaves the hash of its base. The settings of the architecture, type and device count.
    """
    import xxhash

    digest = xxhash.xxh3_128()
    adapters = getattr(model, "peft_config", {}) if _adds_something(model) else {}
    config = getattr(model, "config", None)
    architecture = config.to_dict() if config else {}
    architecture |= {"_name_or_path": "", "_commit_hash": ""}  # where it lies, not what it is
    attention = config._attn_implementation if config else ""
    facts = [architecture, attention, *map(_scaling, adapters.values())]
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode())
    for name, tensor in chain(model.named_parameters(), model.named_buffers()):
        if not adapters and ("lora_" in name or "modules_to_save" in name):
            continue
        plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
        kind = f"{plain} {tensor.dtype} {tuple(tensor.shape)} {tensor.device.type}"
        digest.update(kind.encode())
        for part in (tensor, getattr(getattr(tensor, "quant_state", None), "absmax", None)):
            if part is not None:
                digest.update(_bytes(part))
    return digest.hexdigest()


def _adds_something(model: Any) -> bool:
    """Whether an adapter is on and changes what the model answers."""
    if not hasattr(model, "peft_config") or model.get_model_status().enabled is False:
        return False
    if any(one.peft_type != "LORA" or one.use_dora for one in model.peft_config.values()):
        return True
    return any(
        "modules_to_save" in name or ("lora_B" in name and bool(tensor.any()))
        for name, tensor in model.named_parameters()
    )


def _scaling(adapter: Any) -> dict[str, Any]:
    """What an adapter's settings do to its weights: rank, alpha and the like."""
    settings = {**adapter.to_dict(), "inference_mode": None}
    return {key: one for key, one in settings.items() if isinstance(one, int | float | dict)}


def _bytes(tensor: Any) -> memoryview:
    import torch

    return memoryview(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
