"""Evidently's HTML report of tuned against base, on the same held-out answers (opt-in)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import medgrpo.judge  # noqa: F401 (first: it turns Evidently's telemetry off)
from medgrpo.metrics.base import Metric, row_value
from medgrpo.metrics.prediction import Prediction
from medgrpo.rundir import replacing


def write_evidently_report(
    before: Sequence[Prediction],
    after: Sequence[Prediction],
    metrics: Mapping[str, Metric],
    path: Path,
) -> None:
    """Write the report at `path`, with the mean and the drift of each metric of an answer.

    Nothing is written for less than two rows, for which Evidently has no statistics.
    """
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import MeanValue, ValueDrift

    if len(after) < 2:
        return
    tables = [
        pd.DataFrame([_values(row, metrics) for row in stage], dtype=float)
        for stage in (after, before)
    ]
    columns = [name for name in tables[0] if all(table[name].notna().all() for table in tables)]
    definition = DataDefinition(numerical_columns=columns)
    tuned, base = (Dataset.from_pandas(table[columns], definition) for table in tables)
    shown = [measure(column=name) for name in columns for measure in (MeanValue, ValueDrift)]
    report = Report(shown).run(current_data=tuned, reference_data=base)
    with replacing(path) as temporary:
        report.save_html(str(temporary))


def _values(row: Prediction, metrics: Mapping[str, Metric]) -> dict[str, float | None]:
    """What one answer is worth; columns with gaps are left out of the report."""
    return {
        **{name: row_value(metric, row) for name, metric in metrics.items()},
        **{f"reward/{name}": score for name, score in row["rewards"].items()},
    }
