"""Ranking a group: one call, every response placed, nothing made up where there is no ranking."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from medgrpo.dataset.example import Example
from medgrpo.errors import UserError
from medgrpo.judge.cache import Cache
from medgrpo.judge.client import Judge, Reply
from medgrpo.rewards.relative import RelativeRankingReward


def row(name: str) -> Example:
    return Example(
        id=name, question=f"Question {name}?", context=["A passage."], options=[], answer="",
        label=None, explanation="",
    )  # fmt: skip


class Alphabet(Judge):
    """Prefers what comes first in the alphabet, or does what it is told."""

    name = "alphabet"

    def __init__(self, reply: Any = None) -> None:
        super().__init__()
        self.reply, self.prompts = reply, []

    async def chat(self, messages: Any, schema: Any, logprobs: int = 0) -> Reply:
        prompt = messages[0]["content"]
        self.prompts.append(prompt)
        shown = re.findall(r"Response (\d+):\n(.+)", prompt)
        order = [int(number) for number, text in sorted(shown, key=lambda pair: pair[1])]
        return Reply(json.dumps({"ranking": order if self.reply is None else self.reply}), 0, 0)


def scores(judge: Judge, groups: dict[str, list[str]], **more: Any) -> list[float | None]:
    reward = RelativeRankingReward(judge=judge, criteria="The better one.", **more)
    rows = [row(name) for name, texts in groups.items() for _ in texts]
    texts = [text for texts in groups.values() for text in texts]
    columns = {key: [one[key] for one in rows] for key in Example.__annotations__}
    return asyncio.run(reward(completions=texts, **columns))


def test_places_are_scores_and_a_group_is_one_call():
    judge = Alphabet()
    groups = {"1": ["d", "a", "c", "b", "a"], "2": ["z", "y", "z"]}
    found = scores(judge, groups)
    assert found == pytest.approx([0, 1, 1 / 3, 2 / 3, 1, 0, 1, 0])
    assert len(judge.prompts) == 2
    assert judge.usage["relative_ranking"].verdicts == 2
    assert all(part in judge.prompts[0] for part in ("Question 1?", "A passage.", "The better one"))


def test_what_needs_no_judge():
    judge = Alphabet()
    assert scores(judge, {"1": ["same", "same"]}) == [0.5, 0.5]
    assert scores(judge, {"1": ["alone"]}) == [None]
    assert scores(judge, {"1": ["word", "", " \n"]}) == [1, 0, 0]
    assert judge.prompts == []
    assert judge.usage["relative_ranking"].verdicts == 0
    assert scores(judge, {"1": ["b", "", "a"]}) == [0.5, 0, 1]


@pytest.mark.parametrize("reply", [[1, 1, 2], [1, 2], [0, 1, 2], [1, 2, 3, 4], [3, 2, -1]])
def test_no_ranking_is_a_missing_verdict(reply):
    judge = Alphabet(reply)
    assert scores(judge, {"1": ["a", "b", "c"]}) == [None] * 3
    assert judge.usage["relative_ranking"].failures == 1
    assert "not a ranking of 3" in judge.last_failure


def test_the_order_is_shuffled_seeded_and_averaged():
    shown = []
    for seed in (0, 0, 1, 2, 3):
        judge = Alphabet()
        scores(judge, {"1": list("abcdef")}, seed=seed)
        shown.append(judge.prompts[0])
    assert shown[0] == shown[1]
    assert len(set(shown)) > 2
    first = Alphabet([1, 2, 3, 4, 5, 6])  # prefers what stands first
    one, many = (scores(first, {"1": list("abcdef")}, orders=n) for n in (1, 40))
    assert sorted(one) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert max(many) - min(many) < 0.5  # type: ignore[operator]


def test_it_is_cached_with_its_group(tmp_path):
    judge = Alphabet()
    judge.cache = Cache(tmp_path / "judge.sqlite")
    for texts in (["a", "b", "c"], ["c", "a", "b"], ["a", "b", "d"]):
        assert scores(judge, {"1": texts}) == pytest.approx(
            [1 - sorted(texts).index(text) / 2 for text in texts]
        )
    assert len(judge.prompts) == 2
    assert judge.usage["relative_ranking"].verdict_hits == 1


def test_criteria_are_needed():
    with pytest.raises(UserError, match="criteria"):
        RelativeRankingReward(judge=Alphabet(), criteria=" ")
