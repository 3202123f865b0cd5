"""A sweep, or any set of runs, on one page: which setting is best, and is it really better?

`compare` reads run folders and nothing else, so it works without an account, a network or the
libraries that trained. Runs that failed or never ended stand beside the others.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from medgrpo.compare.answers import Question, check_answers, most_disputed, read_answers
from medgrpo.compare.records import RunRecord, read_records
from medgrpo.compare.settings import Setting, add_contrasts, group_settings
from medgrpo.compare.statistics import PairedTest, paired_tests, value_of, varying_keys
from medgrpo.rundir import replacing


@dataclass
class Comparison:
    """Runs, ranked within each test set, and what their results allow to conclude.

    Settings are ranked, by the mean of their seeds (on validation rows, where all have some): seeds
    are never ranked against each other.
    """

    jobs: list[RunRecord]
    ranks: list[int | None]  # its setting's: 1 is the best of a test set; None without a score
    keys: list[str]  # in which the runs differ
    settings: list[Setting]  # the best of each test set first, as `jobs` are
    unlike: dict[str, tuple[int, int]]  # see `Answers.unlike`: their runs have no ranks
    pairs: list[PairedTest]  # places are those of `jobs`
    questions: list[Question]

    @property
    def hypotheses(self) -> int:
        """How many settings are set against a baseline: the family that p-values correct for."""
        return sum(setting.p_holm is not None for setting in self.settings)

    @property
    def sets(self) -> list[str]:
        """The sets of the runs' suites, in their order, their mean last."""
        found = dict.fromkeys(name for job in self.jobs for name in job.suite)
        return sorted(found, key=lambda name: name == "macro")

    def rows(self) -> list[dict[str, Any]]:
        """A flat row a run, None for what is not known: the columns of comparison.csv."""
        rewards = sorted({name for job in self.jobs for name in job.effective})
        sets, more = self.sets, list(dict.fromkeys(key for job in self.jobs for key in job.more))
        return [
            {
                "rank": rank,
                "run": job.name,
                "status": job.status,
                "test_set": job.test_set,
                **{key: value_of(job, key) for key in self.keys},
                "metric": job.metric,
                "higher_is_better": None if job.score is None else job.spec.higher_is_better,
                "score": job.score,
                "score_low": job.interval and job.interval[0],
                "score_high": job.interval and job.interval[1],
                "rows": job.rows,
                "validation_score": job.selection,
                "validation_rows": job.selection_rows,
                **{f"suite/{name}": job.suite.get(name) for name in sets},
                **{f"metric/{label}": job.more.get(label) for label in more},
                "unparsed_rate": job.unparsed_rate,
                "reward": job.reward,
                **{f"effective_weight.{name}": job.effective.get(name) for name in rewards},
                "judge_cost": job.judge_cost,
                "wall_seconds": job.wall_seconds,
                "error": " ".join(job.error.split()),
                "folder": str(job.path),
            }
            for job, rank in zip(self.jobs, self.ranks, strict=True)
        ]

    def write_csv(self, path: Path) -> None:
        """Write `rows` as CSV."""
        rows = self.rows()
        with (
            replacing(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(map(cell, rows[0]))
            writer.writerows(map(cell, row.values()) for row in rows)


def cell(value: Any) -> Any:
    r"""`value` as a spreadsheet shows it and does not calculate it (OWASP, "CSV Injection").

    >>> [cell(v) for v in ('=HYPERLINK("http://x")', "-0.5", "lora.r=8", -0.5)]
    ['\'=HYPERLINK("http://x")', '-0.5', 'lora.r=8', -0.5]
    """
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def compare(folders: Sequence[str | os.PathLike[str]]) -> Comparison:
    """Compare every run in or below `folders`. UserError where there is none."""
    settings = group_settings([check_answers(job) for job in read_records(folders)])
    jobs = [job for setting in settings for job in setting.jobs]
    jobs.sort(key=lambda job: (job.test_set, job.score is None))  # those without a score last
    answers = read_answers(jobs)
    add_contrasts(settings, jobs, answers)
    unlike = answers.unlike(jobs)
    merits = answers.scores * [[1 if job.spec.higher_is_better else -1] for job in jobs]
    return Comparison(
        jobs=jobs,
        ranks=_ranks(jobs, settings, unlike),
        keys=varying_keys(jobs),
        settings=settings,
        unlike=unlike,
        pairs=paired_tests(merits, [job.test_set for job in jobs], answers.exact),
        questions=most_disputed(jobs, answers),
    )


def _ranks(
    jobs: Sequence[RunRecord], settings: Sequence[Setting], unlike: Collection[str]
) -> list[int | None]:
    """The rank of each run's setting; equal means share one. None where test sets are `unlike`."""
    ranks: dict[int, int] = {}
    for _, rivals in groupby(settings, key=lambda setting: setting.test_set):
        members = list(rivals)
        merits = [setting.merit for setting in members]
        for setting, merit in zip(members, merits, strict=True):
            ranks |= dict.fromkeys(map(id, setting.jobs), 1 + merits.index(merit))  # best first
    return [None if job.score is None or job.test_set in unlike else ranks[id(job)] for job in jobs]
