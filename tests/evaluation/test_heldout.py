"""Rows in, figures and predictions out, in the split's order; with a real, tiny model."""

from __future__ import annotations

from typing import Any

import pytest
from datasets import Dataset

from medgrpo.dataset.example import Example
from medgrpo.dataset.prompt import Prompt
from medgrpo.evaluation.generate import generate
from medgrpo.evaluation.heldout import HeldOut, Result

PROMPT = Prompt(system="", user="{{ question }}", answer_with="yes or no", style="reasoning")
ROWS = [
    Example(
        id=str(i),
        question=" ".join(f"w{(i * j) % 58}" for j in range(1, 12 - i)),
        context=[],
        options=[],
        answer="no" if i % 2 else "yes",
        label="no" if i % 2 else "yes",
        explanation="",
    )
    for i in range(10)
]


def evaluate(model: Any, tokenizer: Any, prompt: Prompt = PROMPT, **settings: Any) -> Result:
    held_out = HeldOut(**{"batch_size": 4, "max_new_tokens": 3, **settings})
    return held_out(model, tokenizer, Dataset.from_list(ROWS), prompt, "accuracy")


def test_a_model_that_says_yes(yes_model: Any, tokenizer: Any) -> None:
    result = evaluate(yes_model, tokenizer)
    assert {row["response"] for row in result.predictions} == {"yes yes yes"}
    assert [row["correct"] for row in result.predictions] == [True, False] * 5
    assert result.score == result.figures["accuracy"] == 0.5
    assert result.figures["recall"] == {"no": 0.0, "yes": 1.0}
    assert result.figures["mean_tokens"] == 3


def test_predictions_are_in_the_order_of_rows(model: Any, tokenizer: Any) -> None:
    """Each response is the one that its row gets alone."""
    result = evaluate(model, tokenizer, max_new_tokens=8)
    for row, prediction in zip(ROWS, result.predictions, strict=True):
        alone = generate(model, tokenizer, [PROMPT.messages(row)], batch_size=1, max_new_tokens=8)
        assert (prediction["id"], prediction["response"]) == (row["id"], alone[0].text)
    assert len({row["response"] for row in result.predictions}) > 5


def test_the_prompts_template_arguments_are_used(model: Any, tokenizer: Any) -> None:
    loud = Prompt(
        system="", user="{{ question }}", answer_with="", chat_template_kwargs={"loud": True}
    )
    plain = [row["response"] for row in evaluate(model, tokenizer).predictions]
    assert [row["response"] for row in evaluate(model, tokenizer, loud).predictions] != plain


@pytest.mark.parametrize(("limit", "n"), [(None, 10), (3, 3), (10, 10), (99, 10), (0, 0)])
def test_limit_takes_the_first_rows(
    yes_model: Any, tokenizer: Any, limit: int | None, n: int
) -> None:
    result = evaluate(yes_model, tokenizer, limit=limit)
    assert [row["id"] for row in result.predictions] == [str(i) for i in range(n)]
    assert result.figures["n"] == n
    assert (result.score is None) == (n == 0)
