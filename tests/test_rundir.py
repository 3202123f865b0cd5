"""A run folder tells what became of its run, and never holds half a file."""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import medgrpo
from medgrpo import rundir
from medgrpo.errors import RunStopped
from medgrpo.rundir import RunFolder


def summary(folder: RunFolder) -> dict:
    return json.loads((folder.path / "summary.json").read_text())


def test_a_finished_run_leaves_its_figures(tmp_path):
    with RunFolder(tmp_path / "run") as folder:
        assert summary(folder)["status"] == "running"
        folder.summary["score"] = 0.75
    left = summary(folder)
    assert left["status"] == "finished"
    assert left["score"] == 0.75
    assert left["wall_seconds"] >= 0
    assert "error" not in left


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (ValueError("no such column"), "failed", "ValueError: no such column"),
        (RunStopped("too dear"), "stopped", "RunStopped: too dear"),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
        (SystemExit(143), "interrupted", "SystemExit: 143"),
    ],
)
def test_an_ended_run_says_how_it_ended(tmp_path, error, status, text):
    with pytest.raises(type(error)), RunFolder(tmp_path) as folder:
        raise error
    assert summary(folder)["status"] == status
    assert summary(folder)["error"] == text


def test_what_earlier_processes_took_is_added_up(tmp_path, monkeypatch):
    """A run that was preempted and resumed did not take the last hour alone."""
    clock = iter([100.0, 160.0, 500.0, 530.0])
    monkeypatch.setattr(rundir.time, "monotonic", lambda: next(clock))
    with suppress(SystemExit), RunFolder(tmp_path) as folder:
        folder.update_summary(judge={"total": {"cost": 1.0}})
        raise SystemExit(143)
    assert summary(folder)["wall_seconds"] == 60.0
    with RunFolder(tmp_path) as folder:
        assert folder.summary["judge"] == {"total": {"cost": 1.0}}
    assert summary(folder)["wall_seconds"] == 90.0


def test_a_second_start_forgets_the_error_and_keeps_the_wandb_id(tmp_path):
    with suppress(KeyError), RunFolder(tmp_path) as folder:
        folder.update_summary(wandb_id="abc")
        raise KeyError
    with RunFolder(tmp_path) as folder:
        pass
    left = summary(folder)
    assert left["status"] == "finished"
    assert left["wandb_id"] == "abc"
    assert "error" not in left


@pytest.mark.parametrize(
    ("written", "writer"),
    [
        ({"format": rundir.FORMAT, "medgrpo": "9"}, None),
        ({"format": 99, "medgrpo": "9.0"}, "medgrpo 9.0 in format 99"),
        ({"status": "finished"}, "medgrpo of unknown version in format 0"),
        (None, None),
    ],
)
def test_a_folder_names_the_version_that_wrote_another_format(tmp_path, written, writer):
    if written is not None:
        (tmp_path / "summary.json").write_text(json.dumps(written))
    assert RunFolder(tmp_path).other_writer() == writer


def test_a_run_can_be_resumed_by_the_version_that_wrote_it(tmp_path):
    with RunFolder(tmp_path) as folder:
        assert RunFolder(tmp_path).other_writer() is None
    assert summary(folder)["format"] == rundir.FORMAT
    assert summary(folder)["medgrpo"] == medgrpo.__version__


def test_an_undefined_figure_does_not_lose_the_summary(tmp_path):
    with RunFolder(tmp_path) as folder:
        folder.summary["figures"] = {"reward": math.nan}
    assert summary(folder)["status"] == "finished"
    assert summary(folder)["figures"] == {"reward": None}


def test_the_summary_of_an_unused_folder_is_empty(tmp_path):
    assert RunFolder(tmp_path / "none").read_summary() == {}


def test_a_failing_write_leaves_the_old_file(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_json("evaluation.json", {"accuracy": 0.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.write_json("evaluation.json", {"accuracy": math.nan})
    with pytest.raises(TypeError):
        folder.write_json("evaluation.json", {"accuracy": object()})
    assert json.loads(folder.evaluation.read_text()) == {"accuracy": 0.5}
    assert os.listdir(tmp_path) == ["evaluation.json"]


def test_a_failing_parquet_write_leaves_the_old_file(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_parquet("predictions.parquet", [{"id": "a", "correct": True}])
    with pytest.raises(pa.ArrowInvalid):
        folder.write_parquet("predictions.parquet", [{"id": object()}])
    assert pq.read_table(folder.predictions).to_pylist() == [{"id": "a", "correct": True}]
    assert os.listdir(tmp_path) == ["predictions.parquet"]


def test_nested_names_make_their_folder(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_parquet(folder.completions / "step.parquet", [{"completion": "é"}])
    table = pq.read_table(tmp_path / "completions" / "step.parquet")
    assert table.to_pylist() == [{"completion": "é"}]
