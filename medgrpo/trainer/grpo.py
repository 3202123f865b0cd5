"""Group Relative Policy Optimization (Shao et al. 2024, https://arxiv.org/abs/2402.03300) by TRL.

The config's `trainer.args` are fields of TRL's GRPOConfig, passed as they are; only what a run
decides elsewhere (folders, seed, device, reward weights, logging) is filled in here.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from medgrpo.dataset.prompt import Prompt
from medgrpo.model.base import Policy
from medgrpo.rewards.base import Reward
from medgrpo.rundir import RunFolder
from medgrpo.tracking.metrics_log import MetricsLog

if TYPE_CHECKING:
    import wandb
    from datasets import Dataset


@dataclass(kw_only=True)
class GRPO:
    """Fine-tune a policy by the rewards of its own completions."""

    config_class: ClassVar[str] = "GRPOConfig"
    managed: ClassVar[dict[str, str]] = {  # fields that `train` fills in, and what to set instead
        "output_dir": "everything goes into output_dir",
        "seed": "use seed",
        "data_seed": "use seed",
        "use_cpu": "use model.device",
        "bf16": "use model.dtype",
        "fp16": "use model.dtype",
        "reward_weights": "use rewards.<key>.weight",
        "chat_template_kwargs": "use prompt.chat_template_kwargs",
        "report_to": "use tracking",
        "run_name": "use tracking.name",
        "disable_tqdm": "the run has its own progress bar",
        "log_completions": "completions are always recorded",
        "resume_from_checkpoint": "use resume",
    }

    args: dict[str, Any]  # fields of trl.GRPOConfig

    def train(
        self,
        policy: Policy,
        rows: Dataset,
        rewards: Sequence[Reward],
        prompt: Prompt,
        folder: RunFolder,
        tracked: wandb.Run | None,
        *,
        seed: int,
    ) -> None:
        """Train `policy.model` in place on `rows` (Example columns and `prompt`).

        Logs, completions and checkpoints land in `folder`, logs also in `tracked`. A folder that
        holds a checkpoint is gone on with.
        """
        from transformers import PrinterCallback
        from trl import GRPOConfig

        from medgrpo.trainer.callbacks import LogCallback, ProgressCallback
        from medgrpo.trainer.grpo_trainer import RecordingGRPOTrainer

        on_cpu = policy.model.device.type == "cpu"
        half = None if on_cpu else str(policy.model.dtype)
        config = GRPOConfig(
            **self.args,
            output_dir=str(folder.checkpoints),
            seed=seed,
            use_cpu=on_cpu,
            bf16=half == "torch.bfloat16",
            fp16=half == "torch.float16",
            reward_weights=[reward.weight for reward in rewards],
            chat_template_kwargs=prompt.chat_template_kwargs,
            report_to="none",
            disable_tqdm=True,
        )
        checkpoint = folder.last_checkpoint()
        metrics = MetricsLog(folder)
        metrics.truncate(int(checkpoint.name.rpartition("-")[2]) if checkpoint else -1)
        with closing(ProgressCallback()) as progress:
            trainer = RecordingGRPOTrainer(
                model=policy.model,
                reward_funcs=list(rewards),
                args=config,
                train_dataset=rows,
                processing_class=policy.tokenizer,
                callbacks=[LogCallback(metrics, tracked), progress],
                folder=folder,
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
