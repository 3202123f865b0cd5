"""What reaches W&B at the end of a run: read back offline, and from a stand-in for the server."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import wandb
from matplotlib.figure import Figure
from stand_in import StandIn

from medgrpo.compare.wandb_file import WandbFile, read_wandb
from medgrpo.rundir import RunFolder
from medgrpo.tracking import mirror, wandb_connect
from medgrpo.tracking.mirror import tracked
from medgrpo.tracking.wandb_run import WandbTracking

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def no_account(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.fixture
def server(monkeypatch):
    stand_in = StandIn()
    monkeypatch.setenv("WANDB_BASE_URL", stand_in.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    yield stand_in
    with suppress(Exception):
        stand_in.die()


def finished_run(path: Path) -> RunFolder:
    """A folder as a run leaves it: two logged steps, an evaluation, an adapter."""
    folder = RunFolder(path)
    for step in (1, 2):
        rows = [{"step": step, "completion": f"c{step}{i}", "advantage": 0.5} for i in range(3)]
        folder.write_parquet(folder.completions / f"completions_{step:05d}.parquet", rows)
    asked = {"id": "7", "question": "Which?", "options": ["a", "b"], "answer": "b"}
    answers = [
        {"stage": stage, **asked, "response": stage, "predicted": said, "correct": said == "B"}
        for stage, said in (("before", None), ("after", "B"))
    ]
    folder.write_parquet(folder.predictions, answers)
    after = {"accuracy_interval": [0.5, 0.9], "n": 1, "unparsed_rate": 0.25, "format_compliance": 1}
    folder.write_json(folder.evaluation, {"before": {"primary": 0.25}, "after": after})
    folder.write_json(folder.passport, {"dataset": {"train": {"rows": 2, "sha256": "ab" * 32}}})
    folder.adapter.mkdir()
    (folder.adapter / "adapter_model.safetensors").write_bytes(b"weights")
    folder.summary = {"score": 0.75, "primary_metric": "accuracy"}
    return folder


def track(folder: RunFolder, mode: str) -> None:
    tracking = WandbTracking(mode=mode)
    with tracked(tracking, folder, {"lora": {"r": 8}}, name="job", group="sweep"):
        for step in (1, 2):
            tracking.log(step, {"train/reward": step / 2})


def read_back(folder: RunFolder) -> WandbFile:
    wandb.teardown()
    (file,) = folder.path.glob("wandb/*run-*/run-*.wandb")
    return read_wandb(file)


def table(folder: RunFolder, name: str) -> list[dict]:
    (file,) = folder.path.glob(f"wandb/*run-*/files/media/table/{name}_*.json")
    content = json.loads(file.read_text())
    return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


def test_completions_of_all_steps_are_in_one_table(tmp_path):
    folder = finished_run(tmp_path)
    track(folder, "offline")
    rows = table(folder, "completions")
    assert [row["step"] for row in rows] == [1, 1, 1, 2, 2, 2]
    assert rows[3]["completion"] == "c20"
    (logged,) = [row for row in read_back(folder).history if "completions.nrows" in row]
    assert logged["completions.nrows"] == 6
    assert logged["train/global_step"] == 2


def test_long_runs_keep_every_step_of_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "MOST_ROWS", 4)
    folder = finished_run(tmp_path)
    track(folder, "offline")
    assert [row["step"] for row in table(folder, "completions")] == [1, 1, 2, 2]


def test_what_was_logged_is_let_go(tmp_path):
    """Or each job of a sweep would leave its completions in memory: W&B keeps 100 artifacts."""
    track(finished_run(tmp_path), "offline")
    gc.collect()
    kept = [one for one in gc.get_objects() if type(one) is wandb.Table]
    assert sum(len(one.data) for one in kept) == 0


def test_answers_before_and_after_stand_side_by_side(tmp_path):
    folder = finished_run(tmp_path)
    track(folder, "offline")
    (row,) = table(folder, "evaluation")
    assert (row["before: predicted"], row["after: predicted"]) == (None, "B")
    assert row["options"] == '["a", "b"]'


def test_the_summary_holds_the_figures_that_decide(tmp_path):
    folder = finished_run(tmp_path)
    track(folder, "offline")
    summary = read_back(folder).summary
    assert (summary["score"], summary["score_before"]) == (0.75, 0.25)
    assert (summary["score_low"], summary["score_high"]) == (0.5, 0.9)
    assert summary["unparsed_rate"] == 0.25
    assert "judge_cost" not in summary


def test_the_adapter_descends_from_the_dataset(tmp_path):
    folder = finished_run(tmp_path)
    track(folder, "offline")
    run = read_back(folder)
    artifacts = {(kind, is_input) for kind, _, is_input in run.artifacts}
    assert {("dataset", True), ("model", False)} <= artifacts
    staged = (tmp_path / "wandb" / "artifacts").rglob("*")
    assert any(file.is_file() and file.read_bytes() == b"weights" for file in staged)


def test_plots_are_shown_those_of_an_earlier_training_under_its_name(tmp_path):
    folder = finished_run(tmp_path)
    for place in (folder, folder.part("sft")):
        place.plots.mkdir(parents=True)
        Figure().savefig(place.plots / "reward.png")
    track(folder, "offline")
    logged = {key for row in read_back(folder).history for key in row}
    assert {"plots/reward.path", "plots/sft/reward.path"} <= logged


def test_a_run_cut_short_shows_what_it_had(tmp_path):
    folder = RunFolder(tmp_path)
    with suppress(KeyError), tracked(WandbTracking(mode="offline"), folder, {}, name="job"):
        rows = [{"step": 1, "completion": "only"}]
        folder.write_parquet(folder.completions / "completions_00001.parquet", rows)
        raise KeyError
    assert [row["completion"] for row in table(folder, "completions")] == ["only"]
    assert read_back(folder).exit_code == 1


def test_a_table_that_cannot_be_read_does_not_fail_the_run(tmp_path, caplog):
    folder = finished_run(tmp_path)
    folder.predictions.write_bytes(b"torn")
    track(folder, "offline")
    assert "not all of the run was recorded" in caplog.text
    assert read_back(folder).exit_code == 0


def test_an_online_run_reaches_the_server_with_its_artifacts(tmp_path, server):
    folder = finished_run(tmp_path)
    track(folder, "online")
    wandb.teardown()
    (run,) = server.runs.values()
    assert run["groupName"] == "sweep"
    assert [row["train/reward"] for row in server.history if "train/reward" in row] == [0.5, 1.0]
    adapter = f"adapter-{folder.read_summary()['wandb_id']}"
    assert server.files[f"{adapter}/adapter_model.safetensors"] == b"weights"
    assert server.used == ["dataset-abababab"]


def test_an_offline_run_is_uploaded_whole_by_wandb_sync(tmp_path, server):
    folder = finished_run(tmp_path / "sweep" / "job")
    track(folder, "offline")
    wandb.teardown()
    (offline,) = folder.path.glob("wandb/offline-run-*")
    command = [sys.executable, "-m", "wandb", "sync", "--yes", str(offline)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(server.runs) == [folder.read_summary()["wandb_id"]]
    assert [row["train/reward"] for row in server.history if "train/reward" in row] == [0.5, 1.0]
    assert b"weights" in server.files.values()


@pytest.mark.slow
def test_a_server_that_dies_delays_the_end_by_half_a_minute_at_most(tmp_path, server, caplog):
    folder = finished_run(tmp_path)
    tracking = WandbTracking(mode="online")
    with tracked(tracking, folder, {}, name="job"):
        tracking.log(1, {"train/reward": 1.0})
        server.die()
        start = time.monotonic()
    assert time.monotonic() - start <= 30
    assert "wandb sync" in caplog.text


def test_a_dead_server_does_not_lose_the_run(tmp_path, server, monkeypatch, caplog):
    monkeypatch.setattr(wandb_connect, "SECONDS_TO_UPLOAD", 2)
    folder = finished_run(tmp_path)
    tracking = WandbTracking(mode="online")
    with tracked(tracking, folder, {}, name="job"):
        tracking.log(1, {"train/reward": 1.0})
        server.die()
    assert "did not take everything" in caplog.text
    wandb.teardown()  # its service writes the last records after `finish` has returned
    (file,) = folder.path.glob("wandb/run-*/run-*.wandb")
    assert read_wandb(file).history[0]["train/reward"] == 1.0
