"""docs/extending.md does what it says: its files are written and its commands run, as they are."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

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
