"""What sets runs apart: the keys in which they differ, and how two of them answer the same rows.

Settings that differ are found in what was typed, not in all that follows from it (`dataset=medqa`
and not the ten keys of its file). Two runs are compared on the held-out rows that both answered:
McNemar's exact test (McNemar 1947) where answers are right or wrong, Wilcoxon's signed-rank test
where a score is a share. That is about these two trained models, not about their settings. All
pairs are tested, so all p-values are corrected together (Holm 1979).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from medgrpo.compare.records import RunRecord
from medgrpo.metrics.paired import mcnemar_p, wilcoxon_p
from medgrpo.metrics.settings import holm

if TYPE_CHECKING:
    import numpy as np

MOST_EXTRA_KEYS = 8  # settings shown that nobody typed


@dataclass
class PairedTest:
    """Two trained models on the same held-out rows."""

    first: int  # places in the list of runs
    second: int
    rows: int  # answered by both
    first_better: int  # rows
    second_better: int
    p: float
    p_holm: float = 1.0  # corrected for all pairs of the comparison


def value_of(job: RunRecord, key: str) -> str:
    """What a run has for a key that some run's command names.

    A config group's choice, a config value, or what was typed ("-" where the run has none).
    """
    if key in job.choices:
        return job.choices[key]
    if key in job.config:
        return as_text(job.config[key])
    if key in job.typed:
        return job.typed[key].strip("[]").replace(",", "+") or "none"
    return "default" if not job.config or _is_below(job, key) or "." not in key else "-"


def _is_below(job: RunRecord, key: str) -> bool:
    return any(name.startswith(f"{key}.") for name in job.config)


def as_text(value: Any) -> str:
    """A setting as it is shown."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def varying_keys(jobs: Sequence[RunRecord]) -> list[str]:
    """The keys in which the runs differ, in the order in which they were typed."""
    typed = dict.fromkeys(key for job in jobs for key in job.typed)
    keys = [key for key in typed if key not in ("resume", "output_dir") and _differs(jobs, key)]
    twins: dict[tuple[str, ...], list[RunRecord]] = {}
    for job in jobs:
        twins.setdefault(tuple(value_of(job, key) for key in keys), []).append(job)
    untold = dict.fromkeys(
        key for alike in twins.values() for key in differing_settings(alike) if key not in keys
    )
    return keys + list(untold)[:MOST_EXTRA_KEYS]


def _differs(jobs: Sequence[RunRecord], key: str) -> bool:
    return len({value_of(job, key) for job in jobs}) > 1


def differing_settings(jobs: Sequence[RunRecord]) -> list[str]:
    """The config keys that are not the same in all of these runs (of those that have a config).

    A run of a version that did not know a group yet does not differ in it.
    """
    known = [job.config for job in jobs if job.config]
    groups = [{_group(key) for key in config} for config in known]
    keys = dict.fromkeys(key for config in known for key in config)

    def differs(key: str) -> bool:
        knowing = [c for c, of in zip(known, groups, strict=True) if _group(key) in of]
        return len({as_text(config.get(key)) for config in knowing}) > 1

    return [key for key in keys if differs(key)]


def _group(key: str) -> str:
    return key.partition(".")[0]


def paired_tests(
    scores: np.ndarray, groups: Sequence[str], exact: Sequence[bool]
) -> list[PairedTest]:
    """Every pair of runs of one group, with p-values corrected over all of them.

    `scores` [runs, rows]: the higher the better, NaN where a run has no such row; `groups` name
    what a run was measured on; the answers of `exact` runs are right or wrong.
    """
    import numpy as np

    tests = [
        test
        for first, second in combinations(range(len(groups)), 2)
        if groups[first] == groups[second]
        for test in _paired_test(scores, first, second, exact[first] and exact[second])
    ]
    corrected = holm(np.array([test.p for test in tests]))
    for test, p_holm in zip(tests, corrected.tolist(), strict=True):
        test.p_holm = p_holm
    return tests


def _paired_test(scores: np.ndarray, first: int, second: int, exact: bool) -> Iterator[PairedTest]:
    import numpy as np

    difference = scores[first] - scores[second]
    difference = difference[np.isfinite(difference)]
    if not len(difference):
        return
    better, worse = int((difference > 0).sum()), int((difference < 0).sum())
    p = mcnemar_p(better, worse) if exact else wilcoxon_p(difference)
    yield PairedTest(first, second, len(difference), better, worse, p)
