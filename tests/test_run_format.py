"""Run folders of an earlier version (format 0, without weights): read, and not resumed."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

OLD = ROOT / "tests" / "fixtures" / "format_0"


@pytest.fixture
def old(tmp_path) -> Path:
    """A copy of the folders: `run` (GRPO) and `sweep` (two jobs)."""
    return shutil.copytree(OLD, tmp_path / "old")


def test_an_old_run_and_an_old_sweep_are_compared(old):
    done = subprocess.run(
        [sys.executable, "-m", "medgrpo.compare", "run", "sweep", "--output", "."],
        cwd=old,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with (old / "comparison.csv").open() as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert {name: row["lora.r"] for name, row in rows.items()} == {
        "run": "2",
        "sweep/r-2": "2",
        "sweep/r-4": "4",
    }
    for name, row in rows.items():
        summary = json.loads((old / name / "summary.json").read_text())
        assert (row["status"], float(row["score"])) == ("finished", summary["score"])
        assert float(row["reward"]) > 0  # of its curves
    assert "choice_accuracy" in (old / "comparison.html").read_text()


@pytest.mark.slow
def test_an_old_adapter_changes_the_answers(old, medgrpo):
    import pyarrow.parquet as pq
    from peft import PeftConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = PeftConfig.from_pretrained(old / "run" / "adapter")
    config.init_lora_weights = False  # random, where a new adapter changes nothing
    tiny = AutoModelForCausalLM.from_pretrained(ROOT / "medgrpo" / "model" / "tiny" / "weights")
    get_peft_model(tiny, config).save_pretrained(old / "new")
    weights = "adapter_model.safetensors"
    shutil.move(old / "new" / weights, old / "run" / "adapter" / weights)
    done = medgrpo(
        "model.adapter=old/run",
        "trainer=none",
        "evaluation.limit=4",
        "rewards=[formats]",
        "tracking.mode=disabled",
        "output_dir=new",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answers = {"before": [], "after": []}
    for row in pq.read_table(old.parent / "new" / "predictions.parquet").to_pylist():
        answers[row["stage"]].append(row["response"])
    assert len(answers["before"]) == len(answers["after"]) == 4
    assert answers["before"] != answers["after"]


@pytest.mark.parametrize(("folder", "named"), [("run", "old/run"), ("sweep", "old/sweep/r-")])
def test_an_old_folder_is_not_resumed(old, medgrpo, folder, named):
    before = {path: path.stat().st_mtime_ns for path in old.rglob("*")}
    done = medgrpo(f"resume=old/{folder}")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if "resume" in line]
    assert named in line
    assert "written by medgrpo 0.1.0 at commit 77eee1f6b835 in format 0" in line
    assert {path: path.stat().st_mtime_ns for path in old.rglob("*")} == before
