"""Sets of options: read as a whole, or not at all."""

from __future__ import annotations

import itertools
import random

import pytest

from medgrpo.answers.parse import complies, predict
from medgrpo.dataset.example import Example, gold_text, multi_select_label
from medgrpo.rewards.verifiable import ChoiceAccuracyReward, ChoiceOverlapReward

OPTIONS = ["vitamin B12", "iron", "folate", "zinc, oral", "iron and folate"]
ROW = Example(
    id="1", question="What is lacking?", context=[], options=OPTIONS,
    answer="vitamin B12; folate", label="{A,C}", explanation="",
)  # fmt: skip


def read(answer: str, row: Example = ROW) -> str | None:
    return predict(
        f"<reasoning>\nSo.\n</reasoning>\n<answer>\n{answer}\n</answer>", row, "reasoning"
    )


@pytest.mark.parametrize(
    "answer",
    [
        "A, C", "AC", "CA", "c and a", "(A) and (C)", "A; C", "A & C", "**A** et **C**", "A、C",
        "A和C",
        "A) vitamin B12; C) folate", "A) vitamin B12\nC) folate", "- C: folate\n- A: vitamin B12",
        "vitamin B12, folate", "A. vitamin B12 and C", "options A and C", "A/C", "[A, C]",
        '{"answer": ["A", "C"]}', "\\boxed{A, C}", "The answers are A and C.",
        "The correct answers are: A, C",
        "Les réponses correctes sont A et C", "Las respuestas son A y C",
        "Die Antworten sind A und C",
    ],
)  # fmt: skip
def test_forms(answer: str) -> None:
    assert read(answer) == "{A,C}"


@pytest.mark.parametrize(
    "answer",
    [
        "A or C", "A, maybe C", "A is correct, and so is C", "A but not C", "not A, C", "A) folate",
        "a e c", "A, F", "I cannot tell", "", "A, C if anaemic", "neither A nor C", "A? C?",
        "all of them",
    ],
)  # fmt: skip
def test_what_is_no_clear_set_is_not_read(answer: str) -> None:
    assert read(answer) is None


def test_one_of_a_set_is_another_answer() -> None:
    assert read("A") == "{A}"
    assert read("C) folate") == "{C}"
    assert read("iron and folate") == "{E}"  # the option that is called so, not two
    assert read("zinc, oral; iron") == "{B,D}"
    assert read("A, E") == read("a, e") == read("E e A") == "{A,E}"  # "e" is "and" in Portuguese


def test_the_chain_of_thought_style_reads_the_last_statement() -> None:
    said = "Option B is wrong.\nThe answers are (A) vitamin B12 and (C) folate."
    assert predict(said, ROW, "choice_cot") == "{A,C}"
    assert predict("A and B seem right.\nA, C", ROW, "choice_cot") == "{A,C}"
    assert predict("The answers are A and", ROW, "choice_cot", truncated=True) is None
    taught = "It follows. Therefore, the answer is (A) vitamin B12; (C) folate."
    assert predict(taught, ROW, "choice_cot") == "{A,C}"
    assert complies(taught, ROW, "choice_cot")


def test_every_set_as_the_gold_answer_is_written() -> None:
    """Each set in random order, as prompts write options: none read wrongly."""
    chance = random.Random(1)
    for size in range(1, 6):
        for letters in itertools.combinations("ABCDE", size):
            label = multi_select_label(letters)
            row = Example(**{**ROW, "label": label})
            assert read(gold_text(row), row) == label
            shuffled = chance.sample(letters, size)
            assert read(", ".join(shuffled), row) == label


@pytest.mark.parametrize(
    ("answer", "exact", "overlap"),
    [
        ("A, C", 1.0, 1.0),
        ("A", 0.0, 0.5),
        ("A, B", 0.0, 1 / 3),
        ("B", 0.0, 0.0),
        ("A or C", 0.0, 0.0),
    ],
)
def test_rewards(answer: str, exact: float, overlap: float) -> None:
    said = f"<answer>\n{answer}\n</answer>"
    assert ChoiceAccuracyReward().score(said, ROW) == exact
    assert ChoiceOverlapReward().score(said, ROW) == pytest.approx(overlap)


def test_frenchmedmcqas_worked_value() -> None:
    row = Example(**{**ROW, "label": "{B,C,D}"})
    assert ChoiceOverlapReward().score("<answer>B, C, E</answer>", row) == 0.5
