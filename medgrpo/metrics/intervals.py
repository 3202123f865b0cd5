"""How sure a metric is: a share of 50 rows says little, and the number alone does not show it."""

from __future__ import annotations

from collections.abc import Sequence

RESAMPLES = 10_000


def wilson(successes: int, n: int) -> tuple[float, float] | None:
    """The 95 % interval of a share (Wilson 1927), in [0, 1]; None for n = 0: not defined.

    Wilson's holds for few rows and for shares near 0 and 1, where the textbook interval fails.

    >>> [round(bound, 3) for bound in wilson(10, 20)]
    [0.299, 0.701]
    """
    from statsmodels.stats.proportion import proportion_confint

    if n == 0:
        return None
    low, high = proportion_confint(successes, n, alpha=0.05, method="wilson")
    return float(low), float(high)


def bootstrap_interval(differences: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % percentile interval of the mean over resampled rows; None for less than two."""
    import numpy as np
    from scipy.stats import bootstrap

    if len(differences) < 2:
        return None
    result = bootstrap(
        (np.asarray(differences),), np.mean, n_resamples=RESAMPLES, batch=1000,
        method="percentile", rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
