"""Rows in, figures and predictions out, in the split's order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from datasets import Dataset

from medgrpo.dataset.example import Example
from medgrpo.dataset.prompt import Prompt
from medgrpo.evaluation import heldout
from medgrpo.evaluation.generate import Generation
from medgrpo.evaluation.heldout import HeldOut

PROMPT = Prompt(system="", user="{{ question }}", answer_with="yes or no", style="reasoning")
ROWS = [
    Example(
        id=str(i),
        question=f"Is {i} even?",
        context=[],
        options=[],
        answer="no" if i % 2 else "yes",
        label="no" if i % 2 else "yes",
        explanation="",
    )
    for i in range(10)
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A model that says "yes" to every question, in the place of generation (tested elsewhere)."""
    calls: list[Any] = []

    def always_yes(model: Any, tokenizer: Any, prompts: Any, **options: Any) -> list[Generation]:
        calls.append(SimpleNamespace(prompts=prompts, **options))
        return [Generation(f"<answer>yes</answer> to {p[-1]['content']}", 7) for p in prompts]

    monkeypatch.setattr(heldout, "generate", always_yes)
    return calls


def evaluate(**settings: Any) -> heldout.Result:
    held_out = HeldOut(**{"batch_size": 4, "max_new_tokens": 8, **settings})
    return held_out(None, None, Dataset.from_list(ROWS), PROMPT, "accuracy")


def test_predictions_are_in_the_order_of_rows(asked: list[Any]) -> None:
    result = evaluate()
    assert [row["id"] for row in result.predictions] == [row["id"] for row in ROWS]
    for row in result.predictions:
        assert row["response"].endswith(row["question"])
        assert row["correct"] is (row["label"] == "yes")
    assert result.score == result.figures["accuracy"] == 0.5
    assert result.figures["mean_tokens"] == 7


def test_settings_reach_the_generation(asked: list[Any]) -> None:
    evaluate(batch_size=3, max_new_tokens=5)
    assert (asked[0].batch_size, asked[0].max_new_tokens) == (3, 5)
    assert asked[0].prompts[1] == [{"role": "user", "content": "Is 1 even?"}]


@pytest.mark.parametrize(("limit", "n"), [(None, 10), (3, 3), (10, 10), (99, 10), (0, 0)])
def test_limit_takes_the_first_rows(asked: list[Any], limit: int | None, n: int) -> None:
    result = evaluate(limit=limit)
    assert [row["id"] for row in result.predictions] == [str(i) for i in range(n)]
    assert result.figures["n"] == n
    assert (result.score is None) == (n == 0)
