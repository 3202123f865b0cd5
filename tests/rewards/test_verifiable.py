"""Right is right, wrong is wrong, and a reward is silent on rows that it is not about."""

from __future__ import annotations

import math

import pytest

from medgrpo.dataset.example import Example
from medgrpo.rewards.verifiable import (
    ChoiceAccuracyReward,
    ListMatchReward,
    TokenF1Reward,
    list_f1,
    token_f1,
)

CHOICE = Example(
    id="1",
    question="Which type?",
    context=[],
    options=["Type 1 diabetes", "Type 2 diabetes"],
    answer="Type 2 diabetes",
    label="B",
    explanation="",
)
VERDICT = Example({**CHOICE, "options": [], "answer": "yes", "label": "yes"})
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
        (VERDICT, "Yes.", 1.0),
        (VERDICT, "no", 0.0),
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
    for row in (CHOICE, VERDICT, LIST):
        for response in (answered("B"), "", "no tags"):
            assert any(reward.score(response, row) is not None for reward in rewards)


@pytest.mark.parametrize(
    ("predicted", "gold", "score"),
    [
        ("BRCA1; BRCA2", "BRCA1; BRCA2", 1.0),
        ("brca2; BRCA1", "BRCA1; BRCA2", 1.0),
        ("BRCA1, BRCA2", "BRCA1; BRCA2", 1.0),
        ("BRCA1\nBRCA2", "BRCA1; BRCA2", 1.0),
        ("1. aspirin\n2. heparin", "aspirin; heparin", 1.0),
        ("* aspirin\n* heparin", "aspirin; heparin", 1.0),
        ("aspirin, heparin, and warfarin", "aspirin; heparin; warfarin", 1.0),
        ("the FANCD1 gene", "BRCA2 | FANCD1 gene", 1.0),
        ("carcinoma of the lung", "lung carcinoma of the", 1.0),  # word order is nothing
        ("aspirin", "aspirin; heparin", 2 / 3),
        ("aspirin; heparin; insulin; glucagon", "aspirin; heparin", 2 / 3),
        ("aspirin; aspirin; aspirin", "aspirin; heparin", 2 / 3),  # repeating does not pay
        ("insulin", "aspirin; heparin", 0.0),
        ("a, b, c, d syndrome", "a, b, c, d syndrome", 1.0),  # commas inside an item
        ("Two\nlines, of; prose", "Two\nlines, of; prose", 1.0),
        ("", "aspirin", 0.0),
        (" ; ;\n", "aspirin", 0.0),
        ("инсулин", "инсулин", 1.0),
    ],
)
def test_list_f1(predicted: str, gold: str, score: float) -> None:
    assert list_f1(predicted, gold) == pytest.approx(score)


def test_items_match_one_to_one_the_closest_first() -> None:
    assert list_f1("interleukin 6; interleukin 7", "interleukin 6") == pytest.approx(2 / 3)
    assert (
        list_f1("alpha beta gamma delta; alpha beta", "alpha beta gamma; alpha beta gamma delta")
        == 1
    )
    assert list_f1("interleukin 6", "interleukin 6; interleukin 8") == pytest.approx(2 / 3)


def test_threshold_decides_what_is_a_match() -> None:
    assert list_f1("haemoglobine", "hemoglobin", threshold=70) == 1.0
    assert list_f1("haemoglobine", "hemoglobin", threshold=99) == 0.0
    assert ListMatchReward(threshold=100).score(answered("BRCA1 gene"), LIST) == 0.0


@pytest.mark.parametrize(
    ("predicted", "gold", "score"),
    [
        ("The heart attack.", "heart attack", 1.0),
        ("heart attack today", "heart attack", 0.8),
        ("heart heart heart", "heart attack", 0.4),
        ("stroke", "heart attack", 0.0),
        ("heart attack", "myocardial infarction | heart attack; stroke", 0.8),
        ("", "heart attack", 0.0),
        ("the", "a", 0.0),
    ],
)
def test_token_f1(predicted: str, gold: str, score: float) -> None:
    assert token_f1(predicted, gold) == pytest.approx(score)


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
