"""Training goes on where its last checkpoint left it, and not at all where that was the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from medgrpo.errors import UserError
from medgrpo.tracking.metrics_log import is_metric, read_log


def go_on_from(checkpoint: Path, trainer: Trainer, log: Path, patience: int | None = None) -> None:
    """Prepare a trainer that is about to be resumed from `checkpoint`.

    transformers takes one step more when it is resumed after its last: that is made none. It also
    looks for the best checkpoint where the folder lay when it was written. Raises UserError where
    rows of `log` (which the first process keeps) are gone that the checkpoint knows of.
    """
    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    logged = {row["step"] for row in state.log_history if any(map(is_metric, row))}
    lost = sorted(logged - {row["step"] for row in read_log(log)})
    if lost and trainer.is_world_process_zero():
        raise UserError(
            f"resume: {log} has lost what was logged at step {lost[0]}; put the file back, or "
            "start a new run"
        )
    args = trainer.args
    if args.device.type == "cpu":  # of several processes "cpu:0", which torch.load does not know
        args.__dict__["_setup_devices"] = torch.device("cpu")
    stopped = state.stateful_callbacks.get("EarlyStoppingCallback", {}).get("attributes", {})
    waited = stopped.get("early_stopping_patience_counter", 0)
    if state.global_step == args.max_steps or (patience is not None and waited >= patience):
        args.max_steps, args.num_train_epochs = -1, 0
    trainer.add_callback(_BestWhereItLies(checkpoint.parent))


class _BestWhereItLies(TrainerCallback):
    """A checkpoint's state names the best one by the path that it had."""

    def __init__(self, checkpoints: Path) -> None:
        self._checkpoints = checkpoints

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not (args.load_best_model_at_end and state.best_global_step):
            return
        best = self._checkpoints / f"checkpoint-{state.best_global_step}"
        if not best.is_dir():
            raise UserError(
                f"resume: {best}, the best checkpoint so far, is gone; put it back, or start anew"
            )
        state.best_model_checkpoint = str(best)
