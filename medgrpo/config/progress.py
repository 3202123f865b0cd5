"""What is under way: a bar on a terminal; in a log, a line where nothing was heard for a while."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

log = logging.getLogger(__name__)

COLUMNS = 80
QUIET = 15.0  # seconds without a word after which a log line says that work goes on


class Phase:
    """A part of a run; as a context manager, shows how far it is and what it found so far.

    `total` is how many rows (steps, ...) there are, None where that says nothing.
    """

    def __init__(self, name: str, total: int | None = None) -> None:
        self.name = name
        self.total = total
        self.done = 0
        self.note = ""  # "accuracy so far 0.250"
        self._start = self._heard = time.monotonic()
        self._over = threading.Event()
        console = Console()
        self._bar = _bar(console) if console.is_terminal and not console.is_dumb_terminal else None
        self._task = self._bar.add_task(name, total=total, note="") if self._bar else None
        self._thread = threading.Thread(target=self._tell, name=name, daemon=True)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        else:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the bar away, so that what follows stands in its place."""
        self._over.set()
        if self._bar:
            self._bar.stop()
        else:
            self._thread.join()

    def update(self, done: int, note: str = "") -> None:
        """`done` of `total` are done; `note` says what they are like."""
        self.done, self.note = done, note
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=done, note=note)

    def heard(self) -> None:
        """Somebody else has just said how far it is."""
        self._heard = time.monotonic()

    def line(self) -> str:
        """How far it is, in words: "evaluating: 8 of 50, 0:31, about 2:40 left"."""
        seconds = time.monotonic() - self._start
        parts = [f"{self.done} of {self.total}"] if self.total is not None else []
        parts += [self.note] * bool(self.note) + [_clock(seconds)]
        if self.total and 0 < self.done < self.total:
            parts.append(f"about {_clock(seconds / self.done * (self.total - self.done))} left")
        return f"{self.name}: {', '.join(parts)}"

    def _tell(self) -> None:
        while not self._over.wait(max(0.0, self._heard + QUIET - time.monotonic())):
            if time.monotonic() >= self._heard + QUIET:
                log.info("%s", self.line())
                self.heard()


def _bar(console: Console) -> Progress:
    console.width = min(COLUMNS, console.width)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        expand=True,
        refresh_per_second=2,
        speed_estimate_period=3600,  # batches of minutes still give an estimate
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
