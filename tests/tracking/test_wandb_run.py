"""Real offline W&B runs, read back from their transaction log; online against no server."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import wandb
from wandb.proto import wandb_internal_pb2

from medgrpo.errors import UserError
from medgrpo.rundir import RunFolder
from medgrpo.tracking import wandb_run
from medgrpo.tracking.wandb_run import WandbTracking

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


def records(file: Path) -> Iterator[wandb_internal_pb2.Record]:
    """The records of a .wandb file: LevelDB's log format with a header of seven bytes."""
    data, offset, buffer = file.read_bytes(), 7, b""
    while offset + 7 <= len(data):
        if (left := 32768 - offset % 32768) < 7:
            offset += left
            continue
        _, size, kind = struct.unpack("<IHB", data[offset : offset + 7])
        part = data[offset + 7 : offset + 7 + size]
        offset += 7 + size
        buffer = part if kind in (1, 2) else buffer + part
        if kind in (1, 4):  # a whole record, or the last part of one
            yield wandb_internal_pb2.Record.FromString(buffer)


def pairs(items) -> dict:
    return {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items}


def read_back(folder: RunFolder) -> dict:
    """Run record, config, history, last summary and step metrics of the folder's only run."""
    wandb.teardown()  # its service writes the last records after `finish` has returned
    (file,) = folder.path.glob("wandb/*run-*/run-*.wandb")
    found: dict = {"config": {}, "history": [], "summary": {}, "metrics": {}}
    for record in records(file):
        match record.WhichOneof("record_type"):
            case "run":
                found["run"] = record.run
                found["config"] |= pairs(record.run.config.update)
            case "history":
                found["history"].append(pairs(record.history.item))
            case "summary":
                found["summary"] |= pairs(record.summary.update)
            case "metric":
                name = record.metric.name or record.metric.glob_name
                found["metrics"][name] = record.metric.step_metric
            case "exit":
                found["exit_code"] = record.exit.exit_code
    return found


def test_an_offline_run_holds_what_was_tracked(tmp_path):
    tracking = WandbTracking(mode="offline", project="med", group="sweep-1", tags=["mine"])
    with RunFolder(tmp_path / "run") as folder, tracking:
        config = {"lora": {"r": 16}, "rewards": {"reasoning_tags": {"weight": 2.0}}}
        run = tracking.start(folder, config, "r16", ["medqa", "x" * 100])
        run.log({"train/global_step": 10, "train/reward": 0.25})
        run.log({"train/global_step": 20, "train/reward": 0.75})
    found = read_back(folder)
    assert found["run"].project == "med"
    assert found["run"].run_group == "sweep-1"
    assert found["run"].display_name == "r16"
    assert list(found["run"].tags) == ["medqa", "x" * 64, "mine"]
    assert {key: found["config"][key] for key in config} == config
    steps = [(row["train/global_step"], row["train/reward"]) for row in found["history"]]
    assert steps == [(10, 0.25), (20, 0.75)]
    assert found["summary"]["train/reward"] == 0.75
    assert found["metrics"]["*"] == "train/global_step"
    assert found["exit_code"] == 0
    assert folder.read_summary()["wandb_id"] == found["run"].run_id


def test_runs_in_one_process_are_runs_apart(tmp_path):
    folders = [RunFolder(tmp_path / name) for name in "ab"]
    for folder in folders:  # the first is left open, as by a job that failed
        run = WandbTracking(mode="offline").start(folder, {"job": folder.path.name}, "job")
        run.log({"train/reward": 1.0})
    run.finish()
    first, second = map(read_back, folders)
    assert first["config"]["job"] == "a"
    assert second["config"]["job"] == "b"
    assert first["run"].run_id != second["run"].run_id
    assert len(first["history"]) == len(second["history"]) == 1


def test_a_failed_run_is_marked_and_a_resumed_one_keeps_its_id(tmp_path):
    folder = RunFolder(tmp_path)
    with suppress(KeyError), WandbTracking(mode="offline") as tracking:
        tracking.start(folder, {}, "job", resume_id="abc123")
        raise KeyError
    found = read_back(folder)
    assert found["exit_code"] == 1
    assert found["run"].run_id == "abc123"


def test_artifacts_stay_in_the_run_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "elsewhere"))
    tracking = WandbTracking(mode="offline")
    run = tracking.start(RunFolder(tmp_path / "run"), {}, "job")
    (tmp_path / "adapter.bin").write_text("weights of the adapter")
    artifact = wandb.Artifact("adapter", type="model")
    artifact.add_file(str(tmp_path / "adapter.bin"))
    run.log_artifact(artifact)
    tracking.finish()
    kept = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert any(path.read_bytes() == b"weights of the adapter" for path in kept)
    assert not (tmp_path / "elsewhere").exists()
    assert os.environ["WANDB_DATA_DIR"] == str(tmp_path / "elsewhere")


def test_disabled_writes_nothing(tmp_path):
    tracking = WandbTracking(mode="disabled")
    with RunFolder(tmp_path / "run") as folder, tracking:
        assert tracking.start(folder, {}, "job") is None
    assert os.listdir(folder.path) == ["summary.json"]


def test_auto_without_a_key_is_offline_and_says_how_to_upload(tmp_path, caplog):
    tracking = WandbTracking()
    with caplog.at_level("INFO"):
        run = tracking.start(RunFolder(tmp_path), {}, "job")
    tracking.finish()
    assert run.offline
    (line,) = [r.getMessage() for r in caplog.records if r.name == wandb_run.__name__]
    assert "offline" in line
    assert f"wandb sync {os.path.relpath(run.settings.sync_dir)}" in line


@pytest.mark.parametrize("mode", ["auto", "online"])
def test_without_a_server_the_run_goes_on_offline(tmp_path, monkeypatch, caplog, mode):
    monkeypatch.setattr(wandb_run, "SECONDS_TO_CONNECT", 2)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    tracking = WandbTracking(mode=mode)
    with caplog.at_level("INFO"):
        run = tracking.start(RunFolder(tmp_path), {"seed": 1}, "job")
    run.log({"train/reward": 1.0})
    tracking.finish()
    assert run.offline
    assert "not reached, going on offline" in caplog.text
    assert "wandb sync" in caplog.text
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and KEY in p.read_text("latin-1")]


def test_auto_obeys_an_environment_that_forbids_uploads(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "offline")
    tracking = WandbTracking()
    run = tracking.start(RunFolder(tmp_path), {}, "job")
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
    monkeypatch.setattr(wandb_run, "SECONDS_TO_CONNECT", 2)
    host = os.environ["WANDB_BASE_URL"].removeprefix("http://")
    (tmp_path / "netrc").write_text(f"machine {host} login user password {KEY}\n")
    tracking = WandbTracking()
    tracking.start(RunFolder(tmp_path / "run"), {}, "job")
    tracking.finish()
    assert "not reached" in caplog.text  # so it tried


def test_a_name_that_wandb_refuses_is_the_users_to_mend(tmp_path):
    with pytest.raises(UserError, match="project"):
        WandbTracking(mode="offline", project="a/b").start(RunFolder(tmp_path), {}, "job")
