"""What a trainer is given, what a run asks of it, and what those by TRL share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol

from annotated_types import Ge

from medgrpo.dataset.example import Example
from medgrpo.dataset.prompt import Prompt
from medgrpo.errors import UserError
from medgrpo.model.base import Policy
from medgrpo.rewards.base import Reward
from medgrpo.rundir import RunFolder
from medgrpo.tracking.base import Tracker
from medgrpo.tracking.metrics_log import MetricsLog

if TYPE_CHECKING:
    import transformers
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
    "fsdp": "use launch=fsdp",
    "fsdp_config": "use launch=fsdp",
}


class Scorer(Protocol):
    """Answers rows with the policy as it is now: the primary metric, None where not defined."""

    @property
    def higher_is_better(self) -> bool: ...

    @property
    def limit(self) -> int | None:
        """How many rows are answered at most, None for all."""

    def __call__(self, rows: Dataset) -> float | None: ...

    def read(self, row: Example, response: str, *, truncated: bool) -> tuple[str | None, float]:
        """What a response answers, and what it is worth by the primary metric; NaN: nothing."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training: what is trained, on what, by what, and where it is recorded."""

    policy: Policy  # trained in place
    data: DatasetDict  # splits of Examples, each with its `prompt` (messages)
    rewards: Sequence[Reward]
    prompt: Prompt
    folder: RunFolder  # gets logs, completions and checkpoints; one that holds some is resumed
    tracker: Tracker  # gets the logs, too
    seed: int
    score: Scorer  # asked at checkpoints, about rows of validation


class Trainer(Protocol):
    """A way to change a policy."""

    name: ClassVar[str]  # of the stage that it ends, where there are several
    args: dict[str, Any]  # of its library; sizes in them estimate the memory that it takes

    def train(self, training: Training) -> None:
        """Train `training.policy.model` in place on `training.data["train"]`.

        RunStopped where it had to end early and what it did is kept.
        """

    def starting_point(self, policy: Policy) -> AbstractContextManager[Any]:
        """The model that the result is compared with: the policy as it was loaded."""
        return nullcontext()

    def choosing_rows(self, validation: int) -> int:
        """How many of so many rows of validation decide which checkpoint remains: the first."""
        return 0

    def changes(self, policy: Policy) -> bool:
        """Whether there is a result that differs from the starting point."""
        return True


@dataclass(kw_only=True)
class TRLTrainer(Trainer):
    """A trainer of TRL, as the config describes it."""

    config_class: ClassVar[str]  # of TRL, whose fields `args` takes
    managed: ClassVar[dict[str, str]] = MANAGED

    args: dict[str, Any]
    validation_rows: int = 0  # first rows of validation: the probe, answered while it trains
    probe_steps: Annotated[int, Ge(1)] | None = None  # between probes; None: at checkpoints only

    def choosing_rows(self, validation: int) -> int:
        """As `Trainer.choosing_rows`: eval_loss is of all rows, eval_score of `validation_rows`."""
        if not self.args.get("load_best_model_at_end"):
            return 0
        by_score = self.args.get("metric_for_best_model") == "eval_score"
        return min(self.validation_rows, validation) if by_score else validation

    def settings(self, training: Training) -> dict[str, Any]:
        """`args` and what a run decides for every TRL config."""
        model = training.policy.model
        on_cpu = model.device.type == "cpu"
        half = None if on_cpu else str(model.dtype)
        return {
            **self.args,
            "output_dir": str(training.folder.checkpoints),
            "seed": training.seed,
            "use_cpu": on_cpu,
            "bf16": half == "torch.bfloat16",
            "fp16": half == "torch.float16",
            "report_to": "none",
            "disable_tqdm": True,
        }

    def fit(
        self,
        trainer: transformers.Trainer,
        training: Training,
        *more: transformers.TrainerCallback,
    ) -> None:
        """Train from the folder's last checkpoint, if there is one, with our logs and progress bar.

        The first `validation_rows` rows of validation are answered, and their score logged, at each
        evaluation; where there are none, at the start, every `probe_steps` and before each
        checkpoint.
        """
        from transformers import PrinterCallback

        from medgrpo.trainer.best import ProbeCallback
        from medgrpo.trainer.callbacks import LogCallback, ProgressCallback
        from medgrpo.trainer.manifest import ManifestCallback, step_of, whole_checkpoint
        from medgrpo.trainer.resume import go_on_from

        folder = training.folder
        checkpoint = whole_checkpoint(folder)
        metrics = MetricsLog(folder)
        metrics.truncate(step_of(checkpoint))
        folder.drop_completions(step_of(checkpoint))
        trainer.remove_callback(PrinterCallback)
        trainer.create_model_card = lambda *_, **__: None  # TRL's, in each checkpoint
        logs = LogCallback(metrics, training.tracker, folder.label)
        if checkpoint:
            logs.replay()
        rows = training.data["validation"]
        rows = rows.select(range(min(self.validation_rows, len(rows))))
        with closing(ProgressCallback()) as progress:
            probe = ProbeCallback(training.score, rows, logs, self.probe_steps)
            scoring = [probe] if len(rows) else []
            for callback in (logs, *scoring, *more, ManifestCallback(), progress):
                trainer.add_callback(callback)
            if checkpoint:
                patience = getattr(self, "patience", None)
                go_on_from(checkpoint, trainer, folder.metrics, patience)
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if not trainer.state.global_step:
            raise UserError("dataset: too few training rows for one step; give more")
