"""The true command, run as a user runs it: in a process of its own, in an empty folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def medgrpo(tmp_path):
    """`medgrpo("lora.r=16", ...)` runs `python -m medgrpo lora.r=16 ...` in tmp_path."""

    def command(*overrides: str, **env: str) -> subprocess.CompletedProcess[str]:
        return run_medgrpo(tmp_path, *overrides, **env)

    return command


def run_medgrpo(cwd: Path, *overrides: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`python -m medgrpo` in `cwd`, with no W&B key and no key of a judge in its environment."""
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "OPENAI", "MEDGRPO"))
    }
    return subprocess.run(
        [sys.executable, "-m", "medgrpo", *overrides],
        cwd=cwd,
        env={**clean, "PYTHONPATH": str(ROOT), "HOME": str(cwd), "COLUMNS": "80", **env},
        capture_output=True,
        text=True,
        check=False,
    )
