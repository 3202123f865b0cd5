"""From held-out responses to figures: pure functions, so that anyone can recompute them.

`read` turns a response into a prediction, a flat row of predictions.parquet; `figures` sums
predictions up. Unparsed answers count as wrong and are counted apart: a model that answers in
another form and a model that knows nothing must not look alike. What has no value (accuracy of
no rows) is None, never NaN. The choice of figures follows PubMedQA (accuracy and macro F1; Jin
et al. 2019), BioASQ (F1 of lists) and SQuAD (F1 of words).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from medgrpo.answers.parse import complies, predict
from medgrpo.dataset.example import YES_NO_MAYBE, Example
from medgrpo.errors import UserError
from medgrpo.evaluation.intervals import wilson
from medgrpo.rewards.verifiable import list_f1, token_f1

PRIMARY_METRICS = ("accuracy", "list_f1", "token_f1")


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
    list_f1: float  # of rows with a label: 1 if correct, else 0; so is token_f1
    token_f1: float
    complies: bool  # keeps to the form that the prompt asks for
    group: str  # subgroup of the benchmark (MedQA's step1, BioASQ's list), "" for none
    votes: list[str | None]  # what further, sampled responses answer; [] without samples
    rewards: dict[str, float | None]  # of the response, by name; None: not scored, no verdict


def read(
    row: Example, response: str, tokens: int, style: str, sampled: Sequence[str] = ()
) -> Prediction:
    """The prediction in `response` (of `tokens` tokens), read in the prompt's `style`."""
    predicted = predict(response, row, style)
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
        list_f1=list_f1(predicted or "", row["answer"]) if correct is None else float(correct),
        token_f1=token_f1(predicted or "", row["answer"]) if correct is None else float(correct),
        complies=complies(response, row, style),
        group=str(row.get("group") or ""),
        votes=[predict(vote, row, style) for vote in sampled],
        rewards={},
    )


def figures(predictions: Sequence[Prediction], primary_metric: str) -> dict[str, Any]:
    """Every figure of the predictions, as JSON: shares in [0, 1], None for "not defined".

    `primary` is the value of `primary_metric` (UserError if unknown). Accuracy and what goes with
    it are about the rows with a label, everything else about all rows.
    """
    if primary_metric not in PRIMARY_METRICS:
        allowed = ", ".join(PRIMARY_METRICS)
        raise UserError(f"dataset.primary_metric: {primary_metric!r} is unknown, use {allowed}")
    unparsed = sum(prediction["predicted"] is None for prediction in predictions)
    summary = {
        "primary_metric": primary_metric,
        "n": len(predictions),
        **_choice_figures([row for row in predictions if row["label"] is not None]),
        "list_f1": _mean(row["list_f1"] for row in predictions),
        "token_f1": _mean(row["token_f1"] for row in predictions),
        "unparsed": unparsed,
        "unparsed_rate": unparsed / len(predictions) if predictions else None,
        "format_compliance": _mean(row["complies"] for row in predictions),
        "mean_tokens": _mean(row["tokens"] for row in predictions),
        "groups": _group_figures(predictions, primary_metric),
        "rewards": _reward_means(predictions),
    }
    return {"primary": summary[primary_metric], **summary}


def value(row: Prediction, metric: str) -> float | None:
    """What one row adds to a primary metric: None for a row that it is not about."""
    if metric == "accuracy":
        return None if row["label"] is None else float(row["correct"] is True)
    return row[metric]  # type: ignore[literal-required]


def _choice_figures(rows: Sequence[Prediction]) -> dict[str, Any]:
    """Accuracy, its interval and its parts, for rows with a label."""
    correct = sum(row["correct"] is True for row in rows)
    support = Counter(str(row["label"]) for row in rows)
    return {
        "n_labelled": len(rows),
        "accuracy": correct / len(rows) if rows else None,
        "accuracy_interval": wilson(correct, len(rows)),
        "accuracy_parsed": _mean(bool(row["correct"]) for row in rows if row["predicted"]),
        "majority_baseline": max(support.values()) / len(rows) if rows else None,
        "random_baseline": _mean(1 / (len(row["options"]) or len(YES_NO_MAYBE)) for row in rows),
        **_vote_figures(rows),
        "support": dict(sorted(support.items())),
        **_class_figures(rows, sorted(support)),
    }


def _vote_figures(rows: Sequence[Prediction]) -> dict[str, Any]:
    """maj@k: how often the commonest of k sampled answers is right (Wang et al. 2023).

    Unparsed samples do not vote; of a tie, the answer that came first counts.
    """
    k = max((len(row["votes"]) for row in rows), default=0)
    votes = [(row["label"], Counter(vote for vote in row["votes"] if vote)) for row in rows]
    right = [bool(cast) and cast.most_common(1)[0][0] == label for label, cast in votes]
    return {"k": k, "maj_at_k": _mean(right) if k else None}


def _group_figures(predictions: Sequence[Prediction], metric: str) -> dict[str, Any]:
    """The primary metric of each subgroup, with its interval where it is a share."""
    groups = {}
    for name in sorted({row["group"] for row in predictions} - {""}):
        found = [value(row, metric) for row in predictions if row["group"] == name]
        known = [number for number in found if number is not None]
        interval = wilson(round(sum(known)), len(known)) if metric == "accuracy" else None
        groups[name] = {"n": len(known), metric: _mean(known), "interval": interval}
    return groups


def _reward_means(predictions: Sequence[Prediction]) -> dict[str, dict[str, Any]]:
    """Each reward's mean over the rows of which it has a verdict."""
    means = {}
    for name in sorted({name for row in predictions for name in row["rewards"]}):
        found = [row["rewards"].get(name) for row in predictions]
        known = [number for number in found if number is not None]
        means[name] = {"n": len(known), "mean": _mean(known)}
    return means


def _class_figures(rows: Sequence[Prediction], classes: list[str]) -> dict[str, Any]:
    """Recall of each gold class and the mean of their F1; an unparsed row is a miss."""
    from sklearn.metrics import f1_score, recall_score

    if not rows:
        return {"recall": {}, "macro_f1": None}
    truth = [str(row["label"]) for row in rows]
    said = [row["predicted"] or "(unparsed)" for row in rows]
    recalls = recall_score(truth, said, labels=classes, average=None, zero_division=0.0)
    macro_f1 = f1_score(truth, said, labels=classes, average="macro", zero_division=0.0)
    return {
        "recall": dict(zip(classes, map(float, recalls), strict=True)),
        "macro_f1": float(macro_f1),
    }


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return sum(known) / len(known) if known else None
