"""Group Relative Policy Optimization (Shao et al. 2024, https://arxiv.org/abs/2402.03300) by TRL.

The config's `trainer.args` are fields of TRL's GRPOConfig, passed as they are; only what a run
decides elsewhere (folders, seed, device, reward weights, logging) is filled in here.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from medgrpo.errors import RunStopped, UserError
from medgrpo.metrics.recorded import format_number
from medgrpo.rewards.base import JudgedReward, Reward
from medgrpo.rewards.rubric import RubricReward
from medgrpo.trainer.base import MANAGED, Training, TRLTrainer
from medgrpo.trainer.judging import forecast

if TYPE_CHECKING:
    from datasets import Dataset
    from trl import GRPOConfig

    from medgrpo.trainer.grpo_trainer import RecordingGRPOTrainer

log = logging.getLogger(__name__)

_BAITED = 3  # rows
_TOO_MUCH = 0.2  # of the reward, for an answer that is none


@dataclass(kw_only=True)
class GRPO(TRLTrainer):
    """Fine-tune a policy by the rewards of its own completions."""

    name: ClassVar[str] = "grpo"
    config_class: ClassVar[str] = "GRPOConfig"
    managed: ClassVar[dict[str, str]] = MANAGED | {
        "reward_weights": "use rewards.<key>.weight",
        "chat_template_kwargs": "use prompt.chat_template_kwargs",
        "log_completions": "completions are always recorded",
    }

    watch: Literal["warn", "stop"] = "warn"  # what an alarm of the hacking watch does
    share_prompts: Literal["auto", "on", "off"] = "auto"  # a prompt is read once for its group

    @property
    def trainer_class(self) -> type[RecordingGRPOTrainer]:
        """What takes the steps; a subclass may return one of its own, with another loss, say.

        Imported here, when the model is loaded: Unsloth patches the class of TRL's below it.
        """
        from medgrpo.trainer.grpo_trainer import RecordingGRPOTrainer

        return RecordingGRPOTrainer

    def train(self, training: Training) -> None:
        """As `Trainer.train`. The last checkpoint is what remains."""
        from trl import GRPOConfig

        from medgrpo.trainer.best import SCORE, record_best_checkpoint
        from medgrpo.trainer.watch_callback import WatchCallback

        rows, rewards, folder = training.data["train"], training.rewards, training.folder
        config = GRPOConfig(
            **self.settings(training),
            reward_weights=[reward.weight for reward in rewards],
            chat_template_kwargs=training.prompt.chat_template_kwargs,
        )
        needed = config.generation_batch_size // config.num_generations
        if len(rows) < needed:
            raise UserError(
                f"dataset: {len(rows)} training rows do not fill one batch of {needed} "
                f"({config.generation_batch_size} completions, {config.num_generations} a row); "
                "give more rows, or lower trainer.args.gradient_accumulation_steps or "
                "trainer.args.per_device_train_batch_size"
            )
        trainer = self._shared(self.trainer_class)(
            model=training.policy.model,
            reward_funcs=list(rewards),
            args=config,
            train_dataset=rows,
            processing_class=training.policy.tokenizer,
            folder=folder,
            score=training.score,
            prefilled=training.prompt.prefilled(training.policy.tokenizer),
        )
        log_forecast(config, rows, rewards)
        log_baits(rows, rewards)
        self._log_sharing(trainer)
        model = training.policy.model
        packed = getattr(model, "is_loaded_in_4bit", False) and not hasattr(model, "vllm_engine")
        if config.use_vllm and packed:
            log.warning("grpo: vLLM gets the 4-bit weights merged and packs them anew at each sync")
        most = [self.validation_rows, len(training.data["validation"]), training.score.limit]
        probe_rows = min(rows for rows in most if rows is not None)
        watch = WatchCallback(rewards, training, probe_rows, self.watch)
        self.fit(trainer, training, watch)
        record_best_checkpoint(trainer.state, SCORE, folder, training.tracker)
        if stopped := trainer.stopped or watch.stopped:
            raise RunStopped(
                f"{stopped}. A checkpoint is kept: fix it and resume with resume={folder.path}"
            )

    def _shared(self, trainer_class: type[RecordingGRPOTrainer]) -> type[RecordingGRPOTrainer]:
        """The same trainer, reading each prompt once for its group where that may be."""
        from medgrpo.trainer.sharing import Sharing

        if self.share_prompts == "off" or "unsloth" in sys.modules:
            return trainer_class
        return type(trainer_class.__name__, (Sharing, trainer_class), {})

    def _log_sharing(self, trainer: RecordingGRPOTrainer) -> None:
        """Log whether prompts are shared. UserError where they have to be and cannot."""
        from medgrpo.trainer.sharing import Sharing

        if self.share_prompts == "off":
            return
        shares = isinstance(trainer, Sharing)
        why = trainer.why_not_shared() if shares else "Unsloth trains by code of its own"
        if why is None and trainer.args.gradient_checkpointing:
            why = "gradient checkpointing drops keys and values"
        if why and self.share_prompts == "on":
            raise UserError(f"trainer.share_prompts=on: {why}; auto trains without")
        if shares:
            log.info("grpo: %s", trainer.sharing_in_words())


def log_baits(rows: Dataset, rewards: Sequence[Reward]) -> None:
    """Log what rubrics pay for answers that are none; a warning where that is a lot."""
    for reward in (one for one in rewards if isinstance(one, RubricReward)):
        first = [row for row in rows.select(range(min(_BAITED, len(rows)))) if row.get("rubric")]
        if not first:
            continue
        earned = reward.baits(first)
        shown = ", ".join(f"{k} {format_number(v, 2, '-')}" for k, v in earned.items())
        told = log.warning if max(v or 0 for v in earned.values()) > _TOO_MUCH else log.info
        told("%s: no answers earn, on %d rows: %s", reward.__name__, len(first), shown)


def log_forecast(config: GRPOConfig, rows: Dataset, rewards: Sequence[Reward]) -> None:
    """Log how much judging the training will take, if a judge is asked at all."""
    judged = [reward for reward in rewards if isinstance(reward, JudgedReward)]
    if not judged:
        return
    if config.max_steps > 0:
        batch = config.per_device_train_batch_size * config.gradient_accumulation_steps
        completions = config.max_steps * batch * config.world_size // config.num_iterations
    else:
        completions = math.ceil(config.num_train_epochs * len(rows)) * config.num_generations
    longest = max(len(row["question"]) + sum(map(len, row["context"])) for row in rows)
    log.info(forecast(judged, completions, longest // 3, config.max_completion_length, rows))
