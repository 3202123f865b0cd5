"""TRL's GRPOTrainer, recording completions into the run folder and safe from a failing judge.

Imports TRL at the top, so import this module only after the model is loaded: Unsloth patches the
class that is subclassed here.
"""

from __future__ import annotations

from typing import Any, cast
from zlib import crc32

import torch
from trl import GRPOTrainer

from medgrpo.dataset.example import Example
from medgrpo.rewards.base import Reward, response_text
from medgrpo.rewards.contract import checked
from medgrpo.rundir import RunFolder
from medgrpo.trainer.base import Scorer
from medgrpo.trainer.behaviour import correlations, distinct_answers, repetition
from medgrpo.trainer.effective import effective_weights, without_signal
from medgrpo.trainer.judging import JudgeWatch, impute_missing, too_few_judged

_WINDOW = "medgrpo_judge"  # of the latest verdicts, among what a checkpoint keeps


class RecordingGRPOTrainer(GRPOTrainer):
    """Writes the completions of each logged step, with rewards and advantages, as parquet.

    TRL's own `log_completions` prints them in full and does not write atomically. What becomes of
    missing verdicts is in medgrpo/trainer/judging.py; `stopped` says why training ended early, if
    it did. Of TRL's methods only `_calculate_rewards` and `log` are overridden, and the result of
    `_generate_and_score_completions` is corrected: Unsloth rewrites others from their source.
    """

    def __init__(
        self, *args: Any, folder: RunFolder, score: Scorer, prefilled: str = "", **kwargs: Any
    ) -> None:
        """`prefilled`: what the chat template has already written of every response."""
        super().__init__(*args, **kwargs)
        self._folder = folder
        self._score = score
        self._prefilled = prefilled
        rewards: list[Reward] = kwargs["reward_funcs"]
        self._watch = JudgeWatch(rewards)
        self.reward_funcs = [checked(reward) for reward in rewards]

    @property
    def stopped(self) -> str | None:
        """Which limit ended the training, None if none did."""
        return self._watch.stop or self._watch.at_end()

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """As TRL's, with advantages of exactly 0 where all of a group get the same.

        TRL subtracts a mean that is rounded: eight rewards of 0.2 have advantages of -1.5e-4, all
        alike, and Adam, which sees no scale, takes whole steps by them (docs/measurements.md).
        """
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        mode, generations = self._collecting()
        alike = self._alike.repeat_interleave(generations)
        local = len(output["advantages"])
        start = self.accelerator.process_index * local
        output["advantages"] = output["advantages"].masked_fill(alike[start : start + local], 0.0)
        self._metrics[mode]["frac_reward_zero_std"][-1] = self._alike.float().mean().item()
        recorded = self._logs["advantages"]
        for index in alike.nonzero().flatten().tolist():
            recorded[index - len(alike)] = 0.0
        return output

    def _calculate_rewards(
        self,
        inputs: list[dict[str, Any]],
        prompts: list[Any],
        completions: list[Any],
        completion_ids_list: list[list[int]],
    ) -> torch.Tensor:
        """Scores [completions of all processes, rewards]; gaps of judged ones filled and logged.

        Also logged: what each reward moves (medgrpo/trainer/effective.py), and what the completions
        are like and worth (medgrpo/trainer/behaviour.py). Rewards get responses whole, and the
        column `truncated`: no end token was written.
        """
        ends = {*self.eos_token_ids, self.processing_class.pad_token_id}
        inputs = [
            {**row, "truncated": ids[-1] not in ends}
            for row, ids in zip(inputs, completion_ids_list, strict=True)
        ]
        completions = [
            [{**message, "content": self._prefilled + (message["content"] or "")}]
            for [message] in completions
        ]
        scores = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        judged = bool(self._watch.rewards)
        filled = self._watched(scores, inputs, completion_ids_list) if judged else scores
        mode, generations = self._collecting()
        weights = self.reward_weights.tolist()
        summed = self.multi_objective_aggregation == "sum_then_normalize"
        self._alike = without_signal(filled, weights, generations, summed=summed)
        weights = effective_weights(filled, weights, generations)
        for name, weight in zip(self.reward_func_names, weights, strict=True):
            self._metrics[mode][f"rewards/{name}/effective_weight"].append(weight)
        self._record_behaviour(scores, inputs, list(map(response_text, completions)))
        return filled

    def _record_behaviour(
        self, scores: torch.Tensor, rows: list[dict[str, Any]], responses: list[str]
    ) -> None:
        """Log what the `responses` of this process and the others' are like and worth.

        `watch/score` is the primary metric of what was sampled, no matter what is rewarded.
        """
        mode, generations = self._collecting()
        gather, read = self.accelerator.gather, self._score.read
        asked = zip(rows, responses, strict=True)
        answers = [
            read(cast(Example, row), text, truncated=row["truncated"]) for row, text in asked
        ]
        self._log_completion_extra("score", [worth for _, worth in answers])
        said = [crc32((answer or "").encode()) for answer, _ in answers]
        worth = gather(scores.new_tensor([worth for _, worth in answers]))
        values = {
            "watch/score": worth.nanmean().item(),
            "watch/repetition": gather(scores.new_tensor(list(map(repetition, responses))))
            .mean()
            .item(),
            "watch/distinct_answers": distinct_answers(
                gather(scores.new_tensor(said, dtype=torch.long)), generations
            ),
        }
        related = correlations(scores, worth, generations)
        for name, value in zip(self.reward_func_names, related, strict=True):
            values[f"rewards/{name}/score_correlation"] = value
        for name, value in values.items():
            self._metrics[mode][name].append(value)

    def _collecting(self) -> tuple[str, int]:
        """Which metrics are collected, and how many completions a prompt has."""
        if self.model.training:
            return "train", self.num_generations
        return "eval", self.num_generations_eval

    def _watched(
        self, scores: torch.Tensor, rows: list[Any], completion_ids_list: list[list[int]]
    ) -> torch.Tensor:
        """`scores` with the gaps of judged rewards filled; what became of them is logged.

        Where a reward is not about a row there is no gap: TRL leaves it out of the total.
        """
        watch = self._watch
        gather = self.accelerator.gather
        about = watch.applies(rows, scores.shape[1])
        applies = gather(torch.tensor(about, device=scores.device))
        lengths = gather(scores.new_tensor([len(ids) for ids in completion_ids_list]))
        mode, generations = self._collecting()
        kept = self.state.stateful_callbacks  # lies in each checkpoint, and was read from the last
        if _WINDOW in kept:
            watch.outage.restore(kept[_WINDOW])
        metrics = watch.metrics(scores, applies, lengths, gather)
        for name, value in metrics.items():
            self._metrics[mode][name].append(value)
        watch.check_limits(scores, metrics, gather)
        kept[_WINDOW] = watch.outage.state()
        self._record_gaps(scores.where(applies, 0.0), len(completion_ids_list), generations)
        if watch.stop:
            self.control.should_save = self.control.should_training_stop = True
        return impute_missing(scores, generations, watch.columns).where(applies, scores)

    def _record_gaps(self, scores: torch.Tensor, local: int, generations: int) -> None:
        """Beside each judged score of a recorded completion: whether it stands for a gap.

        Also logged: the share of groups that a reward leaves out, for too few were judged.
        """
        mode, _ = self._collecting()
        start = self.accelerator.process_index * local
        gaps = scores[start : start + local].isnan()
        for reward, column in zip(self._watch.rewards, self._watch.columns, strict=True):
            name = f"{reward.__name__}/missing"
            self._log_completion_extra(name, gaps[:, column].tolist())
            left_out = too_few_judged(scores[:, column].view(-1, generations))
            name = f"judge/{reward.__name__}/groups_left_out"
            self._metrics[mode][name].append(left_out.float().mean().item())

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        super().log(logs, start_time)
        if not self.accelerator.is_main_process or not self._logs["prompt"]:
            return
        columns = {
            "prompt": list(map(self._as_text, self._logs["prompt"])),
            "completion": list(map(response_text, self._logs["completion"])),
            **self._logs["rewards"],
            "advantage": self._logs["advantages"],
            **self._logs["extra"],
        }
        step = self.state.global_step
        rows = [
            {"step": step, **dict(zip(columns, values, strict=True))}
            for values in zip(*columns.values(), strict=True)
        ]
        name = f"completions_{step:05d}.parquet"
        self._folder.write_parquet(self._folder.completions / name, rows)

    def _as_text(self, prompt: str | list[dict[str, str]]) -> str:
        """What the model was asked: TRL 1.14 keeps it rendered, and 1.16 as messages."""
        if isinstance(prompt, str):
            return prompt
        return self.processing_class.apply_chat_template(
            prompt, tokenize=False, add_generation_prompt=True, **self.chat_template_kwargs
        )
