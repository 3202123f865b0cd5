"""Right is right, wrong is wrong, and a reward is silent on rows that it is not about."""

from __future__ import annotations

import math

import pytest

from medgrpo.dataset.example import Example
from medgrpo.rewards.verifiable import ChoiceAccuracyReward, ListMatchReward, TokenF1Reward

CHOICE = Example(
    id="1",
    question="Which type?",
    context=[],
    options=["Type 1 diabetes", "Type 2 diabetes"],
    answer="Type 2 diabetes",
    label="B",
    explanation="",
)
YES_NO = Example({**CHOICE, "options": [], "answer": "yes", "label": "yes"})
LIST = Example({**CHOICE, "options": [], "answer": "BRCA1; BRCA2 | FANCD1", "label": None})


def answered(answer: str) -> str:
    return f"<reasoning>\nSo.\n</reasoning>\n<answer>\n{answer}\n</answer>"


@pytest.mark.parametrize(
    ("row", "answer", "score"),
    [
        (CHOICE, "B", 1.0),
        (CHOICE, "type 2 diabetes", 1.0),
        (CHOICE, "A", 0.0),
        (CHOICE, "Type 1 diabetes", 0.0),
        (CHOICE, "I do not know", 0.0),
        (YES_NO, "Yes.", 1.0),
        (YES_NO, "no", 0.0),
        (LIST, "BRCA1", None),
    ],
)
def test_choice_accuracy(row: Example, answer: str, score: float | None) -> None:
    assert ChoiceAccuracyReward().score(answered(answer), row) == score


def test_the_style_decides_how_an_answer_is_read() -> None:
    response = "<answer>A</answer>\nThe answer is (B) Type 2 diabetes."
    assert ChoiceAccuracyReward(style="reasoning").score(response, CHOICE) == 0.0
    assert ChoiceAccuracyReward(style="choice_cot").score(response, CHOICE) == 1.0


def test_a_wrong_choice_earns_nothing_from_any_of_the_three() -> None:
    """ "Type 1 diabetes" is close to the gold text; closeness must not pay on a choice."""
    rewards = (ChoiceAccuracyReward(), ListMatchReward(), TokenF1Reward())
    scores = [reward.score(answered("A) Type 1 diabetes"), CHOICE) for reward in rewards]
    assert scores == [0.0, None, None]


def test_every_row_has_a_verdict_from_one_of_them() -> None:
    """TRL gives a completion on which all are silent no advantage at all."""
    rewards = (ChoiceAccuracyReward(), ListMatchReward(), TokenF1Reward())
    for row in (CHOICE, YES_NO, LIST):
        for response in (answered("B"), "", "no tags"):
            assert any(reward.score(response, row) is not None for reward in rewards)


def test_threshold_decides_what_is_a_match() -> None:
    assert ListMatchReward(threshold=100).score(answered("BRCA1 gene"), LIST) == 0.0


def test_rewards_of_lists_are_these_functions() -> None:
    response = answered("FANCD1; TP53")
    assert ListMatchReward().score(response, LIST) == 0.5
    assert TokenF1Reward().score(response, LIST) == 0.5
    assert TokenF1Reward().score("", LIST) == 0.0


def test_a_batch_of_rows_that_a_reward_is_not_about() -> None:
    """TRL 1.14 makes NaN of None, averages over what is left and logs null where nothing is."""
    columns = {key: [value] * 2 for key, value in CHOICE.items()}
    completions = [[{"role": "assistant", "content": answered(a)}] for a in "AB"]
    assert ListMatchReward()(completions=completions, **columns) == [None, None]
    scores = ChoiceAccuracyReward()(completions=completions, **columns)
    assert scores == [0.0, 1.0]
    assert not any(math.isnan(score) for score in scores if score is not None)
