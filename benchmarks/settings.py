"""How often are settings told apart that do not differ? `python benchmarks/settings.py [SWEEPS]`.

Simulated sweeps (5,000 a cell, no model; a few minutes): settings x seeds x rows, each row with a
difficulty of its own, each trained model with a level of its own. Prints the share of sweeps with
at least one false claim by the rule of medgrpo.compare, which must be at most 6 % in every cell; by
the crossed interval alone, by the t test of the seeds alone, by a test over rows alone; and the
power: how often a setting that is 10 points better is claimed to be. The last three cells show why
the t test of the seeds is not enough: settings that are equal on average, each with rows of its own
that it answers better. Exit code 1 when a cell misses its 6 %.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import norm

from medgrpo.metrics.settings import LEVEL, contrast, holm

ACCURACY, GAIN = 0.6, 0.1  # of all settings; of the better one
DIFFICULTY = 1.5  # standard deviation over rows, in log-odds
MOST = 0.06  # false claims
RULES = ("claims", "crossed", "seeds t", "rows")
AT_ONCE = 100  # sweeps


class Cell(NamedTuple):
    """One kind of sweep."""

    settings: int  # the first is the baseline
    seeds: int
    rows: int
    deviation: float  # of the models' accuracies, between seeds
    own: float = 0.0  # deviation of what a setting adds to a row, in log-odds


CELLS = [
    *map(Cell._make, product((2, 4), (3, 5), (200, 1000), (0.0, 0.017, 0.04), (0.0,))),
    *(Cell(*size, 200, 0.0, 1.0) for size in ((2, 3), (2, 5), (4, 5))),
]


def accuracy(level: float) -> float:
    """Mean share of right answers at a level in log-odds, over the difficulties of rows."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    return float(expit(level + DIFFICULTY * nodes) @ weights / weights.sum())


def level_of(share: float) -> float:
    """The level that has this accuracy."""
    return float(brentq(lambda level: accuracy(level) - share, -9, 9))


def sweeps(count: int, cell: Cell, gain: float) -> Iterator[np.ndarray]:
    """Right (1) and wrong (0) answers, [sweeps, settings, seeds, rows] at a time.

    The second setting is better by `gain`. Each cell has its own random numbers, always the same.
    """
    settings, seeds, rows, deviation, own = cell
    random = np.random.default_rng(zlib.crc32(f"{cell} {gain}".encode()))
    level = level_of(ACCURACY)
    slope = (accuracy(level + 0.01) - accuracy(level - 0.01)) / 0.02
    better = np.zeros((settings, 1, 1))
    better[1] = level_of(ACCURACY + gain) - level
    for _ in range(0, count, AT_ONCE):
        difficulty = random.normal(level, DIFFICULTY, (AT_ONCE, 1, 1, rows))
        row = random.normal(0, own, (AT_ONCE, settings, 1, rows))
        model = random.normal(0, deviation / slope, (AT_ONCE, settings, seeds, 1))
        odds = difficulty + better + row + model
        yield (random.random(odds.shape) < expit(odds)).astype(float)


def claims(values: np.ndarray) -> dict[str, np.ndarray]:
    """By rule, which settings are claimed to differ from the first: [sweeps, settings - 1]."""
    found = contrast(values[:, :1], values[:, 1:])
    by_row = values[:, 1:].mean(-2) - values[:, :1].mean(-2)
    error = by_row.std(-1, ddof=1) / by_row.shape[-1] ** 0.5
    p_rows = 2 * norm.sf(np.abs(by_row.mean(-1)) / np.maximum(error, 1e-12))
    p_values = (found.p, found.p_crossed, found.p_seeds, p_rows)
    return {rule: holm(p) < LEVEL for rule, p in zip(RULES, p_values, strict=True)}


def shares(count: int, cell: Cell, gain: float = 0.0) -> dict[str, float]:
    """By rule, the share of sweeps with a claim; with a `gain`, about the better setting."""
    said: dict[str, list[np.ndarray]] = {}
    for values in sweeps(count, cell, gain):
        for rule, claimed in claims(values).items():
            said.setdefault(rule, []).append(claimed[:, 0] if gain else claimed.any(-1))
    return {rule: float(np.concatenate(parts).mean()) for rule, parts in said.items()}


def main(count: int) -> int:
    names = ("settings", "seeds", "rows", "seed sd", "own rows", *RULES, "power")
    print(" ".join(f"{name:>8}" for name in names))
    worst = 0.0
    for cell in CELLS:
        false = shares(count, cell)
        power = shares(count, cell, GAIN)["claims"]
        sizes = " ".join(f"{size:8}" for size in cell[:3])
        rates = " ".join(f"{false[rule]:8.1%}" for rule in RULES)
        print(f"{sizes} {cell.deviation:8.1%} {cell.own:8} {rates} {power:8.1%}", flush=True)
        worst = max(worst, false["claims"])
    print(f"{'holds' if worst <= MOST else 'FAILS'}  false claims {worst:.1%}, at most {MOST:.0%}")
    return 0 if worst <= MOST else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000))
