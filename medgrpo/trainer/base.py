"""What every trainer shares: the fields that a run decides, and fitting with logs and a bar."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from medgrpo.dataset.prompt import Prompt
from medgrpo.model.base import Policy
from medgrpo.rewards.base import Reward
from medgrpo.rundir import RunFolder
from medgrpo.tracking.metrics_log import MetricsLog

if TYPE_CHECKING:
    import transformers
    import wandb
    from datasets import Dataset, DatasetDict

MANAGED = {  # fields of every TRL config that the run fills in, and what to set instead
    "output_dir": "everything goes into output_dir",
    "seed": "use seed",
    "data_seed": "use seed",
    "use_cpu": "use model.device",
    "bf16": "use model.dtype",
    "fp16": "use model.dtype",
    "report_to": "use tracking",
    "run_name": "use tracking.name",
    "disable_tqdm": "the run has its own progress bar",
    "resume_from_checkpoint": "use resume",
}


class Scorer(Protocol):
    """Answers rows with the policy as it is now: the primary metric, None where not defined."""

    @property
    def higher_is_better(self) -> bool: ...

    def __call__(self, rows: Dataset) -> float | None: ...


@dataclass(kw_only=True)
class Trainer:
    """A way to change a policy, as the config describes it."""

    name: ClassVar[str]  # of the stage that it ends, where there are several
    config_class: ClassVar[str]  # of TRL, whose fields `args` takes
    managed: ClassVar[dict[str, str]] = MANAGED

    args: dict[str, Any]
    validation_rows: int = 0  # first rows of validation that are answered at a checkpoint

    def train(
        self,
        policy: Policy,
        data: DatasetDict,
        *,
        rewards: Sequence[Reward],
        prompt: Prompt,
        folder: RunFolder,
        tracked: wandb.Run | None,
        seed: int,
        score: Scorer,
    ) -> None:
        """Train `policy.model` in place on `data["train"]` (Example columns and `prompt`).

        Logs, completions and checkpoints land in `folder`, logs also in `tracked`. A folder that
        holds a checkpoint is resumed. `score` is asked at checkpoints, about rows of
        validation.
        """
        raise NotImplementedError

    def starting_point(self, policy: Policy) -> AbstractContextManager[Any]:
        """The model that the result is compared with: the policy as it was loaded."""
        return nullcontext()

    def changes(self, policy: Policy) -> bool:
        """Whether there is a result that differs from the starting point."""
        return True

    def settings(self, policy: Policy, folder: RunFolder, seed: int) -> dict[str, Any]:
        """`args` and what a run decides for every TRL config."""
        on_cpu = policy.model.device.type == "cpu"
        half = None if on_cpu else str(policy.model.dtype)
        return {
            **self.args,
            "output_dir": str(folder.checkpoints),
            "seed": seed,
            "use_cpu": on_cpu,
            "bf16": half == "torch.bfloat16",
            "fp16": half == "torch.float16",
            "report_to": "none",
            "disable_tqdm": True,
        }

    def scored_rows(self, data: DatasetDict) -> Dataset:
        """The first `validation_rows` rows of validation."""
        rows = data["validation"]
        return rows.select(range(min(self.validation_rows, len(rows))))


def fit(
    trainer: transformers.Trainer,
    folder: RunFolder,
    tracked: wandb.Run | None,
    score: Scorer,
    scored_rows: Dataset,
    *more: transformers.TrainerCallback,
) -> None:
    """Train from the folder's last checkpoint, if there is one, with our logs and progress bar.

    `score` is asked about `scored_rows` (if there are any), and logged, at each evaluation, or
    before each checkpoint where there are no evaluations.
    """
    from transformers import PrinterCallback

    from medgrpo.trainer.best import ScoreCallback
    from medgrpo.trainer.callbacks import LogCallback, ProgressCallback

    checkpoint = folder.last_checkpoint()
    metrics = MetricsLog(folder)
    metrics.truncate(int(checkpoint.name.rpartition("-")[2]) if checkpoint else -1)
    trainer.remove_callback(PrinterCallback)
    trainer.create_model_card = lambda *_, **__: None  # of TRL, in each checkpoint; ours is enough
    logs = LogCallback(metrics, tracked, folder.label)
    with closing(ProgressCallback()) as progress:
        scoring = [ScoreCallback(score, scored_rows, logs)] if len(scored_rows) else []
        for callback in (logs, *scoring, *more, progress):
            trainer.add_callback(callback)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
