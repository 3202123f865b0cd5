"""Who answers: the base model, and what each run made of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, open_dict

from medgrpo.config.recomposed import differs, recomposed
from medgrpo.errors import UserError
from medgrpo.metrics.prediction import Prediction
from medgrpo.model.base import Model, ModelSource
from medgrpo.run import Parts
from medgrpo.rundir import RunFolder

log = logging.getLogger(__name__)

BASE, MOST_RUNS = "base", 4


@dataclass
class Column:
    """One that answers."""

    name: str
    cfg: DictConfig
    parts: Parts
    adapter: Path | None = None  # None: the model as it is loaded
    loaded_as: str | None = None  # the adapter's name in the model
    trained: bool = False  # by its run: what that held out is held out here
    recorded: dict[str, Prediction] = field(default_factory=dict)  # its evaluation's, by row_key


def row_key(row: Any) -> str:
    """What makes held-out rows of two runs the same one."""
    return repr((row["id"], row["question"], list(row["options"]), row["answer"]))


def read_columns(
    runs: Sequence[str], typed: Sequence[str], config_dir: str | None = None
) -> tuple[list[Column], Model]:
    """A column for each run, before them the base model's, and what loads that model.

    `typed` overrides go before what the runs record. Raises UserError where a folder is no run,
    has made no model, or started from another base model than the first.
    """
    if not 1 <= len(runs) <= MOST_RUNS:
        raise UserError(f"chat: {len(runs)} runs; 1 to {MOST_RUNS} go side by side")
    names = [Path(run).absolute().name for run in runs]
    columns = [
        _column(RunFolder(run), name if names.count(name) == 1 else run, typed, config_dir)
        for run, name in zip(runs, names, strict=True)
    ]
    first, model = columns[0], columns[0].parts.model
    engine = first.parts.engine
    if not getattr(engine, "asks", True):
        raise UserError("engine: recorded answers cannot be asked: add engine=transformers")
    if not getattr(engine, "renders", True):  # a server, with a model of its own
        if len(columns) > 1:
            raise UserError("engine: a server answers with one model: name one run")
        return [replace(first, name=str(engine.answered_by), adapter=None)], model
    for column in columns[1:]:
        _require_same_base(first, column)
    whole = [one for one in columns if one.adapter and not _is_adapter(one.adapter)]
    if whole and len(columns) > 1:
        raise UserError(f"chat: {whole[0].name} trained a whole model (lora=none): ask it alone")
    if whole:
        assert isinstance(model, ModelSource)  # what `save_policy` wrote is loaded by no other
        return [replace(first, adapter=None)], replace(model, name_or_path=str(first.adapter))
    tuned = [column for column in columns if column.adapter]
    if not tuned:
        return columns[:1], model
    began = first.cfg.model.get("adapter") is None or not RunFolder(runs[0]).adapter.is_dir()
    base = Column(BASE, first.cfg, first.parts, trained=first.trained)
    base.recorded = _predictions(RunFolder(runs[0]), "before") if began else {}
    for column in tuned:
        with open_dict(column.cfg.model):
            column.cfg.model.adapter = str(column.adapter)
    return [base, *tuned], Parts.of(tuned[0].cfg).model


def _column(folder: RunFolder, name: str, typed: Sequence[str], config_dir: str | None) -> Column:
    """A run's. Raises UserError where it has not made its model yet."""
    cfg = recomposed(folder.path, typed, config_dir)
    for key, (was, now) in differs(folder.settings(), cfg, typed).items():
        log.warning("%s: %s was %r in the run and is %r here", name, key, was, now)
    parts = Parts.of(cfg)
    adapter = folder.adapter if folder.adapter.is_dir() else None
    if adapter is None and folder.read_summary().get("status") != "finished":
        raise UserError(f"{folder.path} has no adapter/ yet: resume={folder.path} finishes the run")
    if adapter is None and isinstance(parts.model, ModelSource):
        adapter = parts.model.adapter_path()
    trained, recorded = folder.adapter.is_dir(), _predictions(folder, "after")
    return Column(name, cfg, parts, adapter, trained=trained, recorded=recorded)


def _is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").is_file()


def _predictions(folder: RunFolder, stage: str) -> dict[str, Prediction]:
    """What the run's evaluation answered at a stage, by `row_key`; {} where it has none."""
    import pyarrow.parquet as pq

    if not folder.predictions.is_file():
        return {}
    rows = pq.read_table(folder.predictions, filters=[("stage", "==", stage)]).to_pylist()
    return {row_key(row): cast(Prediction, row) for row in rows}


def _require_same_base(first: Column, other: Column) -> None:
    """UserError where another model would have to be in memory as well."""
    ours, theirs = (
        {key: value for key, value in column.cfg.model.items() if key != "adapter"}
        for column in (first, other)
    )
    for key in ours | theirs:
        if ours.get(key) != theirs.get(key):
            raise UserError(
                f"chat: model.{key} is {ours.get(key)!r} in {first.name} and {theirs.get(key)!r} "
                f"in {other.name}: only runs of one base model go side by side"
            )
