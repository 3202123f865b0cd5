"""Real offline W&B runs, read back from their transaction log; online against no server."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

import pytest
import wandb

from medgrpo.compare.wandb_file import WandbFile, read_wandb
from medgrpo.errors import UserError
from medgrpo.rundir import RunFolder
from medgrpo.tracking import wandb_connect, wandb_run
from medgrpo.tracking.metrics_log import MetricsLog
from medgrpo.tracking.mirror import tracked
from medgrpo.tracking.wandb_run import WandbTracking
from medgrpo.trainer.callbacks import LogCallback

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def no_account(tmp_path, monkeypatch):
    """No key from this machine, and no server that answers."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    wandb.teardown()
    yield
    wandb.teardown()


def read_back(folder: RunFolder) -> WandbFile:
    """The folder's only run, from its file."""
    wandb.teardown()  # its service writes the last records after `finish` has returned
    (file,) = folder.path.glob("wandb/*run-*/run-*.wandb")
    return read_wandb(file)


def test_an_offline_run_holds_what_was_tracked(tmp_path):
    tracking = WandbTracking(mode="offline", project="med", group="sweep-1", tags=["mine"])
    config = {"lora": {"r": 16}, "rewards": {"reasoning_tags": {"weight": 2.0}}}
    run = {"name": "r16", "tags": ["medqa", "x" * 100], "job_type": "grpo"}
    with RunFolder(tmp_path / "run") as folder, tracked(tracking, folder, config, **run):
        tracking.log(10, {"train/reward": 0.75})
        tracking.log(20, {"train/reward": 0.25})
    found = read_back(folder)
    assert (found.project, found.group, found.name) == ("med", "sweep-1", "r16")
    assert found.job_type == "grpo"
    assert found.tags == ["medqa", "x" * 64, "mine"]
    assert {key: found.config[key] for key in found.config if key != "_wandb"} == config
    steps = [(row["train/global_step"], row["train/reward"]) for row in found.history]
    assert steps == [(10, 0.75), (20, 0.25)]
    assert found.summary["train/reward"] == {"last": 0.25, "max": 0.75}
    assert found.steps["*"] == found.steps["train/reward"] == "train/global_step"
    assert found.exit_code == 0
    assert folder.read_summary()["wandb_id"] == found.id


def test_runs_in_one_process_are_runs_apart(tmp_path):
    folders = [RunFolder(tmp_path / name) for name in "ab"]
    for folder in folders:  # the first is left open, as by a job that failed
        tracking = WandbTracking(mode="offline")
        tracking.start(folder, {"job": folder.path.name}, "job")
        tracking.log(1, {"train/reward": 1.0})
    tracking.finish()
    first, second = map(read_back, folders)
    assert first.config["job"] == "a"
    assert second.config["job"] == "b"
    assert first.id != second.id
    assert len(first.history) == len(second.history) == 1


def test_a_failed_run_is_marked_and_a_resumed_one_keeps_its_id(tmp_path):
    folder = RunFolder(tmp_path)
    folder.summary["wandb_id"] = "abc123"
    with suppress(KeyError), tracked(WandbTracking(mode="offline"), folder, {}, name="job"):
        raise KeyError
    found = read_back(folder)
    assert found.exit_code == 1
    assert found.id == "abc123"


def begin(folder: RunFolder) -> LogCallback:
    """What `TRLTrainer.fit` does at its start, at the checkpoint of step 3."""
    tracking = WandbTracking(mode="offline")
    tracking.start(folder, {}, "job")
    log = MetricsLog(folder)
    log.truncate(3)
    return LogCallback(log, tracking)


