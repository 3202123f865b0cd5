"""The comparison in a terminal: ranked, at 80 columns, with the settings that differ and no others.

Nothing is cut: settings that do not fit as columns stand together in one that folds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.table import Table

from medgrpo.compare.comparison import Comparison
from medgrpo.compare.records import RunRecord
from medgrpo.compare.statistics import value_of
from medgrpo.terminal import console as plain_console
from medgrpo.tracking.names import short_names

COLUMNS = 80
SCORE = "score (95 % CI)"
FIGURES: dict[str, Callable[[RunRecord], str]] = {
    "unparsed": lambda job: "-" if job.unparsed_rate is None else f"{job.unparsed_rate:.0%}",
    "reward": lambda job: "-" if job.reward is None else f"{job.reward:.3f}",
    "judge $": lambda job: "-" if job.judge_cost is None else f"{job.judge_cost:.2f}",
    "time": lambda job: "-" if job.wall_seconds is None else duration(job.wall_seconds),
}


def print_comparison(comparison: Comparison) -> None:
    """Print the ranking of each test set, then what is wrong with the runs that did not finish."""
    console = plain_console()
    console.width = min(COLUMNS, console.width) if not console.is_terminal else console.width
    ranked = list(zip(comparison.ranks, comparison.jobs, strict=True))
    for test_set, members in groupby(ranked, key=lambda pair: pair[1].test_set):
        console.print(_table(test_set, list(members), comparison.keys, console.width))
    for line in conclusions(comparison):
        console.print(line)
    for job in comparison.jobs:
        if job.error:
            console.print(f"{job.name}: {job.status}: {job.error.splitlines()[0]}")


def duration(seconds: float) -> str:
    """
    >>> [duration(s) for s in (7.4, 75, 7600)]
    ['7 s', '1:15', '2:06:40']
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _table(
    test_set: str, ranked: list[tuple[int | None, RunRecord]], keys: list[str], width: int
) -> Table:
    jobs = [job for _, job in ranked]
    keys = [key for key in keys if len({value_of(job, key) for job in jobs}) > 1]
    figures = {name: text for name, text in FIGURES.items() if any(text(j) != "-" for j in jobs)}
    names = short_names(keys)
    wide = [max(map(len, [names[key], *(value_of(job, key) for job in jobs)])) + 1 for key in keys]
    taken = 33 + sum(max(len(name), 6) + 1 for name in figures)  # rank, status, score and figures
    own_columns = taken + sum(wide) <= width
    title = f"{test_set}\nwhat differs: {', '.join(keys) or 'nothing'}"
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("#", justify="right", no_wrap=True)
    for name in names.values() if own_columns else ["settings"]:
        table.add_column(name, overflow="fold")
    table.add_column("status", no_wrap=True)
    for name in (SCORE, *figures):
        table.add_column(name, justify="right", no_wrap=True)
    for rank, job in ranked:
        shown = [value_of(job, key) for key in keys]
        if not own_columns:
            pairs = zip(names.values(), shown, strict=True)
            shown = [" ".join(f"{name}={value}" for name, value in pairs)]
        row = ["-" if rank is None else str(rank), *shown, job.status, score_text(job)]
        table.add_row(*row, *(text(job) for text in figures.values()))
    return table


def score_text(job: RunRecord) -> str:
    """`0.781 (0.72-0.83)`."""
    if job.score is None:
        return "-"
    span = f" ({job.interval[0]:.2f}-{job.interval[1]:.2f})" if job.interval else ""
    return f"{job.score:.3f}{span}"


def conclusions(comparison: Comparison) -> Iterator[str]:
    """How the best run of each test set compares with those behind it."""
    said = set()
    for place, job in enumerate(comparison.jobs):
        if job.test_set in said:
            continue
        said.add(job.test_set)  # the first of a test set is its best
        tests = [test for test in comparison.pairs if place in (test.first, test.second)]
        if not tests:
            continue
        surely = sum(
            test.p_holm < 0.05 and (test.first_better > test.second_better) == (test.first == place)
            for test in tests
        )
        yield (
            f"{job.name}: better than {surely} of {len(tests)} other runs on the same rows "
            "(paired test, p < 0.05 after Holm's correction)"
        )
