"""Runs that another machine wrote, or that a full disk cut short: a row each, never the end."""

import csv
import json
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic_runs import make_run

from medgrpo.compare.__main__ import main

HOST = platform.node()
FILES = {
    "summary": "summary.json",
    "evaluation": "evaluation.json",
    "predictions": "predictions.parquet",
    "metrics": "metrics.jsonl",
    "config": ".hydra/config.yaml",
    "overrides": ".hydra/overrides.yaml",
    "hydra": ".hydra/hydra.yaml",
}


def half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def garbage(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00\x93garbage\n")


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def text(content: str) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        file.write_text(content)

    return write


def changed(**values: object) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    return write


def other_columns(file: Path) -> None:
    pq.write_table(pa.table({"stage": ["after"], "id": [3], "correct": ["maybe"]}), file)


ODD = {
    **{f"{kind.__name__} {name}": (FILES[name], kind)
       for name in FILES for kind in (half, empty, garbage)},
    "list summary": (FILES["summary"], text("[]")),
    "score is a word": (FILES["summary"], changed(score="good")),
    "process is a word": (FILES["summary"], changed(status="running", process=f"{HOST}:x")),
    "judge is a list": (FILES["summary"], changed(judge=[1])),
    "list evaluation": (FILES["evaluation"], text("[1]")),
    "null stage": (FILES["evaluation"], changed(after=None)),
    "interval of one": (FILES["evaluation"], changed(after={"accuracy_interval": [0.5]})),
    "other columns": (FILES["predictions"], other_columns),
    "a folder of predictions": (FILES["predictions"], folder),
    "metrics of lists": (FILES["metrics"], text("[1]\n")),
    "metrics without step": (FILES["metrics"], text('{"reward": 1}\n')),
    "broken interpolation": (FILES["config"], text("lora: {r: ${nowhere}}\n")),
    "endless interpolation": (FILES["config"], text("a: ${b}\nb: ${a}\n")),
    "config is a word": (FILES["config"], text("word\n")),
    "overrides are a mapping": (FILES["overrides"], text("{a: 1}\n")),
    "YAML that would run": (FILES["config"], text("a: !!python/object/apply:os.system [ls]\n")),
    "half passport": ("passport.json", text('{"config": {')),
    "passport is a list": ("passport.json", text("[]")),
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("runs")
    make_run(path / "good", rank=16, accuracy=0.8)
    make_run(path / "odd")
    return path


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_run_is_a_row(runs, tmp_path, capsys, kind):
    name, damage = ODD[kind]
    shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
    damage(tmp_path / "odd" / name)
    assert main([str(tmp_path)]) == 0
    assert (tmp_path / "comparison.html").stat().st_size > 10_000
    with (tmp_path / "comparison.csv").open() as file:
        rows = {Path(row["folder"]).name: row for row in csv.DictReader(file)}
    assert rows["good"]["score"] == "0.8"
    assert rows["good"]["status"] == "finished"
    odd = rows["odd"]
    if odd["status"] == "damaged":
        assert odd["score"] == ""
        assert odd["error"].startswith("a file cannot be read (")
        assert "damaged" in capsys.readouterr().out
    else:  # what is left says enough: the score, where it is one, is the run's
        assert odd["score"] in ("", "0.5")
    if kind in MUST_BE_DAMAGED:
        assert odd["status"] == "damaged"


MUST_BE_DAMAGED = {
    *(f"{kind} {name}" for name in ("summary", "evaluation", "predictions") for kind in
      ("half", "garbage")),
    "broken interpolation", "endless interpolation", "YAML that would run", "score is a word",
    "process is a word", "other columns", "half passport",
}  # fmt: skip


def test_garbage_of_wandb_is_a_row(runs, tmp_path):
    shutil.copytree(runs / "good", tmp_path / "good")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "run-1.wandb").write_bytes(b"garbage")
    assert main([str(tmp_path)]) == 0
    assert "damaged" in (tmp_path / "comparison.csv").read_text()


def test_the_readers_environment_is_no_setting(runs, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_READER", "hunter2")
    shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
    config = tmp_path / "odd" / ".hydra" / "config.yaml"
    config.write_text(config.read_text() + "note: ${oc.env:SECRET_OF_THE_READER}\n")
    assert main([str(tmp_path)]) == 0
    for name in ("comparison.html", "comparison.csv"):
        assert "hunter2" not in (tmp_path / name).read_text()
