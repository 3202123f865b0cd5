"""`make gpu-check` rehearsed on a CPU, with an Unsloth that only notes its calls (slow)."""

import json
import subprocess
import sys

import pytest
from conftest import ROOT, clean_environment

pytestmark = pytest.mark.slow

TINY = ROOT / "medgrpo" / "model" / "tiny" / "weights"
STANDIN = ROOT / "tests" / "model" / "unsloth_standin"
SMALL = ["evaluation.limit=4", "dataset.limit=60", "trainer.args.max_completion_length=32",
         "evaluation.max_new_tokens=32"]  # fmt: skip


def rehearse(cwd, *options: str) -> tuple[subprocess.CompletedProcess[str], dict]:
    command = [sys.executable, ROOT / "benchmarks" / "gpu_check.py", "--device", "cpu"]
    env = {"UNSLOTH_CALLS": str(cwd / "calls.jsonl"), "PYTHONPATH": f"{STANDIN}:{ROOT}"}
    done = subprocess.run(
        [*command, "--model", str(TINY), *SMALL, *options],
        cwd=cwd, env=clean_environment(cwd, env), capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done, json.loads((cwd / "gpu-check.json").read_text())


def test_every_stage_that_a_cpu_can_take_passes_and_the_others_say_why(tmp_path):
    done, found = rehearse(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = {line["name"]: line["outcome"] for line in found["lines"]}
    assert list(outcomes.values()).count("pass") == 8
    skipped = {
        line["name"]: line["figures"] for line in found["lines"] if line["outcome"] == "skip"
    }
    assert set(skipped) == {"vLLM, colocate: 3 steps", "vLLM, fast_inference: 3 steps"}
    assert set(map(str, skipped.values())) == {"{'needs': 'vllm'}"}
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert all(line["seconds"] for line in found["lines"] if line["figures"] == {})
    assert found["gpu"].startswith("none")
    assert found["versions"]["trl"]


def test_a_stage_that_fails_is_told_and_is_the_exit_code(tmp_path):
    done, found = rehearse(tmp_path, "seed=-1")
    assert done.returncode == 1
    assert {line["outcome"] for line in found["lines"]} == {"fail", "skip"}
    assert "fail Unsloth, 4 bit: 10 steps" in done.stdout
    assert "seed (command line)" in done.stdout


def test_without_a_gpu_nothing_is_checked(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "gpu_check.py"],
        cwd=tmp_path, env=clean_environment(tmp_path, {}),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no CUDA GPU" in done.stdout
    assert not (tmp_path / "gpu-check.json").exists()
