"""Metrics of questions with any number of right options; their accuracy is that of whole sets."""

from __future__ import annotations

from medgrpo.dataset.example import is_multi_select
from medgrpo.metrics.base import RowMetric
from medgrpo.metrics.f1 import choice_overlap
from medgrpo.metrics.prediction import Prediction


class ChoiceOverlap(RowMetric):
    """How far the chosen options are the right ones.

    The size of the intersection over that of the union; FrenchMedMCQA (Labrak et al. 2022) calls
    it its Hamming score.
    """

    label = "choice overlap"

    def about(self, row: Prediction) -> bool:
        return is_multi_select(row["label"])

    def value(self, row: Prediction) -> float:
        return choice_overlap(row["predicted"], str(row["label"]))
