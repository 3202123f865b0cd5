"""Weights & Biases: one W&B run per training run.

Without a key, or without a server, the run continues offline, and says once how to upload it.
History is plotted against `train/global_step`, as transformers' own callback does, so that runs
compare with runs of others. The dataset is an input of the run and the adapter an output: that is
the lineage which W&B draws.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgrpo.rundir import RunFolder
from medgrpo.tracking.base import Tracker
from medgrpo.tracking.wandb_connect import Mode, answers, connect, how_to_sync, init, resolve

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)

STEP = "train/global_step"
SUMMARIES = {"train/reward": "last,max", "train/loss": "last,min", "eval/score": "last,max"}


@dataclass
class WandbTracking(Tracker):
    """How a run is tracked by W&B."""

    mode: Mode = "auto"  # auto: online with a key
    project: str = "medgrpo"
    entity: str | None = None  # team or user; None: the account's default
    group: str | None = None  # what this run is compared with; None: its sweep
    name: str | None = None  # None: the name given to `start`
    tags: list[str] = field(default_factory=list)  # beside the tags given to `start`

    def __post_init__(self) -> None:
        self._run: wandb.Run | None = None  # None: not started, or disabled
        self._data_dir: str | None = None
        self._takes_tables: bool | None = None  # None: not tried yet

    def start(
        self,
        folder: RunFolder,
        config: Mapping[str, Any],
        name: str,
        tags: Sequence[str] = (),
        *,
        group: str | None = None,
        job_type: str | None = None,
    ) -> None:
        """As `Tracker.start`. UserError for a field that W&B refuses, or online without a key."""
        mode = resolve(self.mode)
        earlier = folder.summary.pop("wandb_id", None)
        if mode == "disabled":
            return
        arguments: dict[str, Any] = {
            "project": self.project,
            "entity": self.entity,
            "group": self.group or group,
            "job_type": job_type,
            "name": self.name or name,
            "tags": [tag[:64] for tag in (*tags, *self.tags) if tag],  # longer ones are refused
            "config": dict(config),
            "dir": str(folder.path),
            "id": earlier,
        }
        _set_aside(folder, earlier)
        insist = self.mode == "online"
        run = connect(insist, arguments) if mode == "online" else init("offline", arguments)
        self._run = run
        self._data_dir = os.environ.get("WANDB_DATA_DIR")
        os.environ["WANDB_DATA_DIR"] = str(folder.path / "wandb")  # artifacts, too, stay here
        run.define_metric(STEP)
        run.define_metric("*", step_metric=STEP)
        for metric, summary in SUMMARIES.items():
            run.define_metric(metric, step_metric=STEP, summary=summary)
        folder.update_summary(wandb_id=run.id)
        log.info("W&B: %s", f"offline; {how_to_sync(run)}" if run.offline else run.url)

    def logged(self, label: str) -> int:
        """As `Tracker.logged`: what the server has; a file on this machine is begun anew."""
        if self._run is None or self._run.offline:
            return -1
        summary: Any = self._run.summary
        return int(summary.get(f"{label}{STEP}", -1))

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        if self._run is not None:
            self._run.log({STEP: step, **values})

    def summary(self, values: Mapping[str, Any]) -> None:
        if self._run is not None:
            self._run.summary.update(dict(values))

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        run = self._run
        if run is None or not self._server_takes_tables(run):
            return
        import wandb

        table = wandb.Table(columns=list(rows[0]), data=[list(row.values()) for row in rows])
        summary: Any = run.summary
        step = summary.get(STEP)
        run.log({name: table} if step is None else {STEP: step, name: table})
        table.data.clear()  # in a file by now; W&B holds on to the tables of 100 runs

    def image(self, name: str, file: Path) -> None:
        if self._run is not None:
            import wandb

            self._run.log({name: wandb.Image(str(file))})

    def artifact(
        self, name: str, kind: str, files: Path, metadata: Mapping[str, Any], *, used: bool = False
    ) -> None:
        """As `Tracker.artifact`. W&B's own calls wait for the server; this does not."""
        run = self._run
        if run is None:
            return
        import wandb

        name = name if used else f"{name}-{run.id}"
        artifact = wandb.Artifact(name, type=kind, metadata=dict(metadata))
        for file in sorted(filter(Path.is_file, files.rglob("*"))):  # add_dir prints
            artifact.add_file(str(file), name=str(file.relative_to(files)))
        artifact.finalize()
        interface = run._interface
        assert interface is not None
        interface.publish_artifact(
            run, artifact, ["latest"], is_user_created=True, use_after_commit=used
        )

    def finish(self, exit_code: int = 0) -> None:
        if self._run is None:
            return
        run, self._run = self._run, None
        try:
            run.finish(exit_code=exit_code)
        except TimeoutError:
            log.warning("W&B: the server did not take everything; %s", how_to_sync(run))
        os.environ.pop("WANDB_DATA_DIR")
        if self._data_dir is not None:
            os.environ["WANDB_DATA_DIR"] = self._data_dir

    def _server_takes_tables(self, run: wandb.Run) -> bool:
        """W&B asks the server before it logs a table, and waits for it; so it is tried first."""
        if self._takes_tables is None:
            self._takes_tables = run.offline or answers(run.settings.base_url)
            if not self._takes_tables:
                log.warning("W&B: no answer, so without the tables of completions and answers")
        return self._takes_tables


def _set_aside(folder: RunFolder, earlier: str | None) -> None:
    """Keep what a killed process left of an offline run, under a name that is not uploaded.

    Its file may be torn, and two files of one run would give W&B every step twice: the one that is
    about to be written holds the whole history.
    """
    for left in folder.path.glob(f"wandb/offline-run-*-{earlier}") if earlier else ():
        left.rename(left.with_name(f"superseded-{left.name}"))
