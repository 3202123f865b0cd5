"""Base against tuned on the same rows: is the difference more than chance?

Two intervals that overlap say little, because both models answered the same questions. The test
is McNemar's (1947) in its exact form, which looks only at the rows that one of the two got right;
the interval of the difference is a bootstrap's over rows (Efron 1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from medgrpo.evaluation.score import Prediction, value

RESAMPLES = 10_000


def paired_figures(stages: Mapping[str, Sequence[Prediction]], metric: str) -> list[dict[str, Any]]:
    """Each stage against each earlier one; all have the same rows in the same order."""
    return [
        {"from": first, "to": second, **compare(stages[first], stages[second], metric)}
        for first, second in combinations(stages, 2)
    ]


def compare(
    before: Sequence[Prediction], after: Sequence[Prediction], metric: str
) -> dict[str, Any]:
    """What changed in `metric`: None for what is not defined (no rows; for McNemar, no labels).

    `difference` is after - before, with a 95 % `interval`; `gained` and `lost` count rows that
    only one of the two answered right; `mcnemar_p` is two-sided.
    """
    if [row["id"] for row in before] != [row["id"] for row in after]:
        raise ValueError("predictions of different rows cannot be paired")
    values = [(value(a, metric), value(b, metric)) for a, b in zip(before, after, strict=True)]
    pairs = [(a, b) for a, b in values if a is not None and b is not None]
    differences = [b - a for a, b in pairs]
    gained, lost = (
        sum(change > 0 for change in differences),
        sum(change < 0 for change in differences),
    )
    return {
        "metric": metric,
        "n": len(pairs),
        "difference": sum(differences) / len(pairs) if pairs else None,
        "interval": bootstrap_interval(differences),
        "gained": gained,
        "lost": lost,
        "mcnemar_p": mcnemar_p(gained, lost) if pairs and metric == "accuracy" else None,
    }


def mcnemar_p(gained: int, lost: int) -> float:
    """The exact two-sided p-value; 1.0 when nothing changed.

    >>> round(mcnemar_p(9, 1), 4)
    0.0215
    """
    from statsmodels.stats.contingency_tables import mcnemar

    return float(mcnemar([[0, gained], [lost, 0]], exact=True).pvalue)


def bootstrap_interval(differences: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % percentile interval of the mean over resampled rows; None for less than two."""
    import numpy as np
    from scipy.stats import bootstrap

    if len(differences) < 2:
        return None
    found = bootstrap(
        (np.asarray(differences),), np.mean, n_resamples=RESAMPLES, batch=1000,
        method="percentile", rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
