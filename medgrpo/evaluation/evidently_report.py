"""Evidently's HTML report of tuned against base, on the same held-out answers (opt-in)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import medgrpo.judge  # noqa: F401 (first: it turns Evidently's telemetry off)
from medgrpo.evaluation.score import Prediction
from medgrpo.rundir import replacing


def write_evidently_report(
    before: Sequence[Prediction], after: Sequence[Prediction], path: Path
) -> None:
    """Write the report at `path`, with the mean and the drift of each figure of an answer.

    Nothing is written for less than two rows, for which Evidently has no statistics.
    """
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import MeanValue, ValueDrift

    if len(after) < 2:
        return
    tables = [pd.DataFrame(map(_figures, stage)) for stage in (after, before)]
    columns = [name for name in tables[0] if all(table[name].notna().all() for table in tables)]
    definition = DataDefinition(numerical_columns=columns)
    tuned, base = (Dataset.from_pandas(table[columns], definition) for table in tables)
    metrics = [metric(column=name) for name in columns for metric in (MeanValue, ValueDrift)]
    report = Report(metrics).run(current_data=tuned, reference_data=base)
    with replacing(path) as temporary:
        report.save_html(str(temporary))


def _figures(row: Prediction) -> dict[str, Any]:
    """The numbers of one answer; columns with gaps are left out of the report."""
    return {
        "correct": None if row["correct"] is None else float(row["correct"]),
        "list_f1": row["list_f1"],
        "token_f1": row["token_f1"],
        "unparsed": float(row["predicted"] is None),
        "complies": float(row["complies"]),
        "tokens": float(row["tokens"]),
        **{f"reward/{name}": score for name, score in row["rewards"].items()},
    }
