"""What a trainer does about judged rewards: fill gaps, count, foresee and stop.

A judge that fails must neither punish nor reward. TRL sums rewards with `nansum`, where a missing
verdict counts as 0: a right answer whose verdict is missing falls below its group. Here a gap is
filled with the mean that its group got from that reward, which is what the group's baseline
expects of it. (TRL's `normalize_then_sum` has the same effect, and another scale.) But what is
filled in does not deviate: with 2 of 8 judged, a group's deviation is 0.38 of theirs, and the two
get advantages of 1.87. So groups of few verdicts are left out (docs/decisions.md has the figures).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from medgrpo.judge.client import Judge
from medgrpo.judge.usage import COUNTS, Usage, percentile
from medgrpo.rewards.base import JudgedReward, Reward
from medgrpo.trainer.outage import Outage

if TYPE_CHECKING:
    import torch

Gather = Callable[["torch.Tensor"], "torch.Tensor"]
Metrics = dict[str, float]
_PROMPT_TOKENS = 800  # at most, of the wording around the texts in DeepEval 4 and Evidently 0.7


def impute_missing(scores: torch.Tensor, generations: int, columns: Sequence[int]) -> torch.Tensor:
    """`scores` [prompts x generations, rewards] without the gaps (NaN) in `columns`.

    A gap gets the mean of its group in its column. A group of which too few are judged gets its
    mean everywhere (that of the column if it has none): no advantage from that reward. A completion
    that no reward scores stays NaN: TRL then measures its group without it. A column without any
    score stays NaN.
    """
    filled = scores.clone()
    for column in columns:
        groups = scores[:, column].view(-1, generations)
        means = groups.nanmean(dim=1, keepdim=True)
        means = means.where(~means.isnan(), groups.nanmean())
        kept = ~groups.isnan() & ~too_few_judged(groups)
        filled[:, column] = groups.where(kept, means).view(-1)
    filled[scores.isnan().all(dim=1)] = math.nan
    return filled


def too_few_judged(groups: torch.Tensor) -> torch.Tensor:
    """Which of `groups` [groups, members] have a score for less than a third of it; [groups, 1]."""
    return 3 * (~groups.isnan()).sum(dim=1, keepdim=True) < groups.shape[1]


class JudgeWatch:
    """Follows the judged rewards of all processes, batch by batch.

    `metrics` and then `check_limits` are called with each batch's scores [completions, rewards] of
    all processes, NaN where a verdict is missing, and `gather`, which concatenates the tensors of
    all processes.
    """

    def __init__(self, rewards: Sequence[Reward]) -> None:
        judged = {i: r for i, r in enumerate(rewards) if isinstance(r, JudgedReward)}
        self.columns = list(judged)
        self.rewards = list(judged.values())
        self.stop: str | None = None  # why training shall end, the same in every process
        self._counted = self._counts()
        judge = self.rewards[0].judge if self.rewards else None
        self.outage = Outage(judge.failure_window, judge.max_failure_rate) if judge else Outage()

    def applies(self, rows: Sequence[Any], rewards: int) -> list[list[bool]]:
        """[rows, rewards] whether each is about a row; those that are not judged always are."""
        about = dict(zip(self.columns, self.rewards, strict=True))
        return [[i not in about or about[i].applies(row) for i in range(rewards)] for row in rows]

    def metrics(
        self, scores: torch.Tensor, applies: torch.Tensor, lengths: torch.Tensor, gather: Gather
    ) -> Metrics:
        """What to log of one batch, whose completions have `lengths` [completions] in tokens.

        `applies` is like `scores`: whether a reward is about a completion's row.

        For each reward: its counts in this batch (medgrpo.judge.usage) and their cost in US
        dollars, the latency of calls so far (seconds, of this process), the share of verdicts
        missing, and how long the completions with and without a verdict are (a deadline prefers
        short ones). NaN where there are none. `judge/cost`: US dollars so far, of all processes.
        """
        logged: Metrics = {"judge/cost": gather(scores.new_tensor([self._cost()])).sum().item()}
        counts = gather(self._new_counts(scores)).sum(dim=0)
        for reward, column, row in zip(self.rewards, self.columns, counts, strict=True):
            new = Usage(**dict(zip(COUNTS, row.tolist(), strict=True)))
            about = applies[:, column]
            missing = _missing(scores[about, column].isnan(), lengths[about])
            values = {**_usage(reward, new), **missing}
            logged |= {
                f"judge/{reward.__name__}/{name}": math.nan if value is None else value
                for name, value in values.items()
            }
        return logged

    def check_limits(self, scores: torch.Tensor, metrics: Metrics, gather: Gather) -> None:
        """Set `stop` where a limit is passed, by the `metrics` of the batch.

        After a batch without any verdict, wait for the judge: the next batch may find it back.
        """
        judge, cost = self.rewards[0].judge, metrics["judge/cost"]
        asked, missing = (
            sum(int(metrics[f"judge/{reward.__name__}/{count}"]) for reward in self.rewards)
            for count in ("verdicts", "failures")
        )
        why = self.outage.add(asked - missing, missing)
        if gather(scores.new_tensor([judge.fatal is not None])).any():
            self.stop = f"no verdict can be had any more: {judge.fatal or 'see the other process'}"
        elif judge.max_cost is not None and cost > judge.max_cost:
            self.stop = f"judging cost ${cost:.2f}, more than judge.max_cost={judge.max_cost:g}"
        elif why:
            self.stop = f"{why} (the latest: {judge.last_failure})"
        elif self.outage.empty_batches:
            judge.wait_for_answer()

    def at_end(self) -> str | None:
        """Why a training that has come to its end was not judged as it should be, if so."""
        above = self.outage.above_limit()
        return above and (
            f"training is done, but {above} (the latest: {self.rewards[0].judge.last_failure}); a "
            "higher rate accepts that"
        )

    def _cost(self) -> float:
        """US dollars so far, of this process."""
        judge = self.rewards[0].judge
        return sum(one.cost for one in judge.usage.values())

    def _counts(self) -> list[list[Any]]:
        usage = [reward.judge.usage[reward.__name__] for reward in self.rewards]
        return [[getattr(one, name) for name in COUNTS] for one in usage]

    def _new_counts(self, like: torch.Tensor) -> torch.Tensor:
        """[1, judged rewards, counts] since the last batch, in this process."""
        now = self._counts()
        pairs = zip(now, self._counted, strict=True)
        new = [[a - b for a, b in zip(*pair, strict=True)] for pair in pairs]
        self._counted = now
        return like.new_tensor(new)[None]


def _usage(reward: JudgedReward, new: Usage) -> dict[str, float | None]:
    """What a reward's verdicts of one batch took; latencies are of all its calls so far."""
    latencies = reward.judge.usage[reward.__name__].latencies
    return {
        **{name: getattr(new, name) for name in COUNTS},
        "latency_p50": percentile(latencies, 50),
        "latency_p95": percentile(latencies, 95),
    }


