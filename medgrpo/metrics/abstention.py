"""What it is worth not to answer: of rows that offer "I don't know" among their options.

MetaMedQA (Griot et al. 2025) has it on every row: a model that knows what it does not know takes
it, and is right more often where it does not. An unparsed answer is no answer, and no abstention.
"""

from __future__ import annotations

import re

from medgrpo.dataset.example import LETTERS
from medgrpo.metrics.prediction import Prediction
from medgrpo.metrics.table import Labelled

_NOT_KNOWN = re.compile(r"i (do ?n[o']t|don’t) know( or cannot answer)?\.?", re.IGNORECASE)


def abstaining(row: Prediction) -> str | None:
    """The letter of the option that is no answer; None: the row offers none."""
    places = [n for n, text in enumerate(row["options"]) if _NOT_KNOWN.fullmatch(text.strip())]
    return LETTERS[places[0]] if places else None


class Abstaining(Labelled):
    """Of rows that offer it."""

    def about(self, row: Prediction) -> bool:
        return super().about(row) and abstaining(row) is not None


class AbstentionRate(Abstaining):
    """Share of rows answered with "I don't know"."""

    label = "abstention rate"

    def value(self, row: Prediction) -> float:
        return float(row["predicted"] == abstaining(row))


class AccuracyAnswered(Abstaining):
    """Share that is right of the rows that are answered with something else.

    An unparsed answer counts as an answer that is wrong.
    """

    label = "accuracy where answered"

    def about(self, row: Prediction) -> bool:
        return super().about(row) and row["predicted"] != abstaining(row)

    def value(self, row: Prediction) -> float:
        return float(row["correct"] is True)


class AbstentionScore(Abstaining):
    """1 for a right answer, 0 for an abstention, -penalty for a wrong one; the mean over rows.

    A row whose gold answer is "I don't know" is right by taking it. With a penalty of 1/(m-1)
    guessing among m options is worth nothing; the default, 1, asks to be surer than even.
    """

    label = "abstention score"

    def __init__(self, *, penalty: float = 1.0, name: str = "") -> None:
        super().__init__(name=name)
        self.penalty = penalty

    def value(self, row: Prediction) -> float:
        if row["correct"]:
            return 1.0
        return 0.0 if row["predicted"] == abstaining(row) else -self.penalty
