"""A reward of a user's own that gives something else than scores is named, with what it gave."""

import asyncio

import numpy as np
import pytest

from medgrpo.errors import UserError
from medgrpo.evaluation.rewarded import score_responses
from medgrpo.rewards.base import Reward
from medgrpo.rewards.contract import checked

ROW = {
    "id": "1", "question": "?", "context": [], "options": [], "answer": "yes", "label": "yes",
    "explanation": "", "group": "",
}  # fmt: skip


class Gives(Reward):
    def __init__(self, scores):
        super().__init__(weight=1.0, name="mine")
        self.scores = scores

    def __call__(self, completions, **columns):
        return self.scores


class GivesLater(Gives):
    async def __call__(self, completions, **columns):
        return self.scores


def ask(reward):
    called = checked(reward)
    assert called.__name__ == "mine"
    scores = called(completions=["a", "b"], prompts=[])
    return asyncio.run(scores) if isinstance(reward, GivesLater) else scores


@pytest.mark.parametrize("kind", [Gives, GivesLater])
@pytest.mark.parametrize(
    ("scores", "named"),
    [
        ([0.5, float("nan")], "nan"),
        ([0.5, "1"], "'1'"),
        ([0.5, 7.0], "7.0"),
        ([0.5, -0.1], "-0.1"),
        ([0.5, float("inf")], "inf"),
        ([0.5], "1 scores for 2 completions"),
        (None, "None; a list of scores is needed"),
        (iter([0.5, 0.5]), "iterator"),
    ],
)
def test_what_is_no_score_is_refused(kind, scores, named):
    with pytest.raises(UserError, match=r"rewards\.mine: gave") as training:
        ask(kind(scores))
    with pytest.raises(UserError) as evaluation:
        score_responses([kind(scores)], [ROW, ROW], ["a", "b"])
    assert named in str(training.value)
    assert str(training.value) == str(evaluation.value)


@pytest.mark.parametrize("kind", [Gives, GivesLater])
def test_scores_pass(kind):
    scores = [np.float32(0.5), None, 0, True]
    assert ask(kind(scores[:2])) == scores[:2]
    assert ask(kind(scores[2:])) == scores[2:]
