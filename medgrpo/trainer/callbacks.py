"""What a trainer shows while it trains: its logs in files and a tracker, its progress to a person.

In place of transformers' own callbacks: those print raw dictionaries over the progress bar, put a
bar's control codes into log files, and copy all training arguments into the W&B config.
Imports transformers, so import this module only where a trainer is about to be built.
"""

from __future__ import annotations

import math
import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from medgrpo.config.progress import Phase
from medgrpo.tracking.base import Tracker
from medgrpo.tracking.metrics_log import MetricsLog, is_telemetry, read_log

LINES = 10  # in a log, about so many lines a training


class LogCallback(TrainerCallback):
    """Sends each log event to the run folder and to the tracker."""

    def __init__(self, metrics_log: MetricsLog, tracker: Tracker, label: str = "") -> None:
        self.metrics_log = metrics_log
        self.tracker = tracker
        self.label = label  # before each name in the tracker
        self._logged = -1  # the last step that the tracker has from before a resume
        self.extra: dict[str, Any] = {}  # goes into the next row

    def replay(self) -> None:
        """Give the tracker what the folder's logs hold and it has not: a kill takes its last rows.

        From then on, it gets no step of before a second time.
        """
        self._logged = self.tracker.logged(self.label)
        rows = [*read_log(self.metrics_log.metrics), *read_log(self.metrics_log.telemetry)]
        for row in sorted(rows, key=lambda row: row["step"]):
            self._track(row.pop("step"), row)

    def on_log(
        self, args: Any, state: TrainerState, control: Any, logs: Any = None, **kwargs: Any
    ) -> None:
        """Record `logs` under the current step."""
        if logs and state.is_world_process_zero:
            self.record(state.global_step, {**logs, **self.extra})
            self.extra = {}

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Log before each checkpoint: a trainer's sums since its last log are not saved in it."""
        control.should_log |= control.should_save

    on_epoch_end = on_step_end  # where save_strategy=epoch decides

    def record(self, step: int, values: dict[str, Any]) -> None:
        """Write `values` as a row of their own."""
        self.metrics_log.log(step, values)
        self._track(step, values)

    def _track(self, step: int, values: dict[str, Any]) -> None:
        if step <= self._logged:
            return
        known = {key: value for key, value in values.items() if value is not None}
        named = {self.label + tracked_name(key): value for key, value in known.items()}
        if self.label:
            named[f"{self.label}train/global_step"] = step
        self.tracker.log(step, named)


def tracked_name(key: str) -> str:
    """`loss` -> `train/loss`, `eval_loss` -> `eval/loss`, `step_time` -> `telemetry/step_time`."""
    if is_telemetry(key):
        return f"telemetry/{key}"
    if key.startswith("eval_"):
        return f"eval/{key.removeprefix('eval_')}"
    return f"train/{key}"


class ProgressCallback(TrainerCallback):
    """Step, reward (or loss) and time left: a bar on a terminal, a few plain lines in a log.

    A log also hears of a step that takes long (`Phase`). Close it (`contextlib.closing`) where
    training may end by an exception: the bar hides the cursor while it lives.
    """

    def __init__(self) -> None:
        self._phase: Phase | None = None
        self._reward = self._news = ""
        self._printed = self._every = 0
        self._start = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Show the bar at the step where training starts, which is not 0 after a resume."""
        self._start = time.monotonic()
        self._every = max(1, math.ceil(state.max_steps / LINES))
        self._printed = state.global_step
        if state.is_world_process_zero:
            step = state.global_step
            self._phase = Phase("training", state.max_steps, done=step, unit="step", stay=True)
            self._phase.__enter__()

    def on_log(
        self, args: Any, state: TrainerState, control: Any, logs: Any = None, **kwargs: Any
    ) -> None:
        """Remember the latest reward, or the loss where there are no rewards; and the probe."""
        for name in ("reward", "loss"):
            if logs and logs.get(name) is not None:
                self._reward = f"{name} {logs[name]:.3f}"
                break
        probes = (row["eval_score"] for row in reversed(state.log_history) if "eval_score" in row)
        probe = next(probes, None)
        shown = "" if probe is None else f"eval_score {probe:.3f}"
        self._news = "  ".join(filter(None, (self._reward, shown)))
        self._update(state)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Print a due line about the step before, whose log has arrived by now."""
        if state.global_step >= self._printed + self._every:
            self._print(state)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the bar."""
        self._update(state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Show the last step and close the bar."""
        if state.global_step > self._printed:
            self._print(state)
        self.close()

    def close(self) -> None:
        """Give the terminal back. May be called at any time, and again."""
        if self._phase is not None:
            self._phase.__exit__(None, None, None)
            self._phase = None

    def _update(self, state: TrainerState) -> None:
        if self._phase is not None:
            self._phase.update(state.global_step, self._news)

    def _print(self, state: TrainerState) -> None:
        self._printed = state.global_step
        if self._phase is not None and not self._phase.has_bar:
            self._phase.heard()
            seconds = f"{time.monotonic() - self._start:.0f} s"
            step = f"step {state.global_step:>{len(str(state.max_steps))}}/{state.max_steps}"
            print("  ".join(part for part in (step, self._news, seconds) if part), flush=True)
