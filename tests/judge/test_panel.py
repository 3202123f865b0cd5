"""A panel: how verdicts come together, and what happens when a member fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from conftest import run_medgrpo

from medgrpo.dataset.example import Example
from medgrpo.errors import UserError
from medgrpo.judge.client import Judge, JudgeError, Reply, Verdict
from medgrpo.judge.panel import Panel
from medgrpo.rewards.base import JudgedReward

ROW = Example(
    id="1", question="What is it?", context=[], options=[], answer="x", label=None, explanation=""
)
ENDED = {"max_failure_rate": 0.2, "failure_window": 200, "max_cost": None}


class Says(Judge):
    """Answers with one number, or not at all."""

    def __init__(self, answer: str, name: str = "says", cost: float = 0.0) -> None:
        super().__init__()
        self.answer, self.name, self.cost = answer, name, cost
        self.asked = 0

    async def chat(self, messages: Any, schema: Any, logprobs: int = 0) -> Reply:
        self.asked += 1
        self.usage["opinion"].cost += self.cost
        await asyncio.sleep(0.001)
        if self.answer == "fails":
            raise JudgeError("HTTP 500")
        if self.answer == "stops":
            raise UserError("this judge cannot read that")
        return Reply(self.answer, 0, 0)


class Opinion(JudgedReward):
    """Asks twice, as most do: both questions have to go to the same member."""

    async def verdict(self, text: str, row: Example) -> Verdict:
        first = await self.judge.chat([{"role": "user", "content": text}], None)
        second = await self.judge.chat([{"role": "user", "content": text}], None)
        assert first.text == second.text
        return Verdict(float(first.text), f"it is {first.text}")


def scores(panel: Judge, texts: int = 3) -> list[float | None]:
    reward = Opinion(judge=panel, weight=1.0, name="opinion", calls=2)
    columns = {key: [value] * texts for key, value in ROW.items()}
    return asyncio.run(reward(completions=[f"text {n}" for n in range(texts)], **columns))


def panel_of(*answers: str, vote: Any = "mean", max_missing: int = 1, **more: Any) -> Panel:
    members = {f"m{n}": Says(answer) for n, answer in enumerate(answers)}
    return Panel(members=members, vote=vote, max_missing=max_missing, **ENDED | more)


@pytest.mark.parametrize(
    ("answers", "vote", "score"),
    [
        (("0.2", "0.4", "0.9"), "mean", 0.5),
        (("0.2", "0.4", "0.9"), "majority", 0.0),
        (("0.6", "0.4", "0.9"), "majority", 1.0),
        (("0.6", "0.4"), "majority", 0.5),
        (("87", "0.0"), "mean", 0.5),  # each clipped as a judge alone would be
    ],
)
def test_votes(answers, vote, score):
    panel = panel_of(*answers, vote=vote)
    assert scores(panel) == [pytest.approx(score)] * 3
    assert [judge.asked for judge in panel.members.values()] == [6] * len(answers)


@pytest.mark.parametrize("wrong", ["fails", "nan"])
def test_a_failing_member_is_counted_and_the_others_decide(wrong):
    panel = panel_of("0.2", wrong, "0.6")
    assert scores(panel) == [pytest.approx(0.4)] * 3
    usage = panel.usage["opinion"]
    assert (usage.verdicts, usage.failures, usage.members_failed) == (3, 0, 3)
    assert usage.spread == pytest.approx(3 * 0.4)


def test_more_than_may_fail_is_a_missing_verdict():
    panel = panel_of("0.2", "fails", "fails")
    assert scores(panel) == [None] * 3
    usage = panel.usage["opinion"]
    assert (usage.verdicts, usage.failures, usage.members_failed) == (3, 3, 6)
    assert "2 of 3 members" in panel.last_failure
    assert scores(panel_of("0.2", "0.3", "fails", max_missing=0)) == [None] * 3


def test_a_mistake_of_the_users_ends_the_run():
    with pytest.raises(UserError, match="cannot read"):
        scores(panel_of("0.2", "stops", "0.3"))


def test_one_bill_for_all():
    panel = Panel(
        members={"a": Says("1", cost=0.5), "b": Says("1", cost=0.25)},
        vote="mean", max_missing=0, **ENDED,
    )  # fmt: skip
    scores(panel, 2)
    assert panel.report()["opinion"]["cost"] == pytest.approx(2 * 2 * 0.75)
    assert panel.name == "panel of says, says"
    assert panel.identity != panel_of("1", "1", vote="majority").identity


def test_it_is_over_once_too_few_are_left():
    panel = panel_of("1", "1", "1")
    first, second, _ = panel.members.values()
    ended: Callable[[str], Any] = lambda why: property(lambda _: why)  # noqa: E731
    first.__class__ = type("Ended", (Says,), {"fatal": ended("HTTP 401")})
    assert panel.fatal is None
    second.__class__ = type("Ended", (Says,), {"fatal": ended("HTTP 402")})
    assert panel.fatal == "HTTP 401"


@pytest.mark.parametrize(
    ("answers", "more", "named"),
    [
        (("1",), {}, "at least two"),
        (("1", "1"), {"max_missing": 2}, "fewer missing"),
        (("1", "1"), {"max_cost": 1.0}, "prices"),
    ],
)
def test_what_is_no_panel(answers, more, named):
    with pytest.raises(UserError, match=named):
        panel_of(*answers, **more)


@pytest.mark.slow
def test_the_command(tmp_path):
    lexical = [f"judge@judge.members.{name}=lexical" for name in ("first", "second")]
    short = ["trainer.args.max_steps=2", "trainer.validation_rows=0", "evaluation.limit=2"]
    done = run_medgrpo(
        tmp_path, "judge=panel", *lexical, "+judge@judge.members.third=lexical",
        "rewards=[judges,relative]", *short, "tracking.mode=disabled", "output_dir=run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "judge panel of lexical, lexical, lexical: at most" in done.stdout
    missing = run_medgrpo(tmp_path, "judge=panel", *short, "output_dir=other")
    assert missing.returncode == 2
    assert "judge.members.first: judge.api_key_env" in missing.stderr
    assert "Traceback" not in missing.stderr