def _missing(missing: torch.Tensor, lengths: torch.Tensor) -> dict[str, float]:
    """How many of a reward's verdicts are missing, and whether it is a matter of length."""
    return {
        "missing_rate": missing.float().mean().item(),
        "length_missing": lengths[missing].float().mean().item(),
        "length_judged": lengths[~missing].float().mean().item(),
    }


def forecast(
    judged: Sequence[JudgedReward],
    completions: int,
    row_tokens: int,
    completion_tokens: int,
    rows: Sequence[Any] = (),
) -> str:
    """What judging `completions` completions takes at most, for a person, before it starts.

    `row_tokens`, `completion_tokens`: of the longest row and completion. Retries are not in it.
    `rows`: what the completions will be about, where that decides how many calls one takes.
    """
    judge = judged[0].judge
    each = sum(reward.calls_on_average(rows) for reward in judged)
    calls, members = math.ceil(completions * each), max(1, len(judge.members))  # of each member
    text = f"judge {judge.name}: at most {completions * len(judged):,} verdicts"
    if judge.limits is None:
        return text
    tokens_in = calls * (_PROMPT_TOKENS + row_tokens + 2 * completion_tokens)
    tokens_out = calls * judge.max_tokens
    dollars = (tokens_in * judge.price_in + tokens_out * judge.price_out) / 1e6
    total = members * (tokens_in + tokens_out) / 1e6
    text += f", {members * calls:,} calls, {total:,.1f} M tokens"
    text += f", ${dollars:,.2f}" if dollars else ""
    return f"{text};\n  {_duration(judge, calls, tokens_in + tokens_out)}"


def _duration(judge: Judge, calls: int, tokens: int) -> str:
    """How long at the limits per minute, or at the pace of the first question without any."""
    assert judge.limits is not None
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    a_minute = [
        (calls, judge.limits.requests_per_minute),
        (tokens, judge.limits.tokens_per_minute),
    ]
    minutes = [amount / processes / limit for amount, limit in a_minute if limit]
    if minutes:
        return f"{_shown(max(minutes))} at the limits per minute"
    seconds = max(judge.usage["preflight"].latencies, default=0.0)
    at_once = judge.limits.concurrency * processes
    return f"{_shown(calls * seconds / at_once / 60)} at the pace of the first call"


def _shown(minutes: float) -> str:
    return f"{minutes / 60:,.1f} h" if minutes >= 90 else f"{math.ceil(minutes)} min"
