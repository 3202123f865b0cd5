"""Real trackio runs, read back from its database; no account, no network."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, run_medgrpo
from hydra import compose, initialize_config_dir

from medgrpo.cli import CONF
from medgrpo.config.validate import validate
from medgrpo.errors import UserError
from medgrpo.rundir import RunFolder

SHORT = ["trainer.args.max_steps=2", "trainer.validation_rows=0", "evaluation.limit=4"]


def rows(place: Path, query: str) -> list[tuple]:
    with sqlite3.connect(place / "medgrpo.db") as database:
        return database.execute(query).fetchall()


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Path:
    """A sweep of two jobs, tracked by trackio."""
    pytest.importorskip("trackio")
    cwd = tmp_path_factory.mktemp("trackio")
    command = ["-m", "tracking=trackio", "lora.r=4,8", "rewards=[formats]", "output_dir=sweep"]
    done = run_medgrpo(cwd, *command, *SHORT)
    assert done.returncode == 0, done.stdout + done.stderr
    (cwd / "sweep" / "stdout.txt").write_text(done.stdout)
    return cwd / "sweep"


def test_the_jobs_of_a_sweep_stand_side_by_side_in_its_folder(sweep):
    configs = rows(sweep / "trackio", "select run_name, config from configs order by run_name")
    assert [name for name, _ in configs] == ["r-4", "r-8"]
    for (_, config), rank in zip(configs, (4, 8), strict=True):
        assert (json.loads(config)["lora"]["r"], json.loads(config)["_Group"]) == (rank, "sweep")
    assert not (sweep.parent / ".cache" / "huggingface" / "trackio").exists()
    assert not list(sweep.glob("*/wandb"))


def test_a_run_has_its_curves_and_what_it_ended_with(sweep):
    query = "select step, metrics from metrics where run_name = 'r-8' order by id"
    points = [(step, json.loads(values)) for step, values in rows(sweep / "trackio", query)]
    logged = [json.loads(line) for line in (sweep / "r-8" / "metrics.jsonl").open()]
    rewards = [(row["step"], row["reward"]) for row in logged]
    tracked = [
        (step, values["train/reward"]) for step, values in points if "train/reward" in values
    ]
    assert tracked == rewards
    final = {key: value for _, values in points for key, value in values.items()}
    evaluation = json.loads((sweep / "r-8" / "evaluation.json").read_text())
    assert (final["score"], final["best/step"]) == (evaluation["after"]["accuracy"], 2)
    assert len(final["completions"]["_value"]) == 64
    assert {"before: response", "after: response"} <= final["evaluation"]["_value"][0].keys()
    image = sweep / "trackio" / "media" / final["plots/reward"]["file_path"]
    assert image.read_bytes() == (sweep / "r-8" / "plots" / "reward.png").read_bytes()


def test_both_adapters_descend_from_one_dataset(sweep):
    links = rows(
        sweep / "trackio",
        "select run_name, direction, artifacts.type, size_bytes from run_artifact_links "
        "join artifact_versions on artifact_version_id = artifact_versions.id "
        "join artifacts on artifact_id = artifacts.id order by run_name",
    )
    assert [link[:3] for link in links if link[1] == "input"] == [
        ("r-4", "input", "dataset"),
        ("r-8", "input", "dataset"),
    ]
    adapters = {name: size for name, direction, kind, size in links if kind == "model"}
    for job, size in adapters.items():
        assert size == sum(file.stat().st_size for file in (sweep / job / "adapter").iterdir())


def test_it_prints_one_line_of_ours_a_run_and_none_of_its_own(sweep):
    printed = (sweep / "stdout.txt").read_text().splitlines()
    how_to_look = "trackio: TRACKIO_DIR=sweep/trackio trackio show --project medgrpo"
    assert printed.count(how_to_look) == 2
    assert not [line for line in printed if line.startswith("* ")]  # as trackio writes


TRACK = """
import sys
from medgrpo.rundir import RunFolder
from medgrpo.tracking.mirror import tracked
from medgrpo.tracking.trackio_run import TrackioTracking

tracking = TrackioTracking()
with RunFolder(sys.argv[1]) as folder, tracked(tracking, folder, {}, name="job"):
    tracking.log(int(sys.argv[2]), {"train/reward": 0.5})
    if sys.argv[2] == "1":
        raise KeyboardInterrupt
"""


def track(folder: Path, step: int, **env: str) -> None:
    command = [sys.executable, "-c", TRACK, str(folder), str(step)]
    environment = {"PYTHONPATH": str(ROOT), "HOME": str(folder.parent), **env}
    subprocess.run(command, env=environment, capture_output=True, check=step != 1)


def test_an_interrupted_run_is_marked_and_its_resumption_is_the_same_run(tmp_path):
    pytest.importorskip("trackio")
    for step in (1, 2):
        track(tmp_path / "run", step)
    points = rows(tmp_path / "run" / "trackio", "select run_id, step, metrics from metrics")
    assert {step for _, step, _ in points} == {1, 2}
    known = json.loads((tmp_path / "run" / "summary.json").read_text())["trackio_id"]
    assert {run for run, _, _ in points} == {known}
    codes = [(step, json.loads(values)) for _, step, values in points if b"exit_code" in values]
    assert codes == [(1, {"exit_code": 1})]


def test_a_folder_of_the_users_own_counts(tmp_path):
    pytest.importorskip("trackio")
    track(tmp_path / "run", 2, TRACKIO_DIR=str(tmp_path / "mine"))
    assert len(rows(tmp_path / "mine", "select id from metrics where step = 2")) >= 1
    assert not (tmp_path / "run" / "trackio").exists()


def test_a_process_that_writes_elsewhere_already_is_told_from_a_new_one(tmp_path, monkeypatch):
    """trackio settles where it writes when it is imported: here, before there is a run."""
    pytest.importorskip("trackio")
    from medgrpo.tracking.trackio_run import TrackioTracking

    monkeypatch.delenv("TRACKIO_DIR", raising=False)
    with pytest.raises(UserError, match=r"launch\.own_process=true"):
        TrackioTracking().start(RunFolder(tmp_path), {}, "job")


def test_where_it_is_not_installed_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", ["tracking=trackio", "output_dir=x"], return_hydra_config=True)
    (problem,) = [found for found in validate(cfg) if found.key == "tracking"]
    assert "pip install 'medgrpo[trackio]'" in problem.message
