"""Two sets of answers to the same rows: is the difference more than chance?

Two intervals that overlap say little, because both models answered the same questions. Where
answers are right or wrong the test is McNemar's (1947) in its exact form, which looks only at the
rows that one of the two got right; where a row's value is a share, Wilcoxon's signed-rank test.
The interval of the difference is a bootstrap's over rows (Efron 1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

from medgrpo.metrics.base import Metric, row_value
from medgrpo.metrics.intervals import bootstrap_interval
from medgrpo.metrics.prediction import Prediction

if TYPE_CHECKING:
    import numpy as np


def paired_metrics(
    stages: Mapping[str, Sequence[Prediction]], metric: Metric
) -> list[dict[str, Any]]:
    """Each stage against each earlier one; all have the same rows in the same order."""
    return [
        {"from": first, "to": second, **compare(stages[first], stages[second], metric)}
        for first, second in combinations(stages, 2)
    ]


def compare(
    before: Sequence[Prediction], after: Sequence[Prediction], metric: Metric
) -> dict[str, Any]:
    """What changed in `metric`: None for what is not defined (no rows; McNemar's p, if not binary).

    `difference` is after - before, with a 95 % `interval`; `gained` and `lost` count rows that
    only one of the two answered right (or better); `mcnemar_p` is two-sided.
    """
    if [row["id"] for row in before] != [row["id"] for row in after]:
        raise ValueError("predictions of different rows cannot be paired")
    values = [
        (row_value(metric, a), row_value(metric, b)) for a, b in zip(before, after, strict=True)
    ]
    differences = [b - a for a, b in values if a is not None and b is not None]
    n = len(differences)
    rises, falls = (
        sum(change > 0 for change in differences),
        sum(change < 0 for change in differences),
    )
    gained, lost = (rises, falls) if metric.higher_is_better else (falls, rises)
    return {
        "metric": metric.name,
        "n": n,
        "difference": sum(differences) / n if n else None,
        "interval": bootstrap_interval(differences),
        "gained": gained,
        "lost": lost,
        "mcnemar_p": mcnemar_p(gained, lost) if n and metric.binary else None,
    }


@cache
def mcnemar_p(gained: int, lost: int) -> float:
    """The exact two-sided p-value; 1.0 when nothing changed. Cached: sweeps repeat small counts.

    >>> round(mcnemar_p(9, 1), 4)
    0.0215
    """
    from statsmodels.stats.contingency_tables import mcnemar

    return float(mcnemar([[0, gained], [lost, 0]], exact=True).pvalue)


def wilcoxon_p(differences: np.ndarray) -> float:
    """The two-sided p-value of a shift; 1.0 where no row differs."""
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences).pvalue) if differences.any() else 1.0
