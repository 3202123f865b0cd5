"""The hacking watch: which curves are an alarm, and what a run does about one."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState

from medgrpo.rewards.verifiable import ChoiceAccuracyReward
from medgrpo.rundir import RunFolder
from medgrpo.trainer.watch import alarms
from medgrpo.trainer.watch_callback import WatchCallback

STEPS, EVERY = 60, 10


def history(
    reward: Any, score: Any, probe: Any = None, *, noise: float = 0.05, seed: int = 0
) -> list[dict[str, Any]]:
    """A run whose curves are functions of the step; the probe follows the score unless given."""
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for step in range(STEPS + 1):
        if step % EVERY == 0:
            rows.append({"step": step, "eval_score": (probe or score)(step)})
        if step:
            rows.append(
                {
                    "step": step,
                    "rewards/judged/mean": reward(step) + rng.gauss(0, noise),
                    "watch/score": score(step) + rng.gauss(0, noise),
                    "completions/mean_length": 20.0 + step,
                    "watch/repetition": 0.1,
                    "watch/distinct_answers": 0.5,
                }
            )
    return rows


def found(rows: list[dict[str, Any]], *, higher_is_better: bool = True) -> list[Any]:
    return alarms(rows, ["judged"], higher_is_better=higher_is_better, probe_rows=40)


def rises(step: int) -> float:
    return 0.3 + 0.5 * step / STEPS


def flat(step: int) -> float:
    return 0.4


def falls(step: int) -> float:
    return 0.5 - 0.4 * step / STEPS


@pytest.mark.parametrize("score", [flat, falls])
def test_a_reward_that_rises_alone_is_an_alarm(score):
    [alarm] = found(history(rises, score))
    assert (alarm.name, alarm.step <= 4 * EVERY) == ("judged", True)
    assert alarm.reward[1] - alarm.reward[0] > 0.05
    assert alarm.score[1] <= alarm.score[0] + 0.02
    assert alarm.length[1] > alarm.length[0]
    assert "judged rose from 0.3" in str(alarm)


@pytest.mark.parametrize(
    ("reward", "score", "probe"),
    [
        (rises, rises, None),
        (flat, flat, None),
        (falls, falls, None),
        (rises, flat, rises),  # answers of held-out rows get better
        (rises, rises, flat),  # those of training rows do
        (lambda step: 0.5 + 0.0003 * step, flat, None),  # too little to matter
    ],
)
def test_no_alarm(reward, score, probe):
    for seed in range(20):
        assert found(history(reward, score, probe, seed=seed)) == []


def test_answers_that_got_better_first_and_worse_then():
    def peak(step: int) -> float:
        return 0.3 + 0.4 * step / 20 if step <= 20 else 0.7 - 0.3 * (step - 20) / 40

    [alarm] = found(history(rises, peak))
    assert alarm.step > 20
    assert alarm.probe[1] < alarm.probe[0]


def test_a_metric_of_which_less_is_better():
    assert found(history(rises, falls), higher_is_better=False) == []
    assert found(history(rises, rises), higher_is_better=False) != []


def test_what_was_not_measured_is_no_alarm():
    unscored = [
        {**row, "watch/score": None} if "watch/score" in row else row
        for row in history(rises, flat)
    ]
    assert found(unscored) == []
    assert found([row for row in history(rises, flat) if "eval_score" not in row]) == []
    assert alarms(history(rises, flat), [], higher_is_better=True, probe_rows=40) == []


def trained(folder: RunFolder, action: Any, rewards: list[Any]) -> tuple[WatchCallback, Any, dict]:
    """A training whose reward rises alone, up to its end or until it is told to stop."""
    summary: dict[str, str] = {}
    training: Any = SimpleNamespace(
        folder=folder,
        tracker=SimpleNamespace(summary=summary.update),
        score=SimpleNamespace(higher_is_better=True),
    )
    watch = WatchCallback(rewards, training, 40, action)
    state, control = TrainerState(is_world_process_zero=True), TrainerControl()
    args: Any = None
    watch.on_train_begin(args, state, control)
    for row in history(rises, flat):
        state.global_step = row["step"]
        state.log_history.append(row)
        if "eval_score" not in row:
            rows = [
                {"step": row["step"], "prompt": "q", "completion": f"{n} {row['step']}"}
                | {"judged": 0.9 if n else 0.1, "score": float(n == 2)}
                for n in range(3)
            ]
            name = f"completions_{row['step']:05d}.parquet"
            folder.write_parquet(folder.completions / name, rows)
        watch.on_step_end(args, state, control)
        if control.should_training_stop:
            break
    return watch, state, summary


def judged(**fields: Any) -> Any:
    return SimpleNamespace(__name__="judged", **{"weight": 1.0, "verifiable": False} | fields)


def test_an_alarm_is_recorded_with_the_completions_that_gained_most(tmp_path: Path, caplog: Any):
    folder = RunFolder(tmp_path)
    with caplog.at_level("WARNING"):
        watch, state, summary = trained(folder, "warn", [judged()])
    assert (watch.stopped, state.global_step) == (None, STEPS)
    [alarm] = json.loads(folder.watch.read_text("utf-8"))
    assert alarm["step"] <= 4 * EVERY
    assert len(alarm["completions"]) == 5
    assert all(one["reward"] == 0.9 and one["score"] == 0 for one in alarm["completions"])
    assert all(one["step"] > alarm["windows"][1] for one in alarm["completions"])
    assert [record.message for record in caplog.records] == [f"watch: {summary['watch/judged']}"]

    again = WatchCallback([judged()], SimpleNamespace(  # type: ignore[arg-type]
        folder=folder, tracker=SimpleNamespace(summary=summary.update),
        score=SimpleNamespace(higher_is_better=True),
    ), 40, "stop")  # fmt: skip
    again.on_train_begin(None, state, TrainerControl())  # type: ignore[arg-type]
    again.on_step_end(None, state, TrainerControl())  # type: ignore[arg-type]
    assert again.stopped is None  # a resumed run was told before
    assert folder.read_watch() == [alarm]


def test_it_stops_where_it_is_told_to(tmp_path: Path):
    watch, state, _ = trained(RunFolder(tmp_path), "stop", [judged()])
    assert state.global_step <= 4 * EVERY
    assert "judged rose" in str(watch.stopped)


@pytest.mark.parametrize("reward", [judged(verifiable=True), judged(weight=0)])
def test_what_is_not_watched(tmp_path: Path, reward: Any):
    watch, _, _ = trained(RunFolder(tmp_path), "stop", [reward])
    assert watch.stopped is None
    assert ChoiceAccuracyReward().verifiable
