"""What is under way: a bar on a terminal; in a log, a line where nothing was heard for a while."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger(__name__)

COLUMNS = 80
QUIET = 15.0  # seconds without a word after which a log line says that work goes on


class Phase:
    """A part of a run; as a context manager, shows how far it is and what it found so far.

    `total` is how many rows (or `unit`) there are, None where that says nothing, of which `done`
    were done before. The bar goes away at the end, unless it is to `stay`.
    """

    def __init__(
        self,
        name: str,
        total: int | None = None,
        *,
        done: int = 0,
        unit: str = "",
        stay: bool = False,
    ) -> None:
        self.name = name
        self.total = total
        self.done = self._from = done
        self.note = ""  # "accuracy so far 0.250"
        self._start = self._heard = time.monotonic()
        self._over = threading.Event()
        self._bar = _bar(transient=not stay) if sys.stdout.isatty() else None
        self._task = (
            self._bar.add_task(
                unit or name, total=total, completed=done, note="", count=self._count()
            )
            if self._bar
            else None
        )
        self._thread = threading.Thread(target=self._tell, name=name, daemon=True)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        else:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
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
            self._bar.update(self._task, completed=done, note=note, count=self._count())

    @property
    def has_bar(self) -> bool:
        """Whether a terminal shows it."""
        return self._bar is not None

    def heard(self) -> None:
        """Somebody else has just said how far it is."""
        self._heard = time.monotonic()

    def line(self) -> str:
        """How far it is, in words: "evaluating: 8 of 50, 0:31, about 2:40 left"."""
        seconds = time.monotonic() - self._start
        parts = [f"{self.done} of {self.total}"] if self.total is not None else []
        parts += [self.note] * bool(self.note) + [clock(seconds)]
        made = self.done - self._from
        if self.total and made > 0 and self.done < self.total:
            parts.append(f"about {clock(seconds / made * (self.total - self.done))} left")
        return f"{self.name}: {', '.join(parts)}"

    def _count(self) -> str:
        return "" if self.total is None else f"{self.done}/{self.total}"

    def _tell(self) -> None:
        while not self._over.wait(max(0.0, self._heard + QUIET - time.monotonic())):
            if time.monotonic() >= self._heard + QUIET:
                log.info("%s", self.line())
                self.heard()


def _bar(*, transient: bool) -> Progress | None:
    """A bar of at most 80 columns; None on a terminal that cannot move its cursor."""
    console = Console()
    if console.is_dumb_terminal:
        return None
    console.width = min(COLUMNS, console.width)
    return Progress(
        TextColumn("{task.description} {task.fields[count]}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[note]}"),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=console,
        transient=transient,
        expand=True,
        refresh_per_second=2,
        speed_estimate_period=3600,  # batches of minutes still give an estimate
    )


def clock(seconds: float) -> str:
    """
    >>> clock(75), clock(7600)
    ('1:15', '2:06:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