def test_a_killed_runs_history_is_whole_after_it_resumes(tmp_path):
    with RunFolder(tmp_path) as folder:
        killed = begin(folder)
        for step in range(1, 6):
            killed.record(step, {"reward": step / 10, "loss": None, "step_time": 1.0})
        killed.tracker.finish()
    (torn,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    wandb.teardown()
    torn.write_bytes(torn.read_bytes()[:7])  # all that SIGKILL leaves of a short run
    with RunFolder(tmp_path) as folder:
        resumed = begin(folder)
        resumed.replay()
        for step in range(4, 7):
            resumed.record(step, {"reward": step / 10, "loss": None, "step_time": 2.0})
        resumed.tracker.finish()
    wandb.teardown()
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")  # what `make sync` uploads
    found = read_wandb(file)
    assert found.id == folder.read_summary()["wandb_id"]
    rewards = [
        (row["train/global_step"], row["train/reward"])
        for row in found.history
        if "train/reward" in row
    ]
    assert rewards == [(step, step / 10) for step in range(1, 7)]
    assert len(list(tmp_path.glob("wandb/superseded-offline-run-*"))) == 1


def test_artifacts_stay_in_the_run_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "elsewhere"))
    tracking = WandbTracking(mode="offline")
    tracking.start(RunFolder(tmp_path / "run"), {}, "job")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter.bin").write_text("weights of the adapter")
    tracking.artifact("adapter", "model", tmp_path / "adapter", {})
    tracking.finish()
    kept = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert any(path.read_bytes() == b"weights of the adapter" for path in kept)
    assert not (tmp_path / "elsewhere").exists()
    assert os.environ["WANDB_DATA_DIR"] == str(tmp_path / "elsewhere")


def test_disabled_writes_nothing(tmp_path):
    tracking = WandbTracking(mode="disabled")
    with RunFolder(tmp_path / "run") as folder, tracked(tracking, folder, {}, name="job"):
        tracking.log(1, {"train/reward": 1.0})
    assert os.listdir(folder.path) == ["summary.json"]


def test_auto_without_a_key_is_offline_and_says_how_to_upload(tmp_path, caplog):
    tracking = WandbTracking()
    with caplog.at_level("INFO"):
        tracking.start(RunFolder(tmp_path), {}, "job")
    run = wandb.run
    tracking.finish()
    assert run.offline
    (line,) = [r.getMessage() for r in caplog.records if r.name == wandb_run.__name__]
    assert "offline" in line
    assert f"wandb sync {os.path.relpath(run.settings.sync_dir)}" in line


@pytest.mark.parametrize("mode", ["auto", "online"])
def test_without_a_server_the_run_goes_on_offline(tmp_path, monkeypatch, caplog, mode):
    monkeypatch.setattr(wandb_connect, "SECONDS_TO_CONNECT", 2)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    tracking = WandbTracking(mode=mode)
    with caplog.at_level("INFO"):
        tracking.start(RunFolder(tmp_path), {"seed": 1}, "job")
    run = wandb.run
    tracking.log(1, {"train/reward": 1.0})
    tracking.finish()
    assert run.offline
    assert "not reached, continuing offline" in caplog.text
    assert "wandb sync" in caplog.text
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and KEY in p.read_text("latin-1")]


def test_auto_obeys_an_environment_that_forbids_uploads(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "offline")
    tracking = WandbTracking()
    tracking.start(RunFolder(tmp_path), {}, "job")
    run = wandb.run
    tracking.finish()
    assert run.offline
    assert not list(tmp_path.glob("wandb/run-*"))


@pytest.mark.parametrize("key", [None, "too-short"])
def test_online_without_a_valid_key_is_the_users_to_mend(tmp_path, monkeypatch, key):
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)
    with pytest.raises(UserError, match=r"tracking\.mode=online"):
        WandbTracking(mode="online").start(RunFolder(tmp_path), {}, "job")


def test_a_key_in_netrc_counts(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(wandb_connect, "SECONDS_TO_CONNECT", 2)
    host = os.environ["WANDB_BASE_URL"].removeprefix("http://")
    (tmp_path / "netrc").write_text(f"machine {host} login user password {KEY}\n")
    tracking = WandbTracking()
    tracking.start(RunFolder(tmp_path / "run"), {}, "job")
    tracking.finish()
    assert "not reached" in caplog.text  # so it tried


def test_a_name_that_wandb_refuses_is_the_users_to_mend(tmp_path):
    with pytest.raises(UserError, match="project"):
        WandbTracking(mode="offline", project="a/b").start(RunFolder(tmp_path), {}, "job")
