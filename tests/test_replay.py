"""`python -m medgrpo.replay`: a run made again is the same, or what differs is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, run_medgrpo

SHORT = ["trainer.args.max_steps=2", "evaluation.limit=8", "tracking.mode=disabled"]
RULES = "rewards=[formats,verifiable]"


def replay(cwd: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "MEDGRPO"))}
    return subprocess.run(
        [sys.executable, "-m", "medgrpo.replay", *arguments],
        cwd=cwd, env={**clean, "PYTHONPATH": str(ROOT), "HOME": str(cwd), **env},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def made(cwd: Path, *overrides: str, **env: str) -> Path:
    done = run_medgrpo(cwd, *overrides, "output_dir=run", **env)
    assert done.returncode == 0, done.stdout + done.stderr
    return cwd / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("made"), RULES, "lora.r=4", *SHORT)


def test_a_run_made_again_is_the_same_to_the_bit(run):
    done = replay(run.parent, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same to the bit" in done.stdout
    again = run.parent / "run-replay"
    assert (again / "metrics.jsonl").read_bytes() == (run / "metrics.jsonl").read_bytes()
    assert replay(run.parent, "run").returncode == 2  # run-replay is there


@pytest.mark.slow
def test_what_differs_is_named_with_a_reason(run):
    done = replay(run.parent, "run", "output_dir=other", "trainer.args.learning_rate=1e-3")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "it differs: first, step 1, learning_rate: 0.003 then, 0.001 now" in done.stdout
    assert "setting trainer.args.learning_rate: 0.003 then, 0.001 now" in done.stdout


def test_a_check_runs_nothing(run, tmp_path):
    passport = json.loads((run / "passport.json").read_text())
    assert replay(run.parent, "--check", "run").returncode == 0
    passport["libraries"]["trl"] = "0.0.1"
    passport["hardware"]["processor"] = "abacus"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "passport.json").write_text(json.dumps(passport))
    done = replay(tmp_path, "--check", "elsewhere")
    assert done.returncode == 4
    assert "library trl: 0.0.1 then, " in done.stdout
    assert "hardware processor: abacus then, " in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]


def test_what_is_no_run_is_refused(tmp_path):
    done = replay(tmp_path, "nothing")
    assert done.returncode == 2
    assert "nothing: no run with a passport.json" in done.stderr


def test_a_folder_of_somebody_elses_runs_no_code(run, tmp_path):
    folder = tmp_path / "theirs"
    (folder / ".hydra").mkdir(parents=True)
    (folder / "passport.json").write_bytes((run / "passport.json").read_bytes())
    theirs = "+hydra.callbacks.x._target_=os.system"
    (folder / ".hydra" / "overrides.yaml").write_text(json.dumps([theirs]))
    done = replay(tmp_path, "theirs")
    assert done.returncode == 2
    assert theirs in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["trainer=sft", "dataset=medqa_cot", "trainer.args.num_train_epochs=2"],
        ["-m", "lora.r=4,8", "dataset=medqa,pubmedqa", RULES],
        ["sweep=lora_rank", RULES],
        ["experiment=sft_then_grpo", "first_trainer.args.num_train_epochs=1"],
    ],
    ids=["grpo", "sft", "sweep", "preset", "stages"],
)
def test_shipped_configs_are_the_same_again(tmp_path, overrides):
    short = SHORT[1:] if "trainer=sft" in overrides else SHORT
    made(tmp_path, *overrides, *short)
    done = replay(tmp_path, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = len(list(tmp_path.glob("run/**/passport.json")))
    assert done.stdout.count("the same to the bit") == jobs


@pytest.mark.slow
def test_another_row_and_other_threads_are_named(tmp_path):
    options = ["iron", "zinc", "iodine", "lead"]
    rows = [{"question": f"Which is number {i}?", "options": options, "answer": "ABCD"[i % 4]}
            for i in range(60)]  # fmt: skip
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    data = ["dataset=jsonl", "dataset.path=rows.jsonl", "model.threads=null", RULES, *SHORT]
    made(tmp_path, *data, OMP_NUM_THREADS="1")
    same = replay(tmp_path, "run", "output_dir=same", OMP_NUM_THREADS="1")
    assert same.returncode == 0, same.stdout
    other = replay(tmp_path, "run", "output_dir=threads", OMP_NUM_THREADS="2")
    if other.returncode:  # so small a model may sum alike
        assert "threads or determinism: OMP_NUM_THREADS: 1 then, 2 now" in other.stdout
    for row in rows:
        row["question"] = row["question"].replace("Which", "What")
    file.write_text("\n".join(map(json.dumps, rows)))
    changed = replay(tmp_path, "run", "output_dir=row", OMP_NUM_THREADS="1")
    assert changed.returncode == 4, changed.stdout
    assert "data train.sha256: " in changed.stdout
