"""Metrics of answers that are graded by criteria: HealthBench's score and its parts.

Source: simple-evals, healthbench_eval.py (Arora et al. 2025, https://arxiv.org/abs/2505.08775).
A criterion without a verdict is neither met nor unmet here, where the source asks on for ever.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from medgrpo.dataset.rubric import Criterion
from medgrpo.metrics.base import RowMetric
from medgrpo.metrics.prediction import Prediction

COVERAGE = 0.8  # least share of the positive points that has to be graded
RESAMPLES = 1000  # as the source draws
_LEVELS = ("level:",)  # tags that say how a criterion came about, not what it is about


def rubric_score(points: Sequence[float], met: Sequence[bool | None]) -> float | None:
    """Points of the criteria that are met, over the positive points; may be below 0.

    None where nothing can earn points, and where too little is graded: less than `COVERAGE` of the
    positive points, or not every criterion of points below 0. What is not graded leaves the sum.

    >>> rubric_score([7, 5, 10, -6], [True, False, True, True])
    0.5
    >>> rubric_score([7, 5, 10, -6], [True, False, True, None]) is None
    True
    """
    pairs = list(zip(points, met, strict=True))
    positive = math.fsum(point for point in points if point > 0)
    graded = math.fsum(point for point, one in pairs if point > 0 and one is not None)
    if not positive or graded < COVERAGE * positive:
        return None
    if any(point < 0 and one is None for point, one in pairs):
        return None
    return math.fsum(point for point, one in pairs if one) / graded


def dump_grades(criteria: Sequence[Criterion], met: Sequence[bool | None]) -> str:
    """Criteria and whether each is met (None: no verdict), as JSON."""
    pairs = zip(criteria, met, strict=True)
    return json.dumps([{**asdict(one), "met": found} for one, found in pairs], ensure_ascii=False)


class _Graded(RowMetric):
    """About rows whose criteria a judge has graded, enough of them for a score."""

    graded = True  # computed from verdicts on criteria, which a grader gives

    def about(self, row: Prediction) -> bool:
        return _score(row) is not None

    def _share(self, row: Prediction, *, faults: bool) -> float | None:
        """Of the criteria that are faults, or are none, how many are met; None for none graded."""
        met = [
            one["met"]
            for one in _grades(row)
            if (one["points"] < 0) == faults and one["met"] is not None
        ]
        return sum(met) / len(met) if met else None


class RubricScore(_Graded):
    """The mean of the rows' scores, which may be below 0, clipped to [0, 1] as a mean.

    Its interval is the bootstrap's over rows, each mean clipped, as the source draws it.
    """

    label = "rubric score"

    def value(self, row: Prediction) -> float | None:
        return _score(row)

    def aggregate(self, rows: Sequence[Prediction]) -> float | None:
        mean = super().aggregate(rows)
        return None if mean is None else min(1.0, max(0.0, mean))

    def interval(self, rows: Sequence[Prediction]) -> tuple[float, float] | None:
        """95 %, by percentiles; None for less than two rows."""
        means = self._means(rows)
        return None if means is None else (means[25], means[-26])

    def details(self, rows: Sequence[Prediction]) -> dict[str, Any]:
        """`bootstrap_std`, which the source reports, and `tags`: the same score on each axis.

        A tag's score is the formula on the criteria that have it; rows without positive points
        among these are skipped.
        """
        means = self._means(rows)
        std = means and math.sqrt(math.fsum((m - _mean(means)) ** 2 for m in means) / len(means))
        found: dict[str, list[float]] = {}
        for row in rows:
            grades = _grades(row)
            tags = {tag for one in grades for tag in one["tags"] if not tag.startswith(_LEVELS)}
            for tag in tags:
                score = _of([one for one in grades if tag in one["tags"]])
                if score is not None:
                    found.setdefault(tag, []).append(score)
        tagged = {
            tag: {"n": len(scores), "score": min(1.0, max(0.0, _mean(scores)))}
            for tag, scores in sorted(found.items())
        }
        return {"bootstrap_std": std, "tags": tagged}

    def _means(self, rows: Sequence[Prediction]) -> list[float] | None:
        """Clipped means of resampled rows, in ascending order."""
        import numpy as np

        scores = np.array([score for row in rows if (score := _score(row)) is not None])
        if len(scores) < 2:
            return None
        rng = np.random.default_rng(0)
        means = [rng.choice(scores, len(scores)).mean() for _ in range(RESAMPLES)]
        return sorted(np.clip(means, 0, 1).tolist())


class UnclippedScore(_Graded):
    """The same mean before it is clipped: a system of faults alone is below 0 here, and 0 there."""

    label = "rubric score, unclipped"

    def value(self, row: Prediction) -> float | None:
        return _score(row)


class CriteriaMet(_Graded):
    """Share of a row's criteria that are met, of those that are no faults."""

    label = "criteria met"

    def value(self, row: Prediction) -> float | None:
        return self._share(row, faults=False)


class FaultsCommitted(_Graded):
    """Share of a row's faults (criteria of points below 0) that are committed."""

    label, higher_is_better = "faults committed", False

    def value(self, row: Prediction) -> float | None:
        return self._share(row, faults=True)


class UngradedRate(_Graded):
    """Share of the rows that have a rubric and no score, for want of verdicts."""

    label, column, higher_is_better = "ungraded rate", None, False

    def about(self, row: Prediction) -> bool:
        return any(one["points"] > 0 for one in _grades(row))

    def value(self, row: Prediction) -> float:
        return float(_score(row) is None)


def _score(row: Prediction) -> float | None:
    return _of(_grades(row))


def _of(grades: Sequence[dict[str, Any]]) -> float | None:
    return rubric_score([one["points"] for one in grades], [one["met"] for one in grades])


def _grades(row: Prediction) -> list[dict[str, Any]]:
    return _loaded(row.get("criteria") or "[]")


@lru_cache(maxsize=4096)
def _loaded(text: str) -> list[dict[str, Any]]:
    return json.loads(text)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
