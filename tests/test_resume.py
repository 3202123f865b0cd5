"""A resumed run is the run that its passport describes, and nobody else works in its folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, run_medgrpo, same_results, start
from omegaconf import OmegaConf

from medgrpo import job, run
from medgrpo.job import owned
from medgrpo.trainer.manifest import write_manifest

SHORT = ["trainer.args.max_steps=3", "trainer.args.save_steps=2", "evaluation.limit=8"]
PLAIN = ["rewards=[formats,verifiable]", "tracking.mode=disabled"]


def rows(folder: Path) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if "learning_rate" in row]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run that ended: three steps at a constant rate, checkpoints after the second and third."""
    cwd = tmp_path_factory.mktemp("whole")
    constant = "trainer.args.lr_scheduler_type=constant"
    done = run_medgrpo(cwd, *SHORT, *PLAIN, constant, "output_dir=run")
    assert done.returncode == 0, done.stdout + done.stderr
    return cwd / "run"


@pytest.fixture
def cut(whole, tmp_path) -> Path:
    """The same, killed in its last evaluation."""
    folder = shutil.copytree(whole, tmp_path / "cut")
    for name in ("predictions.parquet", "evaluation.json", "adapter/adapter_model.safetensors"):
        (folder / name).unlink()
    return folder


def test_killed_after_its_last_checkpoint_it_takes_no_further_step(cut, whole, medgrpo):
    done = medgrpo("resume=cut")
    assert done.returncode == 0, done.stdout + done.stderr
    assert same_results(cut, whole)
    completions = sorted(path.name for path in (whole / "completions").iterdir())
    assert completions == sorted(path.name for path in (cut / "completions").iterdir())


def test_a_damaged_checkpoint_is_not_resumed_from(cut, whole, medgrpo):
    (cut / "checkpoints" / "checkpoint-3" / "optimizer.pt").unlink()
    done = medgrpo("resume=cut")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "checkpoint-3 is damaged (optimizer.pt is missing)" in done.stdout + done.stderr
    assert same_results(cut, whole)


OTHERS = {
    "dataset": "pubmedqa",
    "seed": "4",
    "lora.r": "16",
    "lora.alpha": "16",
    "model.dtype": "bfloat16",
    "prompt": "choice_cot",
    "rewards": "[formats]",
    "dataset.limit": "64",
    "trainer.args.learning_rate": "1e-4",
    "trainer.args.lr_scheduler_type": "linear",
    "trainer.args.num_generations": "4",
    "trainer.args.temperature": "0.7",
    "trainer.args.max_steps": "2",
}


def test_settings_that_would_hold_for_a_part_are_refused(cut, medgrpo):
    before = {path: path.stat().st_mtime_ns for path in cut.rglob("*")}
    done = medgrpo("resume=cut", *(f"{key}={value}" for key, value in OTHERS.items()))
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    named = {"dataset": "dataset._target_", "prompt": "prompt.style", "rewards": "choice_accuracy"}
    for key in OTHERS:
        about = [line for line in lines if named.get(key, f"  {key} ") in line]
        assert about, key
        assert all("this run began with" in line for line in about)
    assert before == {path: path.stat().st_mtime_ns for path in cut.rglob("*")}


def test_lost_overrides_are_no_defaults(cut, medgrpo):
    (cut / ".hydra" / "overrides.yaml").write_text("[]")
    done = medgrpo("resume=cut")
    assert done.returncode == 2
    assert "trainer.args.lr_scheduler_type" in done.stderr


@pytest.mark.slow
def test_other_training_rows_are_refused(cut, medgrpo):
    passport = json.loads((cut / "passport.json").read_text())
    passport["dataset"]["train"]["sha256"] = "0"
    (cut / "passport.json").write_text(json.dumps(passport))
    done = medgrpo("resume=cut")
    assert done.returncode == 2
    assert "the train rows are not those that this run began with" in done.stderr


