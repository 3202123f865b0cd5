"""A held-out row with the model's response to it, read: what every metric is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NotRequired, TypedDict

from medgrpo.answers.parse import complies, predict
from medgrpo.dataset.example import Example
from medgrpo.metrics.f1 import token_f1


class Prediction(TypedDict):
    """One held-out row, the model's response to it and what it is worth."""

    id: str
    question: str
    options: list[str]
    answer: str  # gold text
    label: str | None  # gold class
    response: str
    tokens: int  # length of the response, its end token included
    predicted: str | None  # label or answer text; None: unparsed
    correct: bool | None  # predicted == label; None where there is no label
    token_f1: float  # of rows with a label: 1 if correct, else 0
    complies: bool  # keeps to the form that the prompt asks for
    group: str  # subgroup of the benchmark (MedQA's step1, BioASQ's list), "" for none
    votes: list[str | None]  # what further, sampled responses answer; [] without samples
    rewards: dict[str, float | None]  # of the response, by name; None: not scored, no verdict
    criteria: NotRequired[str | None]  # of its rubric, graded; None: none (metrics/rubric.py)
    orders: NotRequired[list[str]]  # of its options, asked as well: "CAB", C stood first
    shuffled: NotRequired[list[str | None]]  # what was chosen in each, as the row's own letter
    option_logprobs: NotRequired[list[float] | None]  # of the labels, in nats; None: no such row


def read(
    row: Example,
    response: str,
    tokens: int,
    style: str,
    sampled: Sequence[tuple[str, bool]] = (),
    *,
    truncated: bool = False,
) -> Prediction:
    """The prediction in `response` (of `tokens` tokens), read in the prompt's `style`.

    `truncated`: it was cut off at its token limit; `sampled`: further responses, each with that.
    """
    predicted = predict(response, row, style, truncated=truncated)
    correct = None if row["label"] is None else predicted == row["label"]
    return Prediction(
        id=row["id"],
        question=row["question"],
        options=row["options"],
        answer=row["answer"],
        label=row["label"],
        response=response,
        tokens=tokens,
        predicted=predicted,
        correct=correct,
        token_f1=token_f1(predicted or "", row["answer"]) if correct is None else float(correct),
        complies=complies(response, row, style),
        group=str(row.get("group") or ""),
        votes=[predict(vote, row, style, truncated=cut) for vote, cut in sampled],
        rewards={},
    )
