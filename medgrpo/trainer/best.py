"""Which checkpoint is best, and by which measure: no training ends without saying so.

The training loss always falls and the training reward can be gamed, so only rows that are not
trained on can choose: by their loss, or by how many of them the model answers.
"""

from __future__ import annotations

import logging
import operator
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from medgrpo.rundir import RunFolder
from medgrpo.tracking.base import Tracker
from medgrpo.trainer.callbacks import LogCallback

if TYPE_CHECKING:
    from datasets import Dataset

    from medgrpo.trainer.base import Scorer

log = logging.getLogger(__name__)

SCORE = "eval_score"  # the dataset's primary metric on validation rows


class ProbeCallback(TrainerCallback):
    """Answers validation rows at each evaluation; where there are none, at the start, every
    `probe_steps` and before each checkpoint.

    What was found is in the trainer's history, too, for all who follow it.
    """

    def __init__(
        self, score: Scorer, rows: Dataset, logs: LogCallback, probe_steps: int | None = None
    ) -> None:
        self._score = score
        self._rows = rows
        self._logs = logs
        self._every = probe_steps

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The probe before the first step, which all others are held against."""
        if args.eval_strategy != "no" or state.global_step:
            return
        if (value := self._probe(state)) is not None and state.is_world_process_zero:
            self._logs.record(0, {SCORE: value, "epoch": 0.0})

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        **kwargs: Any,
    ) -> None:
        """Give the trainer the score beside its own metrics, so that it can choose by it."""
        if (value := self._score(self._rows)) is not None:
            metrics[SCORE] = value
            if state.is_world_process_zero:
                self._logs.record(state.global_step, {SCORE: value, "epoch": state.epoch})

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Probe, and note whether the checkpoint that is about to be made is the best so far.

        The score goes into the step's row.
        """
        due = self._every is not None and state.global_step % self._every == 0
        if args.eval_strategy != "no" or not (due or control.should_save):
            return
        if (value := self._probe(state)) is None:
            return
        control.should_log = True
        self._logs.extra = {SCORE: value}
        if not control.should_save:
            return
        better = operator.gt if self._score.higher_is_better else operator.lt
        if state.best_metric is None or better(value, state.best_metric):
            state.best_metric, state.best_global_step = value, state.global_step

    def _probe(self, state: TrainerState) -> float | None:
        value = self._score(self._rows)
        if value is not None:
            state.log_history.append({"step": state.global_step, SCORE: value})
        return value


def record_best_checkpoint(
    state: TrainerState, measure: str, folder: RunFolder, tracker: Tracker
) -> None:
    """Name the best checkpoint in the log, in best.json and in the tracker's summary.

    Where nothing was measured on validation rows it is the last step, and the log says why.
    """
    if state.best_global_step:
        step, value = state.best_global_step, state.best_metric
        reason = f"{measure} {value:.4f} on validation rows"
    else:
        step, value, measure = state.global_step, None, "none"
        reason = "the last one, for nothing was measured on validation rows"
    epoch = (state.epoch or 0.0) * step / max(1, state.global_step)
    log.info("best checkpoint: step %d (epoch %.2f), %s", step, epoch, reason)
    best = {"step": step, "epoch": epoch, "measure": measure, "value": value}
    if state.is_world_process_zero:
        folder.write_json(folder.best, best)
    tracker.summary({f"best/{key}": value for key, value in best.items()})
