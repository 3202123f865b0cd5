"""HealthBench's score: worked values, and 200 random rubrics by another reading of the formula."""

import random
from fractions import Fraction

import pytest

from medgrpo.dataset.rubric import Criterion
from medgrpo.metrics.compute import compute_metrics
from medgrpo.metrics.rubric import (
    RubricScore,
    UnclippedScore,
    UngradedRate,
    dump_grades,
    rubric_score,
)


def prediction(points, met, tags=()) -> dict:
    criteria = [Criterion(f"c{n}", p, "", tuple(tags)) for n, p in enumerate(points)]
    return {"id": "x", "label": None, "predicted": "x", "votes": [], "group": "", "rewards": {},
            "criteria": dump_grades(criteria, met)}  # fmt: skip


def by_hand(points, met):
    """The same in exact fractions, criterion by criterion."""
    earned = possible = asked = Fraction(0)
    for point, one in zip(points, met, strict=True):
        asked += max(Fraction(point), 0)
        if one is None:
            if point < 0:
                return None
            continue
        possible += max(Fraction(point), 0)
        earned += Fraction(point) * int(one)
    if not asked or possible < Fraction(4, 5) * asked:
        return None
    return float(earned / possible)


def test_worked_values():
    assert rubric_score([7, 5, 10, -6], [True, False, True, True]) == 0.5
    assert rubric_score([5, 5, 3, 1, -2], [True, False, True, False, True]) == pytest.approx(6 / 14)
    assert rubric_score([-3, -2], [True, False]) is None  # nothing can earn points
    assert rubric_score([1.0, 1.0, 0.7, 0.3, 0.9], [True, False, True, False, True]) == (
        pytest.approx(2.6 / 3.9)
    )


def test_random_rubrics_agree():
    rng = random.Random(0)
    scored = 0
    for _ in range(200):
        n = rng.randrange(1, 12)
        points = [rng.choice([-10, -6, -5, -1, 1, 3, 5, 5, 7, 10]) for _ in range(n)]
        met = [rng.choice([True, False, True, False, True, None]) for _ in range(n)]
        expected, found = by_hand(points, met), rubric_score(points, met)
        assert found == (None if expected is None else pytest.approx(expected))
        scored += found is not None
    assert 40 < scored < 190  # both kinds were there


def test_the_mean_is_clipped_and_no_row():
    rows = [([10], [True]), ([10, -14], [True, True]), ([10, -1], [True, True])]
    rows += [([10, -11], [True, True]), ([10, -3], [True, True])]
    found = [prediction(*row) for row in rows]
    metrics = {"rubric_score": RubricScore(name="rubric_score"),
               "unclipped": UnclippedScore(name="unclipped")}  # fmt: skip
    computed = compute_metrics(found, metrics, "rubric_score")
    assert computed["rubric_score"] == pytest.approx((1 - 0.4 + 0.9 - 0.1 + 0.7) / 5)
    low, high = computed["rubric_score_interval"]
    assert 0 <= low < computed["rubric_score"] < high <= 1
    assert computed["rubric_score_details"]["bootstrap_std"] == pytest.approx(0.24, abs=0.03)
    bad = compute_metrics([prediction([5, -9], [False, True])] * 3, metrics, "rubric_score")
    assert (bad["rubric_score"], bad["unclipped"]) == (0, -1.8)


def test_what_is_not_graded_is_counted_and_not_a_zero():
    rows = [prediction([5, -1], [True, False]), prediction([5, -1], [True, None])]
    metrics = {"rubric_score": RubricScore(name="rubric_score"),
               "ungraded_rate": UngradedRate(name="ungraded_rate")}  # fmt: skip
    computed = compute_metrics(rows, metrics, "rubric_score")
    assert (computed["rubric_score"], computed["n_primary"]) == (1, 1)
    assert computed["ungraded_rate"] == 0.5


def test_an_axis_has_the_formula_of_its_criteria():
    rows = [prediction([6, 4], [True, False], ["axis:accuracy", "level:example"])]
    details = RubricScore(name="r").details(rows)
    assert details["tags"] == {"axis:accuracy": {"n": 1, "score": 0.6}}
