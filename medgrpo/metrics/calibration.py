"""How sure a model is of its options, and whether it should be: of `evaluation.option_logprobs`.

A row's probabilities are the softmax over the log-probabilities of its options' labels, asked for
directly after the prompt, without reasoning. What the model would rather have said than any label
is the mass outside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from medgrpo.dataset.example import LETTERS, YES_NO_MAYBE
from medgrpo.metrics.prediction import Prediction
from medgrpo.metrics.table import Labelled

BINS = 10  # of equal width
COVERAGE = (0.25, 0.5, 0.75, 1.0)  # shares of the rows, the surest first
_DRAWS = 200  # of the level that a calibrated model has


class Probabilities(Labelled):
    """Of rows whose options have log-probabilities."""

    asks = "option_logprobs"

    def about(self, row: Prediction) -> bool:
        return super().about(row) and bool(row.get("option_logprobs"))


class LikelihoodAccuracy(Probabilities):
    """Share of rows whose likeliest option is right: what log-likelihood benchmarks report.

    Its details have the accuracy of the rows that the model is surest of.
    """

    label, binary = "accuracy by likelihood", True

    def value(self, row: Prediction) -> float:
        return float(_likeliest(row) == _gold(row))

    def details(self, rows: Sequence[Prediction]) -> dict[str, Any]:
        """`coverage`: the accuracy of the surest quarter, half, ... of the rows."""
        sure = sorted(rows, key=lambda row: -max(probabilities(row)))
        covered = {share: sure[: max(1, round(share * len(sure)))] for share in COVERAGE}
        return {
            "coverage": {
                f"{share:.0%}": sum(map(self.value, some)) / len(some)
                for share, some in covered.items()
            }
        }


class MassOutside(Probabilities):
    """The probability of anything but a label, directly after the prompt.

    Where it is near 1 the model would never answer so, and the other figures say little of it.
    """

    label, higher_is_better = "mass outside options", False

    def value(self, row: Prediction) -> float:
        return max(0.0, 1 - sum(math.exp(value) for value in _logprobs(row)))


class Brier(Probabilities):
    """The squared distance of the probabilities from the truth, in [0, 2]; uniform: 1 - 1/m.

    Source: Brier 1950. With different numbers of options compare the details' `skill`,
    1 - Brier / Brier of uniform probabilities.
    """

    label, higher_is_better = "Brier score", False

    def value(self, row: Prediction) -> float:
        gold = _gold(row)
        return sum((p - (n == gold)) ** 2 for n, p in enumerate(probabilities(row)))

    def details(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """`skill`: 1 for certain and right, 0 for uniform, below for worse."""
        uniform = sum(1 - 1 / len(_logprobs(row)) for row in rows)
        return {"skill": 1 - sum(self.value(row) for row in rows) / uniform}


class NegativeLogLikelihood(Probabilities):
    """-ln of the probability of the right option, in nats."""

    label, higher_is_better = "negative log-likelihood", False

    def value(self, row: Prediction) -> float:
        return -math.log(max(probabilities(row)[_gold(row)], 1e-12))


class ExpectedCalibrationError(Probabilities):
    """ECE: how far the likeliest option's probability is from how often it is right, by bins.

    Sum over 10 bins of equal width of n_b/n |accuracy - confidence| (Guo et al. 2017,
    arXiv:1706.04599). It is biased upwards: the details have the level that a perfectly calibrated
    model with these confidences has, and the bins, for a reliability plot.
    """

    label, higher_is_better = "ECE", False

    def aggregate(self, rows: Sequence[Prediction]) -> float:
        return _ece(*_sureness(rows))

    def details(self, rows: Sequence[Prediction]) -> dict[str, Any]:
        """`if_calibrated`: the mean ECE of a calibrated model; `bins`: n, confidence, accuracy."""
        import numpy as np

        confidences, right = _sureness(rows)
        draws = np.random.default_rng(0).random((_DRAWS, len(rows))) < np.array(confidences)
        level = float(np.mean([_ece(confidences, draw.astype(float)) for draw in draws]))
        bins = _bins(confidences, right)
        return {
            "if_calibrated": level,
            "bins": [
                {"n": n, "confidence": confidence, "accuracy": accuracy}
                for n, confidence, accuracy in bins
            ],
        }


def probabilities(row: Prediction) -> list[float]:
    """Of the options, in their order: they sum to 1."""
    logs = _logprobs(row)
    top = max(logs)
    weights = [math.exp(value - top) for value in logs]
    return [weight / sum(weights) for weight in weights]


def _sureness(rows: Sequence[Prediction]) -> tuple[list[float], list[float]]:
    """Of each row the probability of its likeliest option, and whether that is right (1 or 0)."""
    right = [float(_likeliest(row) == _gold(row)) for row in rows]
    return [max(probabilities(row)) for row in rows], right


def _logprobs(row: Prediction) -> list[float]:
    return row["option_logprobs"] or []


def _likeliest(row: Prediction) -> int:
    logs = _logprobs(row)
    return max(range(len(logs)), key=logs.__getitem__)


def _gold(row: Prediction) -> int:
    label = str(row["label"])
    return LETTERS.index(label) if row["options"] else YES_NO_MAYBE.index(label)


def _bins(confidences: Sequence[float], right: Sequence[float]) -> list[tuple[int, float, float]]:
    """Rows, mean confidence and accuracy of each bin that has rows; a bin holds its upper end."""
    found: dict[int, list[tuple[float, float]]] = {}
    for pair in zip(confidences, right, strict=True):
        found.setdefault(max(0, math.ceil(pair[0] * BINS - 1e-9) - 1), []).append(pair)
    return [
        (len(pairs), *(sum(values) / len(pairs) for values in zip(*pairs, strict=True)))  # type: ignore[misc]
        for _, pairs in sorted(found.items())
    ]


def _ece(confidences: Sequence[float], right: Sequence[float]) -> float:
    bins = _bins(confidences, right)
    return sum(n * abs(accuracy - confidence) for n, confidence, accuracy in bins) / len(right)
