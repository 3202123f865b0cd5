"""What a W&B run gets at its end from the run's folder: tables, artifacts and the headline metrics.

Written on every way out, so that a run that failed or was interrupted shows what it had. The names
in the summary are those of comparison.csv. The dataset is an input of the run and the adapter an
output: that is the lineage which W&B draws.
"""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgrpo.metrics.recorded import Evaluation
from medgrpo.rundir import RunFolder

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)

MOST_ROWS = 10_000  # of a table, as W&B's own limit; long runs keep fewer completions of each step
STEP = "train/global_step"


def mirror(run: wandb.Run, folder: RunFolder) -> None:
    """Log what the folder holds by now: a run that was cut short has less."""
    run.summary.update({key: v for key, v in headline_metrics(folder).items() if v is not None})
    _log_artifacts(run, folder)
    if run.offline or _answers_now(run.settings.base_url):
        _log_tables(run, folder)
    else:  # wandb asks the server before it logs a table, and waits for it
        log.warning("W&B: no answer, so without the tables of completions and answers")


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
        "judge_cost": ((summary.get("judge") or {}).get("total") or {}).get("cost"),
    }


def _answers_now(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=3).close()
    except urllib.error.HTTPError:  # an answer
        return True
    except OSError:
        return False
    return True


def _log_tables(run: wandb.Run, folder: RunFolder) -> None:
    import wandb

    tables = {"completions": _completions(folder), "evaluation": _answers(folder)}
    logged = {
        name: wandb.Table(columns=list(rows[0]), data=[list(row.values()) for row in rows])
        for name, rows in tables.items()
        if rows
    }
    if logged:
        summary: Any = run.summary
        step = summary.get(STEP)
        run.log(logged if step is None else {STEP: step, **logged})
    for table in logged.values():  # in a file by now; W&B holds on to the tables of 100 runs
        table.data.clear()


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
    for row in pq.read_table(folder.predictions, columns=columns).to_pylist():
        asked = {key: _cell(row[key]) for key in ("id", "question", "options", "answer")}
        answered = questions.setdefault(json.dumps(asked), asked)
        for key in ("response", "predicted", "correct"):
            answered[f"{row['stage']}: {key}"] = row[key]
    return list(questions.values())[:MOST_ROWS]


def _cell(value: Any) -> Any:
    """A table's column has one simple type: structured values are shown as JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _log_artifacts(run: wandb.Run, folder: RunFolder) -> None:
    import wandb

    data = _json(folder, folder.passport.name).get("dataset")
    if data:
        digest = "".join(part["sha256"][:8] for part in data.values())
        dataset = wandb.Artifact(f"dataset-{digest}", type="dataset", metadata=data)
        with dataset.new_file("fingerprint.json") as written:
            json.dump(data, written, indent=2)
        _publish(run, dataset, used=True)
    if folder.adapter.is_dir():
        config = {key: value for key, value in dict(run.config).items() if key != "_wandb"}
        told = {"dataset": data, "config": config, **headline_metrics(folder)}
        adapter = wandb.Artifact(f"adapter-{run.id}", type="model", metadata=told)
        for file in sorted(filter(Path.is_file, folder.adapter.rglob("*"))):  # add_dir prints
            adapter.add_file(str(file), name=str(file.relative_to(folder.adapter)))
        _publish(run, adapter)


def _publish(run: wandb.Run, artifact: wandb.Artifact, used: bool = False) -> None:
    """Log an artifact, or (`used`) use it. W&B's own calls wait for the server; this does not."""
    artifact.finalize()
    interface = run._interface
    assert interface is not None
    interface.publish_artifact(
        run, artifact, ["latest"], is_user_created=True, use_after_commit=used
    )


def _json(folder: RunFolder, name: str) -> dict[str, Any]:
    file = folder.path / name
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