def test_more_steps_are_taken_and_recorded(cut, whole, medgrpo):
    probed = medgrpo("resume=cut", "trainer.args.max_steps=4", "evaluation.limit=4")
    assert probed.returncode == 2
    assert "evaluation.limit (command line): differs from what this run's probes" in probed.stderr
    done = medgrpo("resume=cut", "trainer.args.max_steps=4", "evaluation.reward_rows=4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(cut)[:3] == rows(whole)
    assert [row["step"] for row in rows(cut)] == [1, 2, 3, 4]
    assert rows(cut)[3]["learning_rate"] == rows(whole)[2]["learning_rate"]
    assert json.loads((cut / "passport.json").read_text())["changes"] == [
        {"step": 3, "key": "trainer.args.max_steps", "from": 3, "to": 4},
        {"step": 3, "key": "evaluation.reward_rows", "from": 20, "to": 4},
    ]
    again = medgrpo("resume=cut", "trainer.args.max_steps=3")  # held against the four by now
    assert again.returncode == 2


@pytest.mark.slow
def test_a_moved_sft_keeps_its_best_checkpoint(sft_run, tmp_path, medgrpo):
    moved = shutil.copytree(sft_run, tmp_path / "moved")
    for file in moved.glob("checkpoints/*/trainer_state.json"):
        state = json.loads(file.read_text())
        state["best_model_checkpoint"] = f"/elsewhere/checkpoint-{state['best_global_step']}"
        file.write_text(json.dumps(state))
        write_manifest(file.parent)
    done = medgrpo("resume=moved", "export.merged=false", "evaluation.samples=0")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("best.json", "metrics.jsonl", "adapter/adapter_model.safetensors"):
        assert (moved / name).read_bytes() == (sft_run / name).read_bytes(), name


@pytest.mark.slow
def test_a_lost_best_checkpoint_is_no_other(sft_run, tmp_path, medgrpo):
    moved = shutil.copytree(sft_run, tmp_path / "moved")
    best = json.loads((moved / "best.json").read_text())["step"]
    shutil.rmtree(moved / "checkpoints" / f"checkpoint-{best}")
    done = medgrpo("resume=moved", "export.merged=false", "evaluation.samples=0")
    assert done.returncode == 2
    assert f"checkpoint-{best}, the best checkpoint so far, is gone" in done.stderr


def test_of_two_commands_in_one_folder_one_runs(tmp_path):
    command = [*SHORT[1:], *PLAIN, "trainer.args.max_steps=500", "output_dir=one"]
    both = [start(tmp_path, *command), start(tmp_path, *command)]
    loser = None
    while loser is None:
        loser = next((process for process in both if process.poll() is not None), None)
        time.sleep(0.1)
    assert loser.returncode == 2
    printed = loser.stdout.read()
    assert "works in" in printed or "holds a run" in printed
    winner = both[both[0] is loser]
    winner.terminate()
    assert "to resume: python -m medgrpo resume=" in winner.communicate()[0]
    assert winner.returncode == 143


def test_a_folder_has_one_owner(cut, medgrpo):
    with owned(cut):
        done = medgrpo("resume=cut")
        assert done.returncode == 2
        assert f"process {os.getpid()} on " in done.stderr
    with owned(cut):
        pass


def test_rows_that_fill_no_batch_are_refused(medgrpo, tmp_path):
    done = medgrpo("dataset.limit=3", *SHORT, *PLAIN, "output_dir=few")
    assert done.returncode == 2
    assert "3 training rows do not fill one batch of 4" in done.stderr
    assert not (tmp_path / "few" / "adapter").exists()


@pytest.mark.parametrize("adapter", ["cut", "cut/adapter"])
def test_an_adapter_keeps_its_own_settings(cut, medgrpo, adapter):
    done = medgrpo(f"model.adapter={adapter}", "lora.r=32", "lora.alpha=8")
    assert done.returncode == 2
    assert f"lora.r (command line): 32, and {adapter} has 8" in done.stderr


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(143)])
def test_a_stopped_run_says_how_it_is_resumed(monkeypatch, capsys, stop):
    end_with(monkeypatch, stop)
    with pytest.raises(type(stop)):
        job._run(CONFIG)
    assert "interrupted; to resume: python -m medgrpo resume=somewhere" in capsys.readouterr().err


