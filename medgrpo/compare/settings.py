"""Settings of a comparison: runs that differ in their seed alone, and what their seeds tell.

Each setting is set against the baseline of its test set: the one that was typed first. All these
hypotheses are one family (Holm 1979). The statistics are in medgrpo/metrics/settings.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from medgrpo.compare.answers import Answers
from medgrpo.compare.records import RunRecord
from medgrpo.metrics.recorded import MetricSpec
from medgrpo.metrics.settings import FEWEST_SEEDS, LEVEL, Contrast, contrast, holm, seed_interval

NO_CLAIM = ("no result", "one seed: nothing about the setting", "two seeds: no claim")  # by seeds


@dataclass
class Setting:
    """Runs on one test set that differ in nothing but their seed."""

    jobs: list[RunRecord]  # in the order in which they were typed
    baseline: Setting | None = None  # None: it is the baseline
    interval: tuple[float, float] | None = None  # 95 % of the mean, over seeds and rows
    contrast: Contrast | None = None  # against the baseline; None where seeds or rows are too few
    p_holm: float | None = None  # of contrast.p, for all settings of the comparison
    by_validation: bool = False  # whether it is ranked by validation, as all of its test set are

    @property
    def test_set(self) -> str:
        """What the scores were measured on."""
        return self.jobs[0].test_set

    @property
    def spec(self) -> MetricSpec:
        """What the scores are."""
        return self.jobs[0].spec

    @property
    def sign(self) -> int:
        """-1 where less is better."""
        return 1 if self.spec.higher_is_better else -1

    @property
    def seeds(self) -> list[RunRecord]:
        """The runs with a score, one a seed: a run that was repeated says nothing more."""
        found: dict[str, RunRecord] = {}
        for job in self.jobs:
            if job.score is not None:
                found.setdefault(str(job.config.get("seed")), job)
        return list(found.values())

    @property
    def mean(self) -> float | None:
        """Of the seeds' scores."""
        scores = [job.score for job in self.seeds if job.score is not None]
        return fmean(scores) if scores else None

    @property
    def selection(self) -> float | None:
        """The mean of the seeds' scores on validation rows, None where one has none."""
        scores = [job.selection for job in self.seeds]
        known = [score for score in scores if score is not None]
        return fmean(known) if known and len(known) == len(scores) else None

    @property
    def merit(self) -> float | None:
        """What it is ranked by: the higher the better."""
        ranked_by = self.selection if self.by_validation else self.mean
        return None if ranked_by is None else self.sign * ranked_by

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation of the seeds' scores; None for one seed."""
        scores = [job.score for job in self.seeds if job.score is not None]
        return stdev(scores) if len(scores) > 1 else None

    @property
    def conclusion(self) -> str:
        """What may be said of the setting: a claim needs FEWEST_SEEDS and both tests."""
        seeds = len(self.seeds)
        if self.baseline is None:
            return NO_CLAIM[seeds] if seeds < 2 else "baseline"
        fewest = min(seeds, len(self.baseline.seeds))
        if fewest < FEWEST_SEEDS:
            return NO_CLAIM[fewest] if fewest == seeds else f"baseline: {NO_CLAIM[fewest]}"
        if self.contrast is None or self.p_holm is None:
            return "no rows in common: no claim"
        if self.p_holm >= LEVEL:
            return "no claim"
        return "better" if self.sign * self.contrast.difference > 0 else "worse"


def group_settings(jobs: Sequence[RunRecord]) -> list[Setting]:
    """The settings of runs given in the order typed, the best of each test set first."""
    found: dict[str, Setting] = {}
    baselines: dict[str, Setting] = {}
    for job in jobs:
        settings = {key: value for key, value in job.config.items() if key != "seed"}
        key = json.dumps([job.test_set, settings or str(job.path)], sort_keys=True)
        setting = found.setdefault(key, Setting([]))
        setting.jobs.append(job)
        baseline = baselines.setdefault(job.test_set, setting)
        setting.baseline = None if baseline is setting else baseline
    for test_set in baselines:
        rivals = [s for s in found.values() if s.test_set == test_set and s.mean is not None]
        for setting in rivals:
            setting.by_validation = all(rival.selection is not None for rival in rivals)
    return sorted(found.values(), key=_order)


def _order(setting: Setting) -> tuple[str, float]:
    merit = setting.merit
    return setting.test_set, float("inf") if merit is None else -merit


def add_contrasts(settings: Sequence[Setting], jobs: Sequence[RunRecord], answers: Answers) -> None:
    """Add to settings what their answers tell; the rows of `answers.scores` are those of `jobs`."""
    import numpy as np

    place = {id(job): number for number, job in enumerate(jobs)}

    def values_of(setting: Setting) -> np.ndarray:  # [seeds, rows]
        return answers.scores[[place[id(job)] for job in setting.seeds]]

    for setting in settings:
        values = values_of(setting)
        own = values[:, np.isfinite(values).all(0)]
        if min(own.shape) > 1:
            setting.interval = seed_interval(own)
        if setting.baseline:
            other = values_of(setting.baseline)
            common = np.isfinite(values).all(0) & np.isfinite(other).all(0)
            if min(len(values), len(other), common.sum()) > 1:
                setting.contrast = contrast(other[:, common], values[:, common])
    family = [(setting, setting.contrast.p) for setting in settings if setting.contrast]
    corrected = holm(np.array([p for _, p in family]))
    for (setting, _), p_holm in zip(family, corrected, strict=True):
        setting.p_holm = float(p_holm)


def ranks_and_scaling_vary_together(jobs: Sequence[RunRecord]) -> bool:
    """Whether no two ranks of LoRA have the same scaling, alpha / r, within a test set."""
    ranks: dict[str, dict[float, set[float]]] = {}
    for job in jobs:
        rank, alpha = job.config.get("lora.r"), job.config.get("lora.alpha")
        if rank and alpha and not job.config.get("lora.use_rslora"):
            ranks.setdefault(job.test_set, {}).setdefault(alpha / rank, set()).add(rank)
    return any(
        len(set().union(*by_scaling.values())) > 1 and max(map(len, by_scaling.values())) == 1
        for by_scaling in ranks.values()
    )
