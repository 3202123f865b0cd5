"""What a comparison knows of a run: read from its folder alone, whatever became of the run.

A folder that holds nothing but an offline W&B run (`*.wandb`) is read, too. Nothing here trusts a
run to have ended well: what a missing file would say is not known, and a run with a file that
cannot be read is a row that says so.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medgrpo.compare.wandb_file import read_wandb
from medgrpo.config.resumed import settings
from medgrpo.errors import UserError
from medgrpo.metrics.recorded import Evaluation, MetricSpec
from medgrpo.metrics.suite import read_suite, suite_scores
from medgrpo.rundir import RunFolder
from medgrpo.tracking.metrics_log import (
    is_effective_weight,
    is_reward_mean,
    read_log,
    reward_name,
    tenths,
)

POINTS = 200  # of a curve; more steps are averaged in bins
# beside each reward's own
CURVES = ("reward", "eval_score", "loss", "kl", "entropy", "completions/mean_length")


@dataclass
class RunRecord:
    """One run. None is "not known"; shares are in [0, 1]."""

    path: Path
    # finished | stopped | failed | interrupted | running | killed | not started | damaged
    status: str
    error: str = ""
    config: dict[str, Any] = field(default_factory=dict)  # resolved, its keys dotted
    typed: dict[str, str] = field(default_factory=dict)  # what was typed for it, or swept
    choices: dict[str, str] = field(default_factory=dict)  # config group: file
    metric: str = ""  # what `score` is
    spec: MetricSpec = field(default_factory=lambda: MetricSpec(""))  # how it is shown and compared
    score: float | None = None
    interval: tuple[float, float] | None = None  # 95 %
    rows: int | None = None  # held-out rows
    selection: float | None = None  # the metric of validation rows, for ranking
    selection_rows: int | None = None
    choosing_rows: int | None = None  # of these, that decided which checkpoint remained
    unparsed_rate: float | None = None
    reward: float | None = None  # mean total reward over the last tenth of the logged steps
    judge_cost: float | None = None  # US dollars
    wall_seconds: float | None = None
    suite: dict[str, float | None] = field(default_factory=dict)  # score by set, and `macro`
    more: dict[str, float | None] = field(default_factory=dict)  # metrics asked for, by label
    effective: dict[str, float] = field(default_factory=dict)  # weight by reward, last tenth
    steps: list[int] = field(default_factory=list)  # of the curves
    curves: dict[str, list[float | None]] = field(default_factory=dict)
    name: str = ""  # unique among the compared runs
    number: int = 0  # of the job in its sweep: settings in the order typed

    @property
    def test_set(self) -> str:
        """What the score was measured on. Scores compare within one test set only."""
        source = self.config.get("dataset.source")
        file = Path(self.config.get("dataset.path") or "").name if source == "path" else ""
        dataset = (
            self.choices.get("dataset")
            or str(self.config.get("dataset._target_", "unknown data")).rpartition(".")[2]
        )
        data = f"{dataset} ({' '.join(filter(None, (source, file)))})" if source else dataset
        split = self.config.get("evaluation.split")
        return ", ".join(filter(None, (data, split and f"{split} split", self.metric)))


def read_records(folders: Sequence[str | os.PathLike[str]]) -> list[RunRecord]:
    """Every run in or below `folders`, each once, in the order typed. UserError where none is."""
    found: dict[Path, int] = {}
    for number, folder in enumerate(folders):
        path = Path(folder).absolute()
        if not path.is_dir():
            raise UserError(f"compare: {folder} is no folder")
        below = list(_run_folders(path))
        if not below:
            raise UserError(f"compare: no run in {folder} (no summary.json, .hydra or *.wandb)")
        found = dict.fromkeys(below, number) | found
    root = os.path.commonpath([path.parent for path in found])
    jobs = [_read_job(path) for path in found]
    for job in jobs:
        job.name = str(job.path.relative_to(root))
    return sorted(jobs, key=lambda job: (found[job.path], job.path.parent, job.number))


def _run_folders(folder: Path) -> Iterable[Path]:
    """The run folders at and below `folder`, in the order of their names; none within another."""
    if (folder / "summary.json").exists() or (folder / ".hydra").is_dir():
        return [folder]
    if any(folder.glob("*.wandb")):
        return [folder]
    return (
        run for child in sorted(folder.iterdir()) if child.is_dir() for run in _run_folders(child)
    )


def damaged(job: RunRecord, error: Exception) -> RunRecord:
    """What remains of a run of which a file cannot be read: nothing that could be compared."""
    why = " ".join(f"{type(error).__name__}: {error}".split())
    return RunRecord(job.path, "damaged", f"a file cannot be read ({why})", name=job.name)


def _read_job(path: Path) -> RunRecord:
    from pydantic import TypeAdapter

    try:
        values = vars(_read_run(path))
        return TypeAdapter(RunRecord).validate_python(values)
    except Exception as error:  # whatever another machine, or a full disk, left there
        return damaged(RunRecord(path, ""), error)


def _read_run(path: Path) -> RunRecord:
    folder = RunFolder(path)
    files = sorted(path.glob("*.wandb"))
    if files and not folder.summary_file.exists():
        return _read_wandb_job(path, files[-1])
    summary = folder.read_summary()
    job = RunRecord(path, _status(summary), str(summary.get("error") or ""))
    _read_hydra(job)
    evaluation = Evaluation.read(folder)
    after = evaluation.after
    job.metric = summary.get("primary_metric") or job.config.get("dataset.primary_metric") or ""
    job.spec = evaluation.spec(job.metric)
    job.score = summary.get("score", after.get("primary"))
    job.interval = after.get(f"{job.metric}_interval")
    job.rows, job.unparsed_rate = after.get("n"), after.get("unparsed_rate")
    chosen_by, job.choosing_rows = evaluation.selection, evaluation.selection.get("n_choosing")
    job.selection, job.selection_rows = chosen_by.get("primary"), chosen_by.get("n")
    job.suite, job.more = suite_scores(read_suite(folder)), evaluation.more
    job.judge_cost = ((summary.get("judge") or {}).get("total") or {}).get("cost")
    job.wall_seconds = summary.get("wall_seconds")
    _add_curves(job, read_log(folder.metrics))
    return job


def _status(summary: Mapping[str, Any]) -> str:
    """The summary's status; a run that says `running` without a living process was killed."""
    status = str(summary.get("status", "not started"))
    host, _, pid = str(summary.get("process", "")).rpartition(":")
    if status == "running" and host == platform.node() and not _alive(int(pid)):
        return "killed"
    return status


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, so there is one
        return True
    return True


