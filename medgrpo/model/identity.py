"""Which weights a run began with: a commit and the cache's own names, or a hash of local files."""

from __future__ import annotations

import hashlib
import json
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
