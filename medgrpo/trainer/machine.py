"""What a result may depend on beside its config: code, libraries, processor, threads, determinism.

Read for a run's passport, and again by whoever makes the run anew (medgrpo/replay).
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def this_machine() -> dict[str, Any]:
    """Facts by name, JSON. What torch knows is there once a run has imported it."""
    commit, changed = git_state()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "git_commit": commit,
        "git_diff_sha256": changed,
        "libraries": libraries(),
        "hardware": {"processor": _processor(), "cores": os.cpu_count(), **_gpus()},
        "threads": {name: os.environ[name] for name in THREADS if name in os.environ} | _threads(),
    }


@cache
def libraries() -> dict[str, str]:
    """What is installed, by name; read once, a sweep's jobs share it."""
    return dict(sorted((found.name, found.version) for found in distributions()))


def git_state() -> tuple[str | None, str | None]:
    """The commit (`-dirty` when files differ from it) if this package lies in its own checkout.

    And the SHA-256 of what differs, None for nothing.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None, None
    commit = _git(root, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*").strip()
    if not commit.endswith("-dirty"):
        return commit or None, None
    return commit, hashlib.sha256(_git(root, "diff", "HEAD").encode()).hexdigest()


def _git(root: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, check=False)
    except FileNotFoundError:  # no git on this machine
        return ""
    return done.stdout.decode(errors="replace")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def _gpus() -> dict[str, list[str]]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {}
    return {"gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]}


def _threads() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    return {
        "torch": torch.get_num_threads(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
    }
