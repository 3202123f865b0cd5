"""What a tracker gets at a run's end from its folder: headline metrics, artifacts, plots, tables.

Sent on every way out, so that a run that failed or was interrupted shows what it had. The names
in the summary are those of comparison.csv.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medgrpo.metrics.recorded import Evaluation
from medgrpo.metrics.suite import read_suite, suite_scores
from medgrpo.rundir import RunFolder
from medgrpo.tracking.base import Tracker

log = logging.getLogger(__name__)

MOST_ROWS = 10_000  # of a table, as W&B's own limit; long runs keep fewer completions of each step


@contextmanager
def tracked(
    tracker: Tracker, folder: RunFolder, config: Mapping[str, Any], **description: Any
) -> Iterator[None]:
    """Track the run of `folder` for as long as the block lasts, and mirror the folder at its end.

    `description`: what else `Tracker.start` takes.
    """
    tracker.start(folder, config, **description)
    exit_code = 1
    try:
        yield
        exit_code = 0
    finally:
        try:
            mirror(tracker, folder, config)
        except Exception:  # a full disk, a table that the tracker refuses: the run itself went well
            log.exception("tracking: not all of the run was recorded")
        tracker.finish(exit_code)


def mirror(tracker: Tracker, folder: RunFolder, config: Mapping[str, Any]) -> None:
    """Send what the folder holds by now: a run that was cut short has less."""
    headline = {key: value for key, value in headline_metrics(folder).items() if value is not None}
    tracker.summary(headline)
    _send_artifacts(tracker, folder, {"config": config, **headline})
    for file in sorted((*folder.path.glob("plots/*.png"), *folder.path.glob("*/plots/*.png"))):
        part = file.parent.parent.relative_to(folder.path)
        tracker.image((Path("plots") / part / file.stem).as_posix(), file)
    tables = {
        "completions": _completions(folder),
        "evaluation": _answers(folder),
        "watch": [
            {"reward_name": alarm["name"], **one}
            for alarm in folder.read_watch()
            for one in alarm["completions"]
        ],
    }
    for name, rows in tables.items():
        if rows:
            tracker.table(name, rows)


def headline_metrics(folder: RunFolder) -> dict[str, Any]:
    """Every metric, and what decides between runs; None for what is not known."""
    summary = folder.summary or folder.read_summary()
    evaluation = Evaluation.read(folder)
    after, metric = evaluation.after, summary.get("primary_metric") or ""
    low, high = after.get(f"{metric}_interval") or (None, None)
    return {
        **{name: after.get(name) for name in evaluation.metrics},
        "metric": metric or None,
        "higher_is_better": evaluation.spec(metric).higher_is_better if after else None,
        "score": summary.get("score"),
        "score_low": low,
        "score_high": high,
        "score_before": evaluation.stages.get("before", {}).get("primary"),
        "rows": after.get("n"),
        "unparsed_rate": after.get("unparsed_rate"),
        **{f"suite/{name}": value for name, value in suite_scores(read_suite(folder)).items()},
        "judge_cost": ((summary.get("judge") or {}).get("total") or {}).get("cost"),
    }


def _completions(folder: RunFolder) -> list[dict[str, Any]]:
    """Completions of every logged step, evenly thinned where there are too many."""
    import pyarrow.parquet as pq

    files = sorted(folder.completions.glob("*.parquet"))[:MOST_ROWS]
    a_step = MOST_ROWS // max(1, len(files))
    rows = [row for file in files for row in pq.read_table(file).slice(0, a_step).to_pylist()]
    columns = dict.fromkeys(key for row in rows for key in row)
    return [{key: _cell(row.get(key)) for key in columns} for row in rows]


def _answers(folder: RunFolder) -> list[dict[str, Any]]:
    """A row a held-out question: what was answered at each stage (before, after)."""
    import pyarrow.parquet as pq

    if not folder.predictions.exists():
        return []
    columns = ["stage", "id", "question", "options", "answer", "response", "predicted", "correct"]
    questions: dict[str, dict[str, Any]] = {}
    file = pq.ParquetFile(folder.predictions)
    if not file.metadata.num_rows:  # a table of no row has no column either
        return []
    for row in file.read(columns=columns).to_pylist():
        asked = {key: _cell(row[key]) for key in ("id", "question", "options", "answer")}
        answered = questions.setdefault(json.dumps(asked), asked)
        for key in ("response", "predicted", "correct"):
            answered[f"{row['stage']}: {key}"] = row[key]
    return list(questions.values())[:MOST_ROWS]


def _cell(value: Any) -> Any:
    """A table's column has one simple type: structured values are shown as JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _send_artifacts(tracker: Tracker, folder: RunFolder, metadata: Mapping[str, Any]) -> None:
    """The adapter, an output, which descends from the dataset, an input known by its contents."""
    data = folder.read_passport().get("dataset")
    if data:
        digest = "".join(part["sha256"][:8] for part in data.values())
        with tempfile.TemporaryDirectory() as scratch:
            text = json.dumps(data, indent=2)
            (Path(scratch) / "fingerprint.json").write_text(text, encoding="utf-8")
            tracker.artifact(f"dataset-{digest}", "dataset", Path(scratch), data, used=True)
    if folder.adapter.is_dir():
        tracker.artifact("adapter", "model", folder.adapter, {"dataset": data, **metadata})