FILL = """
import sys
from medgrpo.rundir import RunFolder
with RunFolder(sys.argv[1]) as folder, open(folder.path / "big", "wb", buffering=0) as file:
    while True:
        file.write(bytes(4096))
"""


def test_a_full_disk_stops_the_run_and_is_noted(tmp_path):
    mount = f"mount -t tmpfs -o size=1m small {tmp_path} && "
    shell = mount + f'{sys.executable} -c "$1" {tmp_path}; cat {tmp_path}/summary.json'
    command = ["unshare", "-rm", "sh", "-c", shell, "sh", FILL]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if "Operation not permitted" in done.stderr:
        pytest.skip("may not mount a small disk here")
    assert "RunStopped: [Errno 28] No space left on device" in done.stderr
    summary = json.loads(done.stdout)
    assert summary["status"] == "stopped"
    assert f"make room, then resume with: python -m medgrpo resume={tmp_path}" in summary["error"]


@pytest.mark.slow
def test_lost_rows_of_the_log_are_noticed(cut, medgrpo):
    lines = (cut / "metrics.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["step"] != 1]
    (cut / "metrics.jsonl").write_text("".join(kept))
    done = medgrpo("resume=cut")
    assert done.returncode == 2
    assert "metrics.jsonl has lost what was logged at step 1;" in done.stderr


CONFIG = OmegaConf.create(
    {"output_dir": "somewhere", "launch": {"nproc_per_node": 1, "nodes": 1, "own_process": False}}
)


def end_with(monkeypatch, error: BaseException) -> None:
    def fail(cfg: object) -> float:
        raise error

    monkeypatch.setattr(run, "run", fail)


def garbage(file: Path) -> None:
    file.write_bytes(b"\xff\xfe{[\x00 not what was written")


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def torn(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def gone(file: Path) -> None:
    file.unlink()


DAMAGED = [
    "summary.json", "passport.json", "metrics.jsonl", "telemetry.jsonl", "best.json",
    ".hydra/overrides.yaml", ".hydra/config.yaml", ".hydra/hydra.yaml",
    "adapter/adapter_config.json",
    "completions/completions_00002.parquet", "checkpoints/checkpoint-3/manifest.json",
    "checkpoints/checkpoint-3/rng_state.pth",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("damage", [garbage, emptied, torn, gone])
@pytest.mark.parametrize("name", DAMAGED)
def test_whatever_is_damaged_is_one_line_or_the_same_run(cut, whole, medgrpo, name, damage):
    files = list(cut.glob(name))
    assert files or name.startswith(("completions", "checkpoints")), name
    for file in files:
        damage(file)
    done = medgrpo("resume=cut")
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    assert done.returncode in (0, 1, 2)
    if done.returncode == 0:
        assert same_results(cut, whole)
    else:
        assert len([line for line in done.stderr.splitlines() if line.strip()]) <= 4


@pytest.mark.slow
def test_foreign_files_change_nothing(cut, whole, medgrpo):
    for name in ("checkpoint-old", "checkpoint-", "checkpoint-99", "checkpoint-1e9"):
        (cut / "checkpoints" / name).mkdir()
    (cut / "checkpoints" / "checkpoint-99" / "weights.bin").write_bytes(b"1")
    (cut / "completions" / "completions_mine.parquet").write_bytes(b"mine")
    (cut / "notes.txt").write_text("mine")
    done = medgrpo("resume=cut")
    assert done.returncode == 0, done.stdout + done.stderr
    assert same_results(cut, whole)
