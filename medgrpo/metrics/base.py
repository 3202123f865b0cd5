"""What a metric is, and what everything that computes, tests or shows one asks of it.

A run's metrics are the config group `metrics`, keyed by name; medgrpo/metrics/table.py holds the
shipped ones. What a run folder records of them for its readers is in medgrpo/metrics/recorded.py.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from medgrpo.errors import UserError
from medgrpo.metrics.prediction import Prediction


class Metric(Protocol):
    """One number that says what held-out answers are like. `RowMetric` has a default for each."""

    name: str  # its key in `metrics`, in evaluation.json and in dataset.primary_metric
    label: str  # in tables; "": the name
    digits: int  # shown after the point
    higher_is_better: bool  # decides ranks, gains and losses, and the best checkpoint
    binary: bool  # an answer is right (1) or wrong (0): Wilson's interval, McNemar's test
    for_texts: bool  # repeats the accuracy where all rows have a label: not shown there

    @property
    def column(self) -> str | None:
        """Of predictions.parquet, holds the value of each row; None: not stored."""

    def about(self, row: Prediction) -> bool:
        """Whether it says anything of this row."""

    def value(self, row: Prediction) -> float | None:
        """What one row that it is about is worth; None where only many rows have a value."""

    def aggregate(self, rows: Sequence[Prediction]) -> float | None:
        """The metric of rows (one or more) that it is about; None or NaN: not defined."""


class RowMetric:
    """The mean of what each row is worth: subclass it and write `value`."""

    label = ""
    digits = 3
    higher_is_better = True
    binary = False
    for_texts = False
    asks: str | None = None  # a switch of `evaluation`, without which no row has a value

    def __init__(self, *, name: str = "") -> None:
        self.name = name

    @property
    def column(self) -> str | None:
        return f"metric/{self.name}"

    def about(self, row: Prediction) -> bool:
        return True

    def value(self, row: Prediction) -> float | None:
        return None

    def aggregate(self, rows: Sequence[Prediction]) -> float | None:
        values = [value for row in rows if (value := self.value(row)) is not None]
        return sum(values) / len(values) if values else None


def row_value(metric: Metric, row: Prediction) -> float | None:
    """What the row is worth; None for one that the metric is not about, or that has no value."""
    return _defined(metric.value(row)) if metric.about(row) else None


def aggregate(metric: Metric, predictions: Sequence[Prediction]) -> float | None:
    """The metric of those predictions that it is about; None where there is none."""
    rows = [row for row in predictions if metric.about(row)]
    return _defined(metric.aggregate(rows)) if rows else None


def column_of(metric: Metric, primary_metric: str) -> str | None:
    """The column of predictions.parquet with its row values: the primary metric always has one."""
    return metric.column or (f"metric/{metric.name}" if metric.name == primary_metric else None)


def require(metrics: Mapping[str, Metric], primary_metric: str) -> Metric:
    """The metric that decides between runs. UserError where there is none of that name.

    The config is checked when it is composed; a dataset may still bring a name of its own.
    """
    if primary_metric not in metrics:
        known = ", ".join(metrics)
        raise UserError(f"dataset.primary_metric: no metric is called {primary_metric!r}: {known}")
    return metrics[primary_metric]


def require_grader(metric: Metric, *, given: bool) -> None:
    """UserError where a metric is computed from verdicts on criteria, and nothing gives them."""
    if getattr(metric, "graded", False) and not given:
        raise UserError(
            f"dataset.primary_metric: {metric.name} is computed from verdicts on criteria: add "
            "grader=rubric"
        )


def require_answers(metrics: Mapping[str, Metric], evaluation: object) -> None:
    """UserError where a metric is of answers that `evaluation` does not ask for: see `asks`."""
    for metric in metrics.values():
        asks = getattr(metric, "asks", None)
        if asks and not getattr(evaluation, asks, None) and getattr(evaluation, "limit", None) != 0:
            value = "true" if asks == "option_logprobs" else "4"
            raise UserError(
                f"metrics.{metric.name}: is of answers that nobody asks for: add "
                f"evaluation.{asks}={value}, or leave it out"
            )


def require_rows(metric: Metric, groups: Collection[str], split: str) -> None:
    """UserError where the metric is about a subgroup that none of the rows belongs to."""
    group = getattr(metric, "group", None)
    if group is not None and group not in groups:
        there = ", ".join(sorted(filter(None, groups))) or "no subgroups"
        raise UserError(
            f"dataset.primary_metric: {metric.name} is about {group} rows, and the {split} rows "
            f"that are evaluated have {there}; name another, such as token_f1"
        )


def _defined(number: float | None) -> float | None:
    """JSON has no NaN and no infinity: what is either is not defined."""
    return None if number is None or not math.isfinite(number) else float(number)
