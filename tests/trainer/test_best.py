"""Which checkpoint is called best, in a GRPO run (SFT: test_sft.py) and where none is measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState

from medgrpo.rundir import RunFolder
from medgrpo.tracking.base import NullTracker
from medgrpo.tracking.metrics_log import MetricsLog, read_log
from medgrpo.trainer.best import ProbeCallback, record_best_checkpoint
from medgrpo.trainer.callbacks import LogCallback

ROWS: Any = ["a validation row"]


class Scores:
    """Gives these scores, one each time it is asked."""

    def __init__(self, scores: Iterator[float | None], higher_is_better: bool = True) -> None:
        self.scores, self.higher_is_better = scores, higher_is_better

    def __call__(self, rows: Any) -> float | None:
        assert rows is ROWS
        return next(self.scores)


def trained(
    folder: RunFolder, scores: list[float | None], higher_is_better: bool = True
) -> TrainerState:
    """A training that saves every second step and has these scores there."""
    measured = iter(scores)
    logs = LogCallback(MetricsLog(folder), NullTracker())
    callback = ProbeCallback(Scores(measured, higher_is_better), ROWS, logs)
    state = TrainerState(is_world_process_zero=True, max_steps=2 * len(scores))
    args: Any = SimpleNamespace(eval_strategy="no")
    for step in range(1, 2 * len(scores) + 1):
        state.global_step, state.epoch = step, step / 10
        control = TrainerControl(should_save=step % 2 == 0)
        logs.on_step_end(args, state, control)
        callback.on_step_end(args, state, control)
        if control.should_log:
            logs.on_log(args, state, control, logs={"reward": 1.0})
    return state


def test_the_highest_score_at_a_checkpoint_is_best(tmp_path: Path, caplog: Any) -> None:
    folder = RunFolder(tmp_path)
    state = trained(folder, [0.2, 0.6, 0.6, 0.4])
    summary: dict[str, Any] = {}
    tracker: Any = SimpleNamespace(summary=summary.update)
    with caplog.at_level("INFO"):
        record_best_checkpoint(state, "eval_score", folder, tracker)
    assert read_log(folder.metrics) == [  # in the row of its step
        {"step": step, "eval_score": score, "reward": 1.0}
        for step, score in ((2, 0.2), (4, 0.6), (6, 0.6), (8, 0.4))
    ]
    best = json.loads(folder.best.read_text())
    assert best == {
        "step": 4, "epoch": pytest.approx(0.4), "measure": "eval_score", "value": 0.6
    }  # fmt: skip
    assert summary["best/step"] == 4
    assert "step 4 (epoch 0.40), eval_score 0.6000 on validation rows" in caplog.text


def test_the_lowest_is_best_where_less_is_better(tmp_path: Path) -> None:
    state = trained(RunFolder(tmp_path), [0.6, 0.2, 0.2, 0.4], higher_is_better=False)
    assert (state.best_global_step, state.best_metric) == (4, 0.2)


@pytest.mark.parametrize("scores", [[None, None], []])
def test_where_nothing_is_measured_that_is_said(tmp_path: Path, caplog: Any, scores: Any) -> None:
    folder = RunFolder(tmp_path)
    with caplog.at_level("INFO"):
        record_best_checkpoint(trained(folder, scores), "eval_score", folder, NullTracker())
    best = json.loads(folder.best.read_text())
    assert (best["step"], best["measure"], best["value"]) == (2 * len(scores), "none", None)
    assert "nothing was measured on validation rows" in caplog.text


def test_an_evaluation_gets_the_score_beside_its_own_metrics(tmp_path: Path) -> None:
    """So that load_best_model_at_end can choose by it."""
    logs = LogCallback(MetricsLog(RunFolder(tmp_path)), NullTracker())
    callback = ProbeCallback(Scores(iter([0.7])), ROWS, logs)
    metrics = {"eval_loss": 0.1}
    state = TrainerState(is_world_process_zero=True)
    callback.on_evaluate(SimpleNamespace(), state, TrainerControl(), metrics=metrics)  # type: ignore[arg-type]
    assert metrics == {"eval_loss": 0.1, "eval_score": 0.7}


def test_the_probe_is_asked_at_the_start_every_so_many_steps_and_at_checkpoints(tmp_path: Path):
    folder = RunFolder(tmp_path)
    logs = LogCallback(MetricsLog(folder), NullTracker())
    measured = iter([0.1, 0.9, 0.3, 0.4, 0.2])
    callback = ProbeCallback(Scores(measured), ROWS, logs, 3)
    state = TrainerState(is_world_process_zero=True, max_steps=8)
    args: Any = SimpleNamespace(eval_strategy="no")
    callback.on_train_begin(args, state, TrainerControl())
    for step in range(1, 9):
        state.global_step = step
        control = TrainerControl(should_save=step % 4 == 0)
        callback.on_step_end(args, state, control)
        if control.should_log:
            logs.on_log(args, state, control, logs={"reward": 1.0})
    probes = {row["step"]: row["eval_score"] for row in read_log(folder.metrics)}
    assert probes == {0: 0.1, 3: 0.9, 4: 0.3, 6: 0.4, 8: 0.2}
    assert [(row["step"], row["eval_score"]) for row in state.log_history] == [*probes.items()]
    assert (state.best_global_step, state.best_metric) == (4, 0.3)  # of what was kept


def test_a_resumed_run_does_not_probe_its_start_again(tmp_path: Path):
    logs = LogCallback(MetricsLog(RunFolder(tmp_path)), NullTracker())
    callback = ProbeCallback(Scores(iter([])), ROWS, logs, 3)
    state: Any = TrainerState(is_world_process_zero=True, global_step=4)
    args: Any = SimpleNamespace(eval_strategy="no")
    callback.on_train_begin(args, state, TrainerControl())