def _read_hydra(job: RunRecord) -> None:
    """What Hydra recorded of the run: config, what was typed, and the choice in each group."""
    hydra = job.path / ".hydra"
    job.typed = dict(map(_split, _yaml(hydra / "overrides.yaml") or []))
    recorded = (_yaml(hydra / "hydra.yaml") or {}).get("hydra") or {}
    choices = (recorded.get("runtime") or {}).get("choices") or {}
    job.choices = {group: str(choice) for group, choice in choices.items() if choice}
    number = (recorded.get("job") or {}).get("num")
    job.number = number if isinstance(number, int) else 0  # "???" outside a sweep
    passport = RunFolder(job.path).settings()
    job.config = passport or settings(_yaml(hydra / "config.yaml") or {})


def _yaml(path: Path) -> Any:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C is ten times as fast
    return yaml.load(path.read_text(), loader) if path.exists() else None


def _split(override: str) -> tuple[str, str]:
    key, _, value = override.partition("=")
    return key.lstrip("+~"), "left out" if key.startswith("~") else value


def _add_curves(job: RunRecord, rows: Sequence[Mapping[str, Any]]) -> None:
    """Curves of at most POINTS points, each the mean of the known values of its bin of steps."""
    by_step: dict[int, dict[str, Any]] = {}
    for row in rows:
        by_step.setdefault(row["step"], {}).update(row)
    rows = list(by_step.values())
    logged: set[str] = set().union(*rows)
    job.reward = (tenths(rows, "reward") or (None, None))[1]
    moved = {n: tenths(rows, n) for n in sorted(filter(is_effective_weight, logged))}
    job.effective = {reward_name(n): ends[1] for n, ends in moved.items() if ends}
    size = -(-len(rows) // POINTS)
    job.steps = [
        rows[min(end, len(rows)) - 1]["step"] for end in range(size, len(rows) + size, size or 1)
    ]
    names = [*CURVES[:1], *sorted(filter(is_reward_mean, logged)), *CURVES[1:]]
    names += sorted(filter(is_effective_weight, logged))
    for name in filter(logged.__contains__, names):
        job.curves[name] = _binned([row.get(name) for row in rows], size)


def _binned(values: Sequence[float | None], size: int) -> list[float | None]:
    """The mean of the known values in each `size` of them, None where there are none.

    >>> _binned([1.0, 3.0, None, 5.0, None], 2)
    [2.0, 5.0, None]
    """
    import numpy as np

    column = np.array(values, dtype=float)
    starts = np.arange(0, len(column), size)
    known = np.isfinite(column)
    sums = np.add.reduceat(np.where(known, column, 0.0), starts)
    counts = np.add.reduceat(known.astype(int), starts)
    return [float(s) / int(n) if n else None for s, n in zip(sums, counts, strict=True)]


def _read_wandb_job(path: Path, file: Path) -> RunRecord:
    """A run of which only W&B's file is there: everything but predictions."""
    run = read_wandb(file)
    status = {None: "killed", 0: "finished"}.get(run.exit_code, "failed")
    job = RunRecord(path, status, config=settings(run.config))
    for key in ("metric", "score", "rows", "unparsed_rate", "judge_cost", "wall_seconds"):
        setattr(job, key, run.summary.get(key, getattr(job, key)))
    direction = run.summary.get("higher_is_better", True)
    job.spec = MetricSpec(job.metric.replace("_", " "), higher_is_better=direction)
    if run.summary.get("score_low") is not None:
        job.interval = (run.summary["score_low"], run.summary["score_high"])
    rows = [
        {"step": row["train/global_step"]}
        | {key.removeprefix("train/").replace("eval/", "eval_"): row[key] for key in row}
        for row in run.history
        if "train/global_step" in row
    ]
    _add_curves(job, rows)
    return job
