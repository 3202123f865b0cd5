"""What an evaluation leaves behind: evaluation.json and predictions.parquet."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from medgrpo.evaluation.evidently_report import write_evidently_report
from medgrpo.evaluation.heldout import Result
from medgrpo.metrics.base import Metric, column_of, row_value
from medgrpo.metrics.paired import paired_metrics
from medgrpo.metrics.prediction import Prediction
from medgrpo.metrics.recorded import Evaluation, MetricSpec
from medgrpo.rundir import RunFolder


def write_evaluation(
    folder: RunFolder,
    stages: Mapping[str, Result],
    metrics: Mapping[str, Metric],
    primary_metric: str,
    *,
    evidently: bool,
    selection: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Write the metrics of each stage ("before", ..., "after") and every prediction.

    Where nothing was trained there is "after" alone. `selection` is what a sweep ranks the run by
    (see `Evaluation`). With `evidently` also its report of the last
    stage against the first, evidently.html. What the stages took goes into the summary.
    Returns what evaluation.json holds: the metrics by stage, each stage against each earlier one,
    and how each metric is shown.
    """
    evaluation = write_stages(folder, stages, metrics, primary_metric, selection or {})
    seconds = {name: stage.seconds for name, stage in stages.items()}
    folder.update_summary(evaluation_seconds=seconds)
    if evidently and len(stages) > 1:
        before, after = stages["before"].predictions, stages["after"].predictions
        write_evidently_report(before, after, metrics, folder.path / "evidently.html")
    return evaluation


def write_stages(
    folder: RunFolder,
    stages: Mapping[str, Result],
    metrics: Mapping[str, Metric],
    primary_metric: str,
    selection: Mapping[str, Any] = MappingProxyType({}),
) -> Evaluation:
    """Write evaluation.json and predictions.parquet; returns what the first of them holds."""
    predictions = {name: stage.predictions for name, stage in stages.items()}
    evaluation = Evaluation(
        stages={name: stage.metrics for name, stage in stages.items()},
        paired=paired_metrics(predictions, metrics[primary_metric]),
        metrics={name: MetricSpec.of(m, primary_metric) for name, m in metrics.items()},
        selection=dict(selection),
    )
    evaluation.write(folder)
    columns = {column_of(metric, primary_metric): metric for metric in metrics.values()}
    known = {None, *Prediction.__annotations__}
    added = {column: metric for column, metric in columns.items() if column not in known}
    rows = [
        {**row, **{column: row_value(metric, answer) for column, metric in added.items()}}
        for name, stage in stages.items()
        for row, answer in zip(stage.rows(name), stage.predictions, strict=True)
    ]
    folder.write_parquet(folder.predictions, rows)
    return evaluation
