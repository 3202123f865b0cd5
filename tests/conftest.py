"""The true command, run as a user runs it: in a process of its own, in an empty folder."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RESULTS = ["metrics.jsonl", "predictions.parquet", "adapter/adapter_model.safetensors"]
collect_ignore = [
    "model/unsloth_standin",
    "gpu_path/shim",
    "gpu_path/vllm_shim",
]  # imported by the commands under test, not by pytest


@pytest.fixture
def server():
    """A loopback endpoint for judges that misbehaves on request (tests/judge/server.py)."""
    from judge.server import Server

    with Server() as running:
        yield running


@pytest.fixture
def judge_of(server):
    """`judge_of(attempts=1)`: the shipped judge at `server`, without cache and key."""
    from judge.server import judge_at

    judges = []

    def make(**fields):
        judges.append(judge_at(server, **fields))
        return judges[-1]

    yield make
    for judge in judges:
        judge.close()


@pytest.fixture
def medgrpo(tmp_path):
    """`medgrpo("lora.r=16", ...)` runs `python -m medgrpo lora.r=16 ...` in tmp_path."""

    def command(*overrides: str, **env: str) -> subprocess.CompletedProcess[str]:
        return run_medgrpo(tmp_path, *overrides, **env)

    return command


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A page of Chromium (tests/browser.py)."""
    from browser import CHROMIUM, browsing

    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    pytest.importorskip("websockets")
    with browsing(tmp_path_factory.mktemp("chromium")) as page:
        yield page


def run_medgrpo(cwd: Path, *overrides: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`python -m medgrpo` in `cwd`, with no W&B key and no key of a judge in its environment."""
    return subprocess.run(
        [sys.executable, "-m", "medgrpo", *overrides],
        cwd=cwd,
        env=clean_environment(cwd, env),
        capture_output=True,
        text=True,
        check=False,
    )


def start(cwd: Path, *overrides: str, **env: str) -> subprocess.Popen:
    """The same, not waited for, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "medgrpo", *overrides],
        cwd=cwd,
        env=clean_environment(cwd, env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def clean_environment(cwd: Path, env: dict[str, str]) -> dict[str, str]:
    """This process's without keys and settings of the user, with `env`; home is `cwd`."""
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "OPENAI", "MEDGRPO"))
    }
    return {**clean, "PYTHONPATH": str(ROOT), "HOME": str(cwd), "COLUMNS": "80", **env}


def wait_for(condition: Callable[[], object], process: subprocess.Popen) -> None:
    """Until `condition` holds; what `process` printed is shown if it ends before."""
    while not condition():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)


def same_results(one: Path, other: Path) -> bool:
    """Whether two run folders hold the same logs, answers and adapter, byte for byte."""
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in RESULTS)


@pytest.fixture(scope="session")
def sft_run(tmp_path_factory) -> Path:
    """The folder of a small SFT that over-fits: 64 rows, 8 epochs, 30 held-out rows."""
    cwd = tmp_path_factory.mktemp("sft")
    done = run_medgrpo(
        cwd,
        "trainer=sft",
        "dataset=medqa_cot",
        "dataset.limit=64",
        "trainer.args.num_train_epochs=8",
        "evaluation.limit=30",
        "evaluation.samples=3",
        "export=merged_16bit",
        "tracking.mode=offline",
        "output_dir=run",
        OMP_NUM_THREADS="1",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (cwd / "run" / "stdout.txt").write_text(done.stdout)
    return cwd / "run"
