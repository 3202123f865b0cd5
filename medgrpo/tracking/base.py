"""The seam to experiment trackers: what a run sends to where it is watched and compared.

The local files are the truth and a tracker mirrors them, so one that has no place for a thing
leaves it out. In a run of several processes only the first has a tracker (medgrpo/launch.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from medgrpo.config.schema import Problem
from medgrpo.rundir import RunFolder


class Tracker(Protocol):
    """One run in an experiment tracker, from `start` to `finish`.

    What a subclass leaves out does nothing. Only `start` may refuse (UserError: the user's to
    fix): a tracker never asks, never holds up a run for long and never ends one.
    """

    @classmethod
    def unsupported(cls) -> Iterator[Problem]:
        """Why it cannot be used on this machine: asked while the config is checked."""
        yield from ()

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
        """Start the run of `folder`, or resume the one whose id its summary holds.

        `config` is plain nested data without secrets, `group` the name of the sweep's folder
        (None: no sweep) and `job_type` the trainer. An id of the tracker's own goes into the
        folder's summary as `<tracker>_id`, where a resumed run finds it.
        """

    def logged(self, label: str) -> int:
        """Of a run that resumes, the last step that is recorded of it already; -1: nothing is.

        `label` stands before the names of a part of the run that counts its own steps. All that is
        not recorded is logged again, from the run's folder.
        """
        return -1

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Add one point to curves, at a training step: `{"train/reward": 0.7}`. No None."""

    def summary(self, values: Mapping[str, Any]) -> None:
        """Note what stands for the whole run: `{"score": 0.8, "best/step": 40}`."""

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show rows that are alike in their keys; each value is a string, a number or None."""

    def image(self, name: str, file: Path) -> None:
        """Show a PNG file."""

    def artifact(
        self, name: str, kind: str, files: Path, metadata: Mapping[str, Any], *, used: bool = False
    ) -> None:
        """Keep what lies in the folder `files`: an output of this run, or (`used`) its input.

        An input of the same name is the same for all runs; an output is this run's own.
        """

    def finish(self, exit_code: int = 0) -> None:
        """End the run, at most half a minute late; exit_code 0 means that it went well."""


@dataclass
class NullTracker(Tracker):
    """No tracker: the run folder alone."""
