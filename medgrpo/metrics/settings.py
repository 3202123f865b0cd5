"""Settings, not models: is one setting better than another, or were its seeds and rows luckier?

A test between two runs is about those two trained models. A setting is known by several seeds,
all asked the same rows: `values` are [seeds, rows], a metric's value of each row, mostly in [0, 1]
(axes before those, such as many simulated sweeps, are kept). Luck has two parts: that of the rows,
paired between settings (Miller 2024, arXiv 2411.00640), and that of the seeds, found in the two-way
table of seeds and rows. Degrees of freedom are Satterthwaite's (1946). How often settings are told
apart that do not differ is simulated in benchmarks/settings.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

FEWEST_SEEDS = 3  # of each setting, to claim that they differ
LEVEL = 0.05  # of a claim; intervals are of 1 - LEVEL
TINY = 1e-12  # a variance of this size is rounding


@dataclass
class Contrast:
    """A setting against the baseline: floats, or arrays of the values' leading axes."""

    difference: Any  # setting - baseline
    low: Any  # 95 %, over seeds and rows; within [-1, 1] for values in [0, 1]
    high: Any
    p_crossed: Any  # that of the interval: seeds and rows are both a sample
    p_seeds: Any  # Student's t of the seeds' scores, pooled; NaN where no two seeds differ

    @property
    def p(self) -> Any:
        """The larger of the two: a claim needs both to reject (Berger 1982)."""
        import numpy as np

        return np.fmax(self.p_crossed, self.p_seeds)


def contrast(baseline: np.ndarray, setting: np.ndarray) -> Contrast:
    """Compare two settings, of at least two seeds each, on the same rows, at least two."""
    import numpy as np
    from scipy.stats import t

    rows = baseline.shape[-1]
    by_row = setting.mean(-2) - baseline.mean(-2)
    difference = by_row.mean(-1)
    row_part = _row_variance(by_row)
    seed_part = sum(seed_variance(one) / one.shape[-2] for one in (baseline, setting))
    seed_freedom = baseline.shape[-2] + setting.shape[-2] - 2
    variance = row_part + seed_part
    freedom = variance**2 / (seed_part**2 / seed_freedom + row_part**2 / (rows - 1))
    half = t.ppf(1 - LEVEL / 2, freedom) * np.sqrt(variance)
    most = 1.0 if _are_shares(baseline) and _are_shares(setting) else np.inf
    return Contrast(
        difference,
        np.maximum(difference - half, -most),
        np.minimum(difference + half, most),
        _p_value(difference, variance, freedom),
        _p_value(difference, _pooled_variance(baseline.mean(-1), setting.mean(-1)), seed_freedom),
    )


def holm(p: np.ndarray) -> np.ndarray:
    """p-values [..., hypotheses] corrected for being so many (Holm 1979).

    >>> import numpy as np
    >>> holm(np.array([0.03, 0.004, 0.20, 0.021])).round(3).tolist()
    [0.063, 0.016, 0.2, 0.063]
    """
    import numpy as np

    order = np.argsort(p, -1)
    factors = np.arange(p.shape[-1], 0, -1)
    stepped = np.maximum.accumulate(np.take_along_axis(p, order, -1) * factors, -1)
    corrected = np.empty_like(stepped)
    np.put_along_axis(corrected, order, np.minimum(stepped, 1.0), -1)
    return corrected


def seed_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a setting's mean over seeds and rows, at least two of each.

    Of values in [0, 1] it is Wilson's, for as many rows as would be as uncertain: it stays within
    [0, 1] and is never without width. Of others it is Student's.
    """
    seeds, rows = values.shape
    mean, row_part = float(values.mean()), float(values.mean(0).var(ddof=1)) / rows
    seed_part = float(seed_variance(values)) / seeds
    if _are_shares(values):
        return _wilson(mean, row_part, seed_part, seeds, rows)
    half = _critical(row_part, seed_part, seeds, rows) * (row_part + seed_part) ** 0.5
    return mean - half, mean + half


def seed_variance(values: np.ndarray) -> Any:
    """The variance between seeds beyond what their rows' noise explains, at least 0."""
    import numpy as np

    between, residual = _mean_squares(values)
    return np.maximum(0.0, (between - residual) / values.shape[-1])


def _mean_squares(values: np.ndarray) -> tuple[Any, Any]:
    """Between seeds, and residual, in the two-way table without replication."""
    seeds, rows = values.shape[-2:]
    mean = values.mean((-2, -1), keepdims=True)
    of_seeds = values.mean(-1, keepdims=True) - mean
    residuals = values - of_seeds - values.mean(-2, keepdims=True)
    between = rows * (of_seeds**2).sum((-2, -1)) / (seeds - 1)
    return between, (residuals**2).sum((-2, -1)) / ((seeds - 1) * (rows - 1))


def _row_variance(by_row: np.ndarray) -> Any:
    """The variance of the mean difference over rows.

    Where all rows differ alike (in truth they do not), it is that of two rows more, of which half a
    row is all won and half a row all lost (Agresti and Min 2005).
    """
    import numpy as np

    rows, mean = by_row.shape[-1], by_row.mean(-1)
    smoothed = (rows * mean**2 + 1) / (rows + 2) - (rows * mean / (rows + 2)) ** 2
    variance = by_row.var(-1, ddof=1)
    return np.where(variance > TINY, variance / rows, smoothed / (rows + 2))


def _pooled_variance(baseline: np.ndarray, setting: np.ndarray) -> Any:
    """Of the difference of two means, from the scores of the seeds: [..., seeds]."""
    counts = [scores.shape[-1] for scores in (baseline, setting)]
    squares = baseline.var(-1) * counts[0] + setting.var(-1) * counts[1]
    return squares / (sum(counts) - 2) * sum(1 / count for count in counts)


def _p_value(difference: Any, variance: Any, freedom: Any) -> Any:
    """Two-sided, of Student's t; NaN without variance."""
    import numpy as np
    from scipy.stats import t

    known = variance > TINY
    statistic = np.abs(difference) / np.sqrt(np.where(known, variance, 1.0))
    return np.where(known, 2 * t.sf(statistic, freedom), np.nan)


def _wilson(
    mean: float, row_part: float, seed_part: float, seeds: int, rows: int
) -> tuple[float, float]:
    """Wilson's interval of a mean whose variance is `row_part` + `seed_part`."""
    from scipy.stats import norm
    from statsmodels.stats.proportion import proportion_confint

    effective, alpha = float(rows), LEVEL
    if row_part + seed_part > 0 and 0 < mean < 1:
        effective = mean * (1 - mean) / (row_part + seed_part)
        if seeds < 5:
            alpha = 2 * norm.sf(_critical(row_part, seed_part, seeds, rows))
    low, high = proportion_confint(mean * effective, effective, alpha, method="wilson")
    return max(0.0, float(low)), min(1.0, float(high))


def _critical(row_part: float, seed_part: float, seeds: int, rows: int) -> float:
    """Student's t of the interval, with Satterthwaite's degrees of freedom; 0 without variance."""
    from scipy.stats import t

    if row_part + seed_part == 0:
        return 0.0
    freedom = (row_part + seed_part) ** 2 / (seed_part**2 / (seeds - 1) + row_part**2 / (rows - 1))
    return float(t.ppf(1 - LEVEL / 2, freedom))


def _are_shares(values: np.ndarray) -> bool:
    return bool(values.min() >= 0 and values.max() <= 1)
