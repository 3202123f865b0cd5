"""The table of metrics: all that is said of one stands here; conf/metrics/ chooses among them.

Unparsed answers count as wrong and are counted apart: a model that answers in another form and a
model that knows nothing must not look alike. The choice follows PubMedQA (accuracy and macro F1;
Jin et al. 2019), BioASQ (F1 of lists) and SQuAD (F1 of words).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

from annotated_types import Interval

from medgrpo.dataset.example import YES_NO_MAYBE, is_multi_select
from medgrpo.metrics.base import RowMetric
from medgrpo.metrics.f1 import list_f1
from medgrpo.metrics.prediction import Prediction


class Labelled(RowMetric):
    """About rows with a label: options, or yes / no / maybe."""

    column: str | None = None

    def about(self, row: Prediction) -> bool:
        return row["label"] is not None


class Accuracy(Labelled):
    """Share of the answers that are right."""

    label, binary = "accuracy", True
    column: str | None = "correct"

    def value(self, row: Prediction) -> float:
        return float(row["correct"] is True)


class AccuracyParsed(Accuracy):
    """The same among the answers that could be read."""

    label, column, binary = "accuracy given parsed", None, False

    def about(self, row: Prediction) -> bool:
        return super().about(row) and bool(row["predicted"])


class MajorityVote(Labelled):
    """maj@k: how often the commonest of k sampled answers is right (Wang et al. 2023).

    Unparsed samples do not vote; of a tie, the answer that came first counts.
    """

    label = "accuracy by votes"

    def about(self, row: Prediction) -> bool:
        return super().about(row) and bool(row["votes"])

    def value(self, row: Prediction) -> float:
        votes = Counter(vote for vote in row["votes"] if vote)
        return float(bool(votes) and votes.most_common(1)[0][0] == row["label"])


class MacroF1(Labelled):
    """The mean of the gold classes' F1; an unparsed answer is a miss."""

    label = "macro F1"

    def aggregate(self, rows: Sequence[Prediction]) -> float:
        from sklearn.metrics import f1_score

        truth = [str(row["label"]) for row in rows]
        answers = [row["predicted"] or "(unparsed)" for row in rows]
        classes = sorted(set(truth))
        return f1_score(truth, answers, labels=classes, average="macro", zero_division=0.0)


class MajorityBaseline(Labelled):
    """The accuracy of who always gives the commonest answer."""

    label = "majority baseline"

    def aggregate(self, rows: Sequence[Prediction]) -> float:
        return max(Counter(row["label"] for row in rows).values()) / len(rows)


class RandomBaseline(Labelled):
    """The accuracy to be expected of guessing."""

    label = "random baseline"

    def aggregate(self, rows: Sequence[Prediction]) -> float:
        return sum(1 / _answers(row) for row in rows) / len(rows)


class ListF1(RowMetric):
    """F1 of list items, spelling aside; of a row with a label, whether it is right."""

    label, column, for_texts = "list F1 (fuzzy)", "list_f1", True

    def __init__(self, *, name: str = "", threshold: Annotated[float, Interval(ge=0, le=100)] = 70):
        """`threshold`: token-sort ratio from which items match."""
        super().__init__(name=name)
        self.threshold = threshold

    def value(self, row: Prediction) -> float:
        if row["correct"] is not None:
            return float(row["correct"])
        return list_f1(row["predicted"] or "", row["answer"], self.threshold)


class TokenF1(RowMetric):
    """F1 of words; of a row with a label, whether it is right."""

    label, column, for_texts = "token F1", "token_f1", True

    def value(self, row: Prediction) -> float:
        return row["token_f1"]


class UnparsedRate(RowMetric):
    """Share of the answers that could not be read."""

    label, column, higher_is_better = "unparsed rate", None, False

    def value(self, row: Prediction) -> float:
        return float(row["predicted"] is None)


class FormatCompliance(RowMetric):
    """Share of the responses that keep to the form that the prompt asks for."""

    label, column = "format compliance", "complies"

    def value(self, row: Prediction) -> float:
        return float(row["complies"])


class MeanTokens(RowMetric):
    """The mean length of a response."""

    label, column, digits, higher_is_better = "mean tokens", "tokens", 1, False

    def value(self, row: Prediction) -> float:
        return float(row["tokens"])


def _answers(row: Prediction) -> int:
    """How many answers there are to choose among; of options that may all be right, their sets."""
    options = len(row["options"])
    return 2**options - 1 if is_multi_select(row["label"]) else options or len(YES_NO_MAYBE)
