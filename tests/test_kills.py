"""A run that is ended anywhere and resumed leaves what one leaves that was never ended (slow)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, run_medgrpo

from medgrpo.compare.wandb_file import read_wandb

pytestmark = pytest.mark.slow

RULES = ["rewards=[formats,verifiable]", "evaluation.limit=8", "tracking.mode=offline"]
STEPS = ["trainer.args.max_steps=3", "trainer.args.save_steps=1", "trainer.validation_rows=8"]
KINDS = {
    "constant": [*RULES, *STEPS, "trainer.args.lr_scheduler_type=constant"],
    "linear": [*RULES, *STEPS],
    "sft": ["trainer=sft", "dataset=medqa_cot", "dataset.limit=48",
            "trainer.args.num_train_epochs=3", *RULES[1:]],
    "stages": ["experiment=sft_then_grpo", "first_trainer.args.num_train_epochs=2",
               "dataset.limit=48", *RULES[1:], *STEPS],
    "sweep": ["-m", "lora.r=4,8", *RULES, *STEPS],
    "ranks": ["launch.nproc_per_node=2", *RULES, *STEPS],
}  # fmt: skip
PLACES = {  # where a run is ended: module:function:call:before or after
    "start": "medgrpo.rundir:RunFolder.__enter__:1:after",
    "evaluation before": "medgrpo.evaluation.engines.transformers_engine:_write:1:before",
    "generation": "trl.trainer.grpo_trainer:GRPOTrainer._generate_and_score_completions:2:before",
    "judging": "medgrpo.trainer.grpo_trainer:RecordingGRPOTrainer._calculate_rewards:2:before",
    "step": "transformers.trainer:Trainer.training_step:2:before",
    "half a checkpoint": "transformers.trainer:Trainer._save_optimizer_and_scheduler:2:before",
    "before its manifest": "medgrpo.trainer.manifest:write_manifest:2:before",
    "after its manifest": "medgrpo.trainer.manifest:write_manifest:2:after",
    "validation": "medgrpo.evaluation.heldout:Scorer.__call__:2:before",
    "last checkpoint": "medgrpo.trainer.manifest:write_manifest:3:after",
    "training's end": "medgrpo.trainer.best:record_best_checkpoint:1:before",
    "evaluation after": "medgrpo.evaluation.write:write_evaluation:1:before",
    "saving": "medgrpo.model.save:save_policy:1:before",
    "saved": "medgrpo.model.save:save_policy:1:after",
    "plots": "medgrpo.report.plots:plot_run:1:before",
    "report": "medgrpo.report.run_report:write_report:1:before",
    "W&B's end": "medgrpo.tracking.wandb_run:WandbTracking.finish:1:before",
    "comparison": "medgrpo.compare:report:1:before",
}
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")
OF_GRPO = [place for place in PLACES if place != "comparison"]
OF_SFT = [place for place in OF_GRPO if place not in ("generation", "judging", "validation")]
TRIALS = [
    *(("constant", place, name) for place in OF_GRPO for name in SIGNALS),
    *(("linear", place, "SIGKILL") for place in OF_GRPO[4:11]),
    *(("sft", place, "SIGKILL") for place in OF_SFT[1:11]),
    *(("stages", place, "SIGKILL") for place in ("step", "half a checkpoint", "training's end",
                                                 "last checkpoint", "judging", "saving")),
    *(("sweep", place, "SIGKILL") for place in ("step", "last checkpoint", "W&B's end",
                                                "comparison")),
    *(("ranks", place, "SIGKILL") for place in ("step", "before its manifest", "last checkpoint",
                                                "evaluation after")),
]  # fmt: skip
COMPARED = ("metrics.jsonl", "predictions.parquet", "evaluation.json", "best.json")


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """`whole("sft")`: the folder of an uninterrupted run of a kind, made once."""
    root = tmp_path_factory.mktemp("whole")

    @cache
    def make(kind: str) -> Path:
        done = run_medgrpo(root, *KINDS[kind], f"output_dir={kind}")
        assert done.returncode == 0, done.stdout + done.stderr
        return root / kind

    return make


def results(folder: Path) -> dict[str, bytes]:
    """What a run leaves that another has to leave alike, by its place in the folder."""
    found = {}
    for run in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        files = [run / name for name in COMPARED]
        files += [*run.glob("completions/*.parquet"), *run.glob("adapter/adapter_*")]
        found |= {str(f.relative_to(folder)): _content(f) for f in files if f.exists()}
    return found


def _content(file: Path) -> Any:
    """Of an evaluation, without how many answers were there already: a resumed run's are."""
    if file.name != "evaluation.json":
        return file.read_bytes()
    evaluation = json.loads(file.read_text())
    for stage in evaluation.values():
        for key in ("answers_cached", "seconds_saved"):
            stage.pop(key, None) if isinstance(stage, dict) else None
    return evaluation


def logged_steps(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """For each offline run below that is to be uploaded, the steps of its history."""
    for file in sorted(folder.glob("**/wandb/offline-run-*/run-*.wandb")):
        history = [row for row in read_wandb(file).history if "train/learning_rate" in row]
        yield file.parent.name, [row["train/global_step"] for row in history]


def test_there_are_many_trials():
    assert len(TRIALS) >= 60


@pytest.mark.parametrize(("kind", "place", "name"), TRIALS, ids=lambda part: part)
def test_an_ended_run_resumes_to_the_same(whole, tmp_path, kind, place, name):
    expected = whole(kind)
    once = tmp_path / "ended"
    env = {"KILL_AT": f"{PLACES[place]}:{name}", "KILL_ONCE": str(once)}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests" / "kills"), str(ROOT)])
    ended = run_medgrpo(tmp_path, *KINDS[kind], "output_dir=run", **env)
    assert once.exists(), f"the run never came to {place}\n{ended.stdout}{ended.stderr}"
    assert ended.returncode != 0
    if name != "SIGKILL":
        assert "to resume: python -m medgrpo resume=" in ended.stderr
    if kind == "ranks":
        assert "Traceback" not in ended.stderr or "failed" in ended.stderr
        subprocess.run(["pkill", "-f", f"medgrpo.launch {tmp_path}"], check=False)
    done = run_medgrpo(tmp_path, "resume=run")
    assert done.returncode == 0, done.stdout + done.stderr
    found, wanted = results(tmp_path / "run"), results(expected)
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []
    if kind in ("constant", "linear"):
        assert [steps for _, steps in logged_steps(tmp_path / "run")] == [[1, 2, 3]]
