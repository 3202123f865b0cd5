"""trackio, a tracker without an account or a server: https://github.com/gradio-app/trackio

Its files lie in the folder `trackio` of the run, or of the sweep, whose jobs its dashboard then
shows side by side; where TRACKIO_DIR is set, they lie there. Nothing is sent anywhere before
`trackio sync` is typed.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgrpo.config.schema import Problem
from medgrpo.errors import UserError
from medgrpo.rundir import RunFolder
from medgrpo.tracking.base import Tracker

if TYPE_CHECKING:
    from trackio import Run

log = logging.getLogger(__name__)


@dataclass
class TrackioTracking(Tracker):
    """How a run is tracked by trackio: by the name of its folder, in the group of its sweep."""

    project: str = "medgrpo"

    @classmethod
    def unsupported(cls) -> Iterator[Problem]:
        """As `Tracker.unsupported`: trackio is an extra."""
        if not importlib.util.find_spec("trackio"):
            yield Problem("tracking", "trackio needs: pip install -e '.[trackio]'")

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
        """As `Tracker.start`. UserError where this process writes into another folder already."""
        place = next((path for path in folder.path.parents if path.name == group), folder.path)
        trackio = _import_trackio(place / "trackio")
        self._step = 0  # of the last point: what is sent at the end stands there
        # trackio.init would print, take a name for an id, and go online by an environment variable
        self._run: Run = trackio.Run(
            url=None,
            client=None,
            project=self.project,
            name=folder.path.name,
            run_id=folder.summary.get("trackio_id"),
            group=group,
            config=dict(config),
        )
        folder.update_summary(trackio_id=self._run.id)
        where = os.path.relpath(trackio.TRACKIO_DIR)
        log.info("trackio: TRACKIO_DIR=%s trackio show --project %s", where, self.project)

    def logged(self, label: str) -> int:
        from trackio.sqlite_storage import SQLiteStorage

        rows = SQLiteStorage.get_logs(self.project, self._run.name, run_id=self._run.id)
        names = f"{label}train/"
        return max((r["step"] for r in rows if any(n.startswith(names) for n in r)), default=-1)

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        self._step = step
        self._run.log(dict(values), step=step)

    def summary(self, values: Mapping[str, Any]) -> None:
        """trackio has no place of its own for these: they are points of the last step."""
        self.log(self._step, values)

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        import trackio

        self.log(self._step, {name: trackio.Table(data=[dict(row) for row in rows])})

    def image(self, name: str, file: Path) -> None:
        import trackio

        self.log(self._step, {name: trackio.Image(str(file))})

    def artifact(
        self, name: str, kind: str, files: Path, metadata: Mapping[str, Any], *, used: bool = False
    ) -> None:
        import trackio

        name = name if used else f"{name}-{self._run.id}"
        artifact = trackio.Artifact(name, type=kind, metadata=dict(metadata))
        artifact.add_dir(files)
        self._run.log_artifact(artifact)
        if used:
            self._run.use_artifact(artifact)

    def finish(self, exit_code: int = 0) -> None:
        """Close the run; a code other than 0 is a point of the last step."""
        if exit_code:
            self.log(self._step, {"exit_code": exit_code})
        with redirect_stdout(StringIO()):  # it prints that it is finished
            self._run.finish()


def _import_trackio(place: Path) -> Any:
    """trackio, which settles where it writes when it is imported (TRL does so, too)."""
    asked = os.environ.get("TRACKIO_DIR")
    os.environ["TRACKIO_DIR"] = asked or str(place)
    try:
        import trackio
    finally:
        if not asked:
            del os.environ["TRACKIO_DIR"]
    if (there := Path(trackio.TRACKIO_DIR)) != Path(asked or place):
        raise UserError(
            f"tracking=trackio: an earlier job of this process has bound trackio to {there}; add "
            "launch.own_process=true"
        )
    return trackio
