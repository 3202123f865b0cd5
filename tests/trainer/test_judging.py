"""Limits that end a run, what is logged about judging, and what is foreseen."""

import math

import pytest
import torch

from medgrpo.judge.client import Judge, Limits, Verdict
from medgrpo.rewards.base import JudgedReward, RuleReward
from medgrpo.trainer.judging import JudgeWatch, forecast

NAN = math.nan


class Bare(Judge):
    name = "bare"
    end: str | None = None

    @property
    def fatal(self):
        return self.end

    async def chat(self, messages, schema, logprobs=0):
        raise NotImplementedError


class Judged(JudgedReward):
    def __init__(self, judge: Judge, name: str = "judged", calls: int = 1) -> None:
        super().__init__(judge=judge, weight=1.0, name=name, calls=calls)

    async def verdict(self, text, row):
        return Verdict(1.0)


class Rule(RuleReward):
    def score(self, response, row):
        return 0.0


def alone(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def twice(tensor: torch.Tensor) -> torch.Tensor:
    return torch.cat([tensor, tensor])


def watch_of(judge: Judge) -> JudgeWatch:
    return JudgeWatch([Rule(weight=1.0, name="rule"), Judged(judge)])


def batch(*scores: float) -> torch.Tensor:
    return torch.tensor([[0.0, score] for score in scores])


def observe(watch: JudgeWatch, *scores: float, gather=alone) -> dict[str, float]:
    lengths = torch.arange(1, len(scores) + 1)
    about = torch.ones(len(scores), 2, dtype=torch.bool)
    metrics = watch.metrics(batch(*scores), about, lengths, gather)
    watch.check_limits(batch(*scores), metrics, gather)
    return metrics


def test_missing_verdicts_are_logged_against_length():
    logged = observe(watch_of(Bare()), 1.0, 0.0, NAN, NAN)
    assert logged["judge/judged/missing_rate"] == 0.5
    assert logged["judge/judged/length_missing"] == 3.5
    assert logged["judge/judged/length_judged"] == 1.5
    assert not [name for name in logged if "rule" in name]


def test_a_row_that_a_reward_is_not_about_is_no_missing_verdict():
    class OfPassages(Judged):
        def applies(self, row):
            return bool(row["context"])

    watch = JudgeWatch([Rule(weight=1.0, name="rule"), OfPassages(Bare())])
    about = watch.applies([{"context": ["x"]}, {"context": []}], 2)
    assert about == [[True, True], [True, False]]
    lengths = torch.tensor([3.0, 9.0])
    logged = watch.metrics(batch(1.0, NAN), torch.tensor(about), lengths, alone)
    assert logged["judge/judged/missing_rate"] == 0
    assert logged["judge/judged/length_judged"] == 3
    assert logged["judge/judged/verdicts"] == logged["judge/judged/failures"] == 0


def test_counts_are_those_of_the_batch_and_of_all_processes():
    judge = Bare()
    watch = watch_of(judge)
    judge.usage["judged"].calls = 5
    assert observe(watch, 1.0, gather=twice)["judge/judged/calls"] == 10
    judge.usage["judged"].calls = 6
    assert observe(watch, 1.0, gather=twice)["judge/judged/calls"] == 2


def test_money_of_the_batch_and_latency_so_far_are_logged():
    judge = Bare()
    usage, watch = judge.usage["judged"], watch_of(judge)
    assert math.isnan(observe(watch, 1.0)["judge/judged/latency_p50"])
    usage.cost = 2.0
    usage.latencies.extend([0.25, 1.0])
    logged = observe(watch, 1.0)
    assert logged["judge/judged/cost"] == pytest.approx(2.0)
    assert (logged["judge/judged/latency_p50"], logged["judge/judged/latency_p95"]) == (0.25, 1.0)
    assert observe(watch, 1.0)["judge/judged/cost"] == 0.0


def test_the_cost_of_all_processes_counts():
    judge = Bare()
    judge.max_cost = 1.0
    judge.usage["judged"].cost = 0.6
    watch = watch_of(judge)
    assert observe(watch, 1.0)["judge/cost"] == pytest.approx(0.6)
    assert watch.stop is None
    observe(watch, 1.0, gather=twice)
    assert "$1.20" in watch.stop
    assert "judge.max_cost=1" in watch.stop


def test_a_judge_that_can_answer_no_more_ends_the_run():
    judge = Bare()
    watch = watch_of(judge)
    judge.end = "HTTP 401: the key is not accepted"
    observe(watch, NAN)
    assert "HTTP 401" in watch.stop


def test_forecast():
    judge = Bare()
    rewards = [Judged(judge, "a", calls=6), Judged(judge, "b", calls=2)]
    assert forecast(rewards, 1000, 100, 50) == "judge bare: at most 2,000 verdicts"
    judge.limits = Limits(10, None, None, 4, 60.0, 0.5)
    judge.usage["preflight"].latencies.append(0.9)
    said = forecast(rewards, 1000, 100, 50)
    assert "8,000 calls" in said
    assert "12 min at the pace of the first call" in said  # 8,000 x 0.9 s / 10
    assert "$" not in said
    judge.price_in, judge.price_out, judge.max_tokens = 1.0, 2.0, 100
    judge.limits = Limits(10, 60, None, 4, 60.0, 0.5)
    said = forecast(rewards, 1000, 100, 50)
    assert "$9.60" in said  # 8,000 x (1,000 in at 1 + 100 out at 2) / 1e6
    assert "2.2 h at the limits" in said
    judge.members = {"one": judge, "two": judge}  # a panel, whose prices are those of both
    said = forecast(rewards, 1000, 100, 50)
    assert "16,000 calls, 17.6 M tokens, $9.60" in said
    assert "2.2 h at the limits" in said  # of each
