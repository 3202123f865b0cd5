"""What the results of a comparison allow to say, in words: of settings, and never of one seed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from medgrpo.compare.comparison import Comparison
from medgrpo.compare.records import RunRecord
from medgrpo.compare.settings import Setting, ranks_and_scaling_vary_together
from medgrpo.compare.statistics import value_of
from medgrpo.metrics.settings import FEWEST_SEEDS, LEVEL
from medgrpo.tracking.names import short_names


def conclusions(comparison: Comparison) -> Iterator[str]:
    """Sentences without their full stops."""
    several = len({setting.test_set for setting in comparison.settings}) > 1
    for test_set, members in groupby(comparison.settings, key=lambda setting: setting.test_set):
        about = f"{test_set}: " if several else ""
        for said in _said_of(list(members), comparison.keys, comparison.unlike.get(test_set)):
            yield about + said
    if family := comparison.hypotheses:
        yield (
            f"family of {family} {'hypothesis' if family == 1 else 'hypotheses'}, each setting "
            f"against its baseline (the first value typed): a claim needs {FEWEST_SEEDS} seeds of "
            f"both and p Holm < {LEVEL}, which corrects the larger of p seeds (pooled t of the "
            "seeds) and the p of the crossed interval (seeds and rows)"
        )
    repeated = sum(
        sum(job.score is not None for job in setting.jobs) - len(setting.seeds)
        for setting in comparison.settings
    )
    if repeated:
        yield f"runs that repeat a seed of their setting, and do not count in its mean: {repeated}"
    if ranks_and_scaling_vary_together(comparison.jobs):
        yield (
            "the rank lora.r and the scaling lora.alpha / lora.r vary together: a difference may "
            "be due to either. lora.use_rslora=true, or an alpha that grows with r, tells"
        )


def _said_of(
    settings: Sequence[Setting], keys: Sequence[str], unlike: tuple[int, int] | None
) -> Iterator[str]:
    """Of the settings of one test set; `unlike`: see `Comparison`."""
    if unlike:
        yield (
            "not ranked, for the runs were not asked the same rows, and their scores do not "
            f"compare: all of them share {unlike[0]} of {unlike[1]} rows; differences between "
            "settings, and tests, are of rows in common"
        )
    if len(settings) == 1:
        return
    if not unlike:
        yield _ranked_by(settings)
    if all(len(setting.seeds) < 2 for setting in settings):
        yield (
            "one seed: nothing about the settings. seed=1,2,3 would tell; a test between two runs "
            "is about these two trained models"
        )
        return
    names = differing([setting.jobs[0] for setting in settings], keys)
    baseline = next(setting for setting in settings if not setting.baseline)
    others = [
        f"{label(setting.jobs[0], names)} ({setting.conclusion})"
        for setting in settings
        if setting.baseline
    ]
    yield f"against the baseline {label(baseline.jobs[0], names)}: {', '.join(others)}"


def _ranked_by(settings: Sequence[Setting]) -> str:
    """What the ranks come from, and whether the scores beside them were selected on."""
    jobs = [job for setting in settings for job in setting.seeds]
    if not settings[0].by_validation:
        return (
            "ranked by test scores: the best one's is too high, for it was chosen by it "
            "(sweep.rank_by=validation ranks without)"
        )
    rows = max(job.selection_rows or 0 for job in jobs)
    choosing = max(job.choosing_rows or 0 for job in jobs)
    also = f", of which {choosing} also chose each run's checkpoint" if choosing else ""
    return (
        f"ranked by {rows} validation rows{also}; the scores are of test rows, which nothing was "
        "selected on"
    )


def differing(jobs: Sequence[RunRecord], keys: Sequence[str]) -> dict[str, str]:
    """Those of `keys` in which the runs differ, with short names."""
    return short_names([key for key in keys if len({value_of(job, key) for job in jobs}) > 1])


def label(job: RunRecord, names: Mapping[str, str]) -> str:
    """`r=8 weight=1.0`."""
    return " ".join(f"{name}={value_of(job, key)}" for key, name in names.items())


def p_text(p: float | None) -> str:
    """
    >>> p_text(0.0312), p_text(1e-9), p_text(None)
    ('0.031', '<0.001', '-')
    """
    if p is None or math.isnan(p):
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"
