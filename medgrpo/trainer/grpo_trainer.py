"""TRL's GRPOTrainer, recording completions into the run folder.

Imports TRL at the top, so import this module only after the model is loaded: Unsloth patches the
class that is subclassed here.
"""

from __future__ import annotations

from typing import Any

from trl import GRPOTrainer

from medgrpo.rundir import RunFolder


class RecordingGRPOTrainer(GRPOTrainer):
    """Writes the completions of each logged step, with rewards and advantages, as parquet.

    TRL's own `log_completions` prints them in full and does not write atomically.
    """

    def __init__(self, *args: Any, folder: RunFolder, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._folder = folder

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        super().log(logs, start_time)
        if not self.accelerator.is_main_process or not self._logs["prompt"]:
            return
        columns = {
            "prompt": self._logs["prompt"],
            "completion": self._logs["completion"],
            **self._logs["rewards"],
            "advantage": self._logs["advantages"],
        }
        step = self.state.global_step
        rows = [
            {"step": step, **dict(zip(columns, values, strict=True))}
            for values in zip(*columns.values(), strict=True)
        ]
        name = f"completions_{step:05d}.parquet"
        self._folder.write_parquet(self._folder.completions / name, rows)
