"""The comparison in a terminal: ranked, at 80 columns, with the settings that differ and no others.

Nothing is cut: settings that do not fit as columns stand together in one that folds. Where settings
have several seeds, a table of settings comes before that of the runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.table import Table

from medgrpo.compare.comparison import Comparison
from medgrpo.compare.conclusions import conclusions, differing, label, p_text
from medgrpo.compare.records import RunRecord
from medgrpo.compare.settings import Setting
from medgrpo.compare.statistics import value_of
from medgrpo.config.progress import clock
from medgrpo.config.terminal import console as plain_console
from medgrpo.metrics.recorded import format_number

COLUMNS = 80
SCORE = "score (95 % CI)"
RESULTS: dict[str, Callable[[RunRecord], str]] = {
    "validation": lambda job: format_number(job.selection, job.spec.digits, "-"),
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
        settings = [setting for setting in comparison.settings if setting.test_set == test_set]
        if any(len(setting.seeds) > 1 for setting in settings):
            console.print(_settings_table(settings, comparison.keys, console.width))
        console.print(_table(test_set, list(members), comparison.keys, console.width))
    if comparison.sets:
        console.print(_suite_table(comparison, console.width))
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
    return f"{seconds:.0f} s" if seconds < 60 else clock(seconds)


def _settings_table(settings: Sequence[Setting], keys: Sequence[str], width: int) -> Table:
    jobs = [setting.jobs[0] for setting in settings]
    table = _empty_table(f"{settings[0].test_set}\nby setting, over seeds and rows", padding=0)
    chosen = ["validation"] * settings[0].by_validation
    cells = _add_settings(table, jobs, differing(jobs, keys), width - 64 - 11 * len(chosen))
    for name in ("seeds", SCORE, *chosen):
        table.add_column(name, justify="right", no_wrap=True)
    if len(settings) > 1:
        table.add_column("difference (95 % CI)", justify="right", max_width=23)
        for name in ("p seeds", "p Holm"):
            table.add_column(name, justify="right", no_wrap=True)
    for setting, shown in zip(settings, cells, strict=True):
        score = _score_text(setting.mean, setting.interval, setting.spec.digits)
        ranked_by = [format_number(setting.selection, setting.spec.digits, "-")] * len(chosen)
        row = [*shown, str(len(setting.seeds)), score, *ranked_by]
        table.add_row(*row, *_contrast_texts(setting) * (len(settings) > 1))
    return table


def _contrast_texts(setting: Setting) -> list[str]:
    """`+0.045 (+0.005, +0.085)`, and p-values; or why there are none."""
    contrast = setting.contrast
    if contrast is None:
        return [setting.conclusion, "", ""]
    ends = (contrast.difference, contrast.low, contrast.high)
    difference = "{} ({}, {})".format(*(f"{end:+.{setting.spec.digits}f}" for end in ends))
    return [difference, p_text(contrast.p_seeds), p_text(setting.p_holm)]


def _table(
    test_set: str, ranked: list[tuple[int | None, RunRecord]], keys: list[str], width: int
) -> Table:
    jobs = [job for _, job in ranked]
    names = differing(jobs, keys)
    results = {name: text for name, text in RESULTS.items() if any(text(j) != "-" for j in jobs)}
    taken = 33 + sum(max(len(name), 6) + 2 for name in results)  # rank, status, score and results
    table = _empty_table(f"{test_set}\nwhat differs: {', '.join(names) or 'nothing'}")
    table.add_column("#", justify="right", no_wrap=True)
    cells = _add_settings(table, jobs, names, width - taken)
    table.add_column("status", no_wrap=True)
    for name in (SCORE, *results):
        table.add_column(name, justify="right", no_wrap=True)
    for (rank, job), shown in zip(ranked, cells, strict=True):
        score = _score_text(job.score, job.interval, job.spec.digits)
        row = ["-" if rank is None else str(rank), *shown, job.status, score]
        table.add_row(*row, *(text(job) for text in results.values()))
    return table


def _suite_table(comparison: Comparison, width: int) -> Table:
    """Of each run with a suite, the score of every set after training."""
    jobs = [job for job in comparison.jobs if job.suite]
    table = _empty_table("suite, each set by its primary metric")
    room = width - sum(max(len(name), 5) + 2 for name in comparison.sets)
    cells = _add_settings(table, jobs, differing(jobs, comparison.keys), room)
    for name in comparison.sets:
        table.add_column(name, justify="right", overflow="fold")
    for job, shown in zip(jobs, cells, strict=True):
        scores = (format_number(job.suite.get(name), missing="-") for name in comparison.sets)
        table.add_row(*shown, *scores)
    return table


def _empty_table(title: str, padding: int = 1) -> Table:
    return Table(box=SIMPLE_HEAD, title=title, title_justify="left", padding=(0, padding, 0, 0))


def _add_settings(
    table: Table, jobs: Sequence[RunRecord], names: Mapping[str, str], room: int
) -> list[list[str]]:
    """Add a column a setting, or one for all if they want more `room`; returns each run's cells."""
    values = [[value_of(job, key) for key in names] for job in jobs]
    columns = list(zip(names.values(), *values, strict=True))
    gap = 1 + table.padding[1]
    if sum(max(map(len, column)) + gap for column in columns) <= room:
        for name in names.values():
            table.add_column(name, overflow="fold")
        return values
    table.add_column("settings", overflow="fold", max_width=max(room - gap, 8))
    return [[label(job, names)] for job in jobs]


def _score_text(score: float | None, interval: tuple[float, float] | None, digits: int) -> str:
    """`0.781 (0.72-0.83)`, with the digits of the metric."""
    span = f" ({interval[0]:.2f}-{interval[1]:.2f})" if interval and score is not None else ""
    return format_number(score, digits, "-") + span
