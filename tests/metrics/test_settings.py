"""Settings told apart by seeds and rows: worked examples, independent formulas, a simulation."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from scipy.stats import ttest_ind
from statsmodels.stats.proportion import proportion_confint

from medgrpo.metrics import settings
from medgrpo.metrics.settings import contrast, holm, seed_interval, seed_variance

A = np.array([[1, 0, 1, 0], [1, 0, 0, 0]], dtype=float)
B = np.array([[1, 1, 1, 0], [1, 1, 1, 0]], dtype=float)


def noisy(share: float, seeds: int = 3, rows: int = 200, number: int = 0) -> np.ndarray:
    return (np.random.default_rng(number).random((seeds, rows)) < share).astype(float)


def test_two_way_table_of_the_worked_example():
    assert settings._mean_squares(A) == pytest.approx((0.125, 0.125))
    assert settings._mean_squares(B) == pytest.approx((0.0, 0.0))
    assert seed_variance(A) == seed_variance(B) == 0


def test_contrast_of_the_worked_example():
    found = contrast(A, B)
    assert found.difference == pytest.approx(0.375)
    error = 0.239357  # of the rows: no variance between the seeds
    assert (found.low, found.high) == pytest.approx((0.375 - 3.182446 * error, 1.0), abs=1e-5)
    assert found.p_crossed == pytest.approx(0.21517, abs=1e-5)  # t = 1.5667, 3 degrees of freedom
    assert found.p == max(found.p_crossed, found.p_seeds)


def test_t_of_the_seeds_is_the_pooled_one():
    accuracies = [0.446, 0.410, 0.430, 0.498, 0.492], [0.508, 0.504, 0.490, 0.504, 0.494]
    first, second = (
        np.array([[1.0] * round(500 * a) + [0.0] * round(500 - 500 * a) for a in of])
        for of in accuracies
    )
    found = contrast(first, second)
    assert found.difference == pytest.approx(0.0448)
    expected = ttest_ind(accuracies[1], accuracies[0])
    assert expected.statistic == pytest.approx(2.55, abs=0.005)
    assert found.p_seeds == pytest.approx(expected.pvalue)


def test_unequal_numbers_of_seeds():
    first, second = noisy(0.5, seeds=3), noisy(0.6, seeds=5, number=1)
    expected = ttest_ind(second.mean(1), first.mean(1)).pvalue
    assert contrast(first, second).p_seeds == pytest.approx(expected)


def test_variance_between_seeds_widens_the_interval_and_costs_degrees_of_freedom():
    steady = np.array([noisy(0.5, 1, 1000, n)[0] for n in range(3)])
    moved = np.array([noisy(share, 1, 1000, n)[0] for n, share in enumerate((0.4, 0.5, 0.6))])
    assert seed_variance(moved) == pytest.approx(0.01, rel=0.5)
    other = noisy(0.5, 3, 1000, 9)
    few, many = contrast(steady, other), contrast(moved, other)
    assert (many.high - many.low) > 4 * (few.high - few.low)


def test_leading_axes_are_sweeps():
    first, second = noisy(0.5, 12).reshape(4, 3, 200), noisy(0.7, 12, 200, 1).reshape(4, 3, 200)
    together = contrast(first, second)
    for place in range(4):
        alone = contrast(first[place], second[place])
        assert vars(alone) == {
            name: pytest.approx(values[place]) for name, values in vars(together).items()
        }


@pytest.mark.parametrize(("left", "right", "sure"), [(0.0, 1.0, True), (1.0, 1.0, False)])
def test_rows_that_all_differ_alike_leave_some_doubt(left, right, sure):
    found = contrast(np.full((3, 40), left), np.full((3, 40), right))
    assert -1 <= found.low < found.high <= 1
    assert (found.p < 0.001) == sure
    assert found.low <= found.difference <= found.high
    assert np.isnan(found.p_seeds)  # without a spread there is no t


def test_interval_of_the_worked_example():
    low, high = settings._wilson(0.4552, 0.000210, 0.000226, seeds=5, rows=500)
    assert (low, high) == pytest.approx((0.415, 0.496), abs=5e-4)
    expected = proportion_confint(0.4552 * 568, 568, method="wilson")
    assert (low, high) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_seeds_that_are_all_right_are_as_sure_as_their_rows(share):
    low, high = seed_interval(np.full((3, 30), share))
    assert (low, high) == pytest.approx((0.8865, 1.0) if share else (0.0, 0.1135), abs=1e-4)


def test_interval_stays_between_0_and_1_and_has_a_width():
    nearly = np.array(
        [[1.0] * round(1000 * a) + [0.0] * round(1000 - 1000 * a) for a in (0.97, 0.99, 1)]
    )
    alike = np.tile(noisy(0.62, 1, 100), (3, 1))
    for values in (nearly, alike, np.full((3, 20), 0.62), np.array([[0.0] * 9, [1.0] * 9])):
        low, high = seed_interval(values)
        assert 0 <= low < values.mean() < high <= 1
    naive = proportion_confint(62, 100, method="wilson")  # the same answers three times: 100 rows
    low, high = seed_interval(alike)
    assert high - low == pytest.approx(naive[1] - naive[0], rel=0.1)


def test_few_seeds_cost_width():
    values = np.array([noisy(share, 1, 1000, n)[0] for n, share in enumerate((0.4, 0.5, 0.6))])
    low, high = seed_interval(values)
    assert high - low > 2 * 1.96 * (seed_variance(values) / 3) ** 0.5 * 1.5


def test_values_beyond_0_and_1_get_students_interval():
    tokens = 100 * noisy(0.5)
    low, high = seed_interval(tokens)
    assert low < tokens.mean() < high
    assert high - tokens.mean() == pytest.approx(tokens.mean() - low)


def test_holm_by_the_worked_values():
    corrected = holm(np.array([0.004, 0.021, 0.03, 0.20]))
    assert corrected == pytest.approx([0.016, 0.063, 0.063, 0.20])


@pytest.mark.slow
def test_equal_settings_are_told_apart_in_at_most_6_percent_of_sweeps():
    command = [sys.executable, "benchmarks/settings.py"]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    cells = [line.split() for line in done.stdout.splitlines()[1:-1]]
    assert len(cells) == 24 + 3
    assert all(float(false.rstrip("%")) <= 6 for *_, false, _, _, _, _ in cells)
