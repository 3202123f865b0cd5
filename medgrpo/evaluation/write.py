"""What an evaluation leaves behind: evaluation.json and predictions.parquet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medgrpo.evaluation.evidently_report import write_evidently_report
from medgrpo.evaluation.heldout import Result
from medgrpo.evaluation.paired import paired_figures
from medgrpo.rundir import RunFolder


def write_evaluation(
    folder: RunFolder, stages: Mapping[str, Result], metric: str, *, evidently: bool
) -> dict[str, Any]:
    """Write the figures of each stage ("before", ..., "after") and every prediction.

    With `evidently` also its report of the last stage against the first, evidently.html. What the
    stages took goes into the summary.
    Returns what evaluation.json holds: the figures by stage, and under `paired` each stage against
    each earlier one.
    """
    predictions = {name: stage.predictions for name, stage in stages.items()}
    figures: dict[str, Any] = {name: stage.figures for name, stage in stages.items()}
    figures["paired"] = paired_figures(predictions, metric)
    folder.write_json(folder.evaluation, figures)
    seconds = {name: stage.seconds for name, stage in stages.items()}
    folder.update_summary(evaluation_seconds=seconds)
    rows = [row for name, stage in stages.items() for row in stage.rows(name)]
    folder.write_parquet(folder.predictions, rows)
    if evidently:
        write_evidently_report(
            predictions["before"], predictions["after"], folder.path / "evidently.html"
        )
    return figures
