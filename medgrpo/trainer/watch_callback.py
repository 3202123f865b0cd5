"""What a run does about an alarm of the hacking watch: say it, keep the evidence, stop if told."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from medgrpo.rewards.base import Reward
from medgrpo.rundir import nan_to_null
from medgrpo.trainer.base import Training
from medgrpo.trainer.best import SCORE
from medgrpo.trainer.watch import Alarm, alarms

log = logging.getLogger(__name__)

COMPLETIONS = 5  # shown of an alarm
MOST_FILES = 100  # the latest, that are read for it


class WatchCallback(TrainerCallback):
    """Looks for alarms at each probe; watch.json holds them, with the completions that gained most.

    All that it knows is in the trainer's history, which lies in each checkpoint and is the same in
    all processes.
    """

    def __init__(
        self,
        rewards: Sequence[Reward],
        training: Training,
        probe_rows: int,
        action: Literal["warn", "stop"],
    ) -> None:
        """`probe_rows`: of validation, which a probe answers; none: nothing is looked for."""
        self._rewards = [r.__name__ for r in rewards if r.weight and not r.verifiable]
        self._folder, self._tracker = training.folder, training.tracker
        self._higher_is_better = training.score.higher_is_better
        self._probe_rows = probe_rows
        self._action = action
        self._known: set[str] = set()
        self.stopped: str | None = None  # why training ended early, if it did

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """What a resumed run has said before is not said again."""
        self._known = {alarm.name for alarm in self._alarms(state)}
        if not self._known and state.is_world_process_zero:
            self._folder.watch.unlink(missing_ok=True)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """After a probe of this step, which is the last entry of the history then."""
        if not state.log_history or SCORE not in state.log_history[-1]:
            return
        found = self._alarms(state)
        new = [alarm for alarm in found if alarm.name not in self._known]
        if not new:
            return
        self._known = {alarm.name for alarm in found}
        if state.is_world_process_zero:
            self._record(found)
        for alarm in new:
            log.warning("watch: %s", alarm)
        self._tracker.summary({f"watch/{alarm.name}": str(alarm) for alarm in new})
        if self._action == "stop":
            self.stopped = f"watch: {new[0]}"
            control.should_log = control.should_save = control.should_training_stop = True

    def _alarms(self, state: TrainerState) -> list[Alarm]:
        better, rows = self._higher_is_better, self._probe_rows
        return alarms(state.log_history, self._rewards, higher_is_better=better, probe_rows=rows)

    def _record(self, found: Sequence[Alarm]) -> None:
        """Those that were there keep what was recorded of them."""
        kept = {old["name"]: old for old in self._folder.read_watch()}
        rows = [
            kept.get(alarm.name)
            or {"text": str(alarm), **asdict(alarm), "completions": self._gained_most(alarm)}
            for alarm in found
        ]
        self._folder.write_json(self._folder.watch, nan_to_null(rows))

    def _gained_most(self, alarm: Alarm) -> list[dict[str, Any]]:
        """Of the latest steps, the completions that got most of the reward for the least worth."""
        import pyarrow.parquet as pq

        files = sorted(self._folder.completions.glob("*.parquet"))
        rows = [row for file in files[-MOST_FILES:] for row in pq.read_table(file).to_pylist()]
        latest = [row for row in rows if row["step"] > alarm.windows[1]]
        distinct = {row["completion"]: row for row in latest if row.get(alarm.name) is not None}

        def undeserved(row: dict[str, Any]) -> float:
            return row[alarm.name] - (row["score"] if row["score"] == row["score"] else 0.0)

        keys = ("step", "prompt", "completion", "score")
        return [
            {**{key: row[key] for key in keys}, "reward": row[alarm.name]}
            for row in sorted(distinct.values(), key=undeserved, reverse=True)[:COMPLETIONS]
        ]
