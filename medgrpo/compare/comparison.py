"""A sweep, or any set of runs, on one page: which is best, and is it really better?

`compare` reads run folders and nothing else, so it works without an account, a network or the
libraries that trained. Runs that failed or never ended stand beside the others.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgrpo.compare.answers import Question, most_disputed, read_answers
from medgrpo.compare.records import RunRecord, read_records
from medgrpo.compare.statistics import (
    PairedTest,
    SeedGroup,
    paired_tests,
    seed_groups,
    value_of,
    varying_keys,
)
from medgrpo.rundir import replacing


@dataclass
class Comparison:
    """Runs, ranked within each test set, and what their figures allow to conclude."""

    jobs: list[RunRecord]
    ranks: list[int | None]  # 1 is the best of its test set; None without a score
    keys: list[str]  # in which the runs differ
    seeds: list[SeedGroup]
    pairs: list[PairedTest]  # places are those of `jobs`
    questions: list[Question]

    def rows(self) -> list[dict[str, Any]]:
        """A flat row a run, None for what is not known: the columns of comparison.csv."""
        return [
            {
                "rank": rank,
                "run": job.name,
                "status": job.status,
                "test_set": job.test_set,
                **{key: value_of(job, key) for key in self.keys},
                "metric": job.metric,
                "score": job.score,
                "score_low": job.interval and job.interval[0],
                "score_high": job.interval and job.interval[1],
                "rows": job.rows,
                "unparsed_rate": job.unparsed_rate,
                "reward": job.reward,
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
    """`value` as a spreadsheet shows it and does not calculate it (OWASP, "CSV Injection").

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
    jobs = sorted(read_records(folders), key=_order)
    answers = read_answers(jobs)
    return Comparison(
        jobs=jobs,
        ranks=_ranks(jobs),
        keys=varying_keys(jobs),
        seeds=seed_groups(jobs),
        pairs=paired_tests(answers.scores, [job.test_set for job in jobs], answers.exact),
        questions=most_disputed(jobs, answers),
    )


def _order(job: RunRecord) -> tuple[str, float, str]:
    """By test set, the best first, those without a score last."""
    return job.test_set, float("inf") if job.score is None else -job.score, job.name


def _ranks(jobs: Sequence[RunRecord]) -> list[int | None]:
    """Equal scores share a rank."""
    ranks: list[int | None] = []
    for job in jobs:
        rivals = [other.score for other in jobs if other.test_set == job.test_set]
        better = [score for score in rivals if score is not None and score > (job.score or 0)]
        ranks.append(None if job.score is None else 1 + len(better))
    return ranks
