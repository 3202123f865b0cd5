"""docs/extending.md does what it says: its files are written and its commands run, as they are."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from conftest import ROOT, run_medgrpo

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILE = re.compile(r"^`(\S+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def followed(tmp_path_factory) -> Path:
    """A folder in which a reader has followed the page."""
    folder = tmp_path_factory.mktemp("reader")
    for name, text in FILE.findall(PAGE):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    python = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "MEDGRPO"))}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(COMMANDS.findall(PAGE))],
        cwd=folder,
        env={**clean, "PATH": python, "PYTHONPATH": str(ROOT), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_page_lists_its_files(followed):
    listed = re.findall(r"^  (\S+\.(?:py|yaml)) ", PAGE, re.MULTILINE)
    assert {followed / "mine" / name for name in listed} == {
        followed / name for name, _ in FILE.findall(PAGE)
    }


def test_everything_of_ones_own_took_part(followed):
    run = followed / "mine" / "run"
    config = yaml.safe_load((run / ".hydra" / "config.yaml").read_text())
    assert config["model"]["_target_"] == "mine.Frozen"
    assert config["seed"] == 7
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    brevity = [row["rewards/brevity/mean"] for row in rows if "rewards/brevity/mean" in row]
    assert len(brevity) == 2
    assert json.loads((run / "summary.json").read_text())["status"] == "finished"
    after = json.loads((run / "evaluation.json").read_text())["after"]
    assert after["primary_metric"] == "exact_match"
    assert after["primary"] == after["accuracy"]  # rows with a label: these two are one
    tokens = [row["tokens"] for row in pq.read_table(run / "predictions.parquet").to_pylist()]
    assert 8 < max(tokens) <= 24  # answered by the engine that asks again


def diary(run: Path) -> list[str]:
    return (run / "diary.txt").read_text().splitlines()


def steps(run: Path) -> list[str]:
    return [line.partition(":")[0] for line in diary(run) if line.startswith("step ")]


def test_ones_own_tracker_is_sent_the_run_from_start_to_finish(followed):
    run = followed / "mine" / "run"
    assert diary(run)[0].startswith("start ")
    assert diary(run)[0].endswith(", seed 7")
    assert list(dict.fromkeys(steps(run))) == ["step 0", "step 1", "step 2"]
    held_out = json.loads((run / "evaluation.json").read_text())["after"]["n"]
    assert diary(run)[-2:] == [f"table evaluation: {held_out} rows", "finish 0"]


def test_ones_own_loss_is_the_one_that_is_trained_by(followed):
    """The first step of the same run with the shipped trainer: another loss, same completions."""
    short = ["trainer.args.max_steps=1", "trainer.validation_rows=0", "evaluation.limit=0"]
    own = ["--config-dir", "mine/conf", "experiment=mine", "tracking=local", *short]
    path = f"{followed / 'mine'}:{ROOT}"
    done = run_medgrpo(followed, *own, "trainer=grpo", "output_dir=plain", PYTHONPATH=path)
    assert done.returncode == 0, done.stdout + done.stderr
    ours, plain = (first_step(followed / run) for run in ("mine/run", "plain"))
    assert ours["loss"] == pytest.approx(0.5 * plain["loss"], rel=1e-4)
    assert ours["reward"] == plain["reward"]


def first_step(run: Path) -> dict:
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return next(row for row in rows if row["step"] == 1)


@pytest.mark.slow
def test_of_two_processes_one_has_the_tracker(followed):
    own = ["--config-dir", "mine/conf", "experiment=mine", "launch.nproc_per_node=2"]
    short = ["trainer.args.max_steps=2", "evaluation.limit=4", "output_dir=two"]
    done = run_medgrpo(followed, *own, *short, PYTHONPATH=f"{followed / 'mine'}:{ROOT}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert steps(followed / "two") == steps(followed / "mine" / "run")
    assert [line.split()[0] for line in diary(followed / "two")].count("start") == 1
    assert diary(followed / "two")[-1] == "finish 0"


def test_ones_own_bounds_and_trust_count(followed):
    own = ["--config-dir", "mine/conf", "experiment=mine"]
    path = f"{followed / 'mine'}:{ROOT}"
    wrong = ["rewards.brevity.words=0", "model.frozen=-1", "rewards.brevity.word=3"]
    done = run_medgrpo(followed, *own, *wrong, PYTHONPATH=path)
    assert done.returncode == 2
    for key in ("rewards.brevity.words", "model.frozen", "rewards.brevity.word ("):
        assert key in done.stderr
    done = run_medgrpo(followed, *own, "trusted_targets=[]", PYTHONPATH=path)
    assert done.returncode == 2
    assert "add 'trusted_targets=[mine]'" in done.stderr
