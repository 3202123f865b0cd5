"""The run folder: the one place that knows every file of a run, each written whole or not at all.

A folder outlives its process. Whoever looks at it later (resume, a sweep's comparison, a person)
finds in summary.json what became of the run: `running` in a folder whose `process` does not live
means killed.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from medgrpo import __version__
from medgrpo.errors import RunStopped, UserError

log = logging.getLogger(__name__)

RESERVED = 1 << 18  # bytes
TAKEN = {"wall_seconds", "judge"}  # of a summary: what earlier processes of the run took
FORMAT = 6  # of a run folder, in its summary; raised when an older one can no longer be resumed


class RunFolder:
    """The files of one run; as a context manager, also the run's status in summary.json.

    `with RunFolder(path) as folder` writes status `running` at once. At the end it is `finished`,
    `stopped` (by a limit of the user's, told in `error`), `failed` (with `error`) or `interrupted`
    (Ctrl-C, SIGTERM turned into SystemExit), with `wall_seconds` of all the processes that it took
    but for those that were killed. Exceptions pass through, but for a full disk, which is a limit:
    RunStopped.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self.metrics = self.path / "metrics.jsonl"  # what training determines, a row a log step
        self.telemetry = self.path / "telemetry.jsonl"  # times, memory, cache, money
        self.completions = self.path / "completions"  # parquet, by step
        self.evaluation = self.path / "evaluation.json"
        self.predictions = self.path / "predictions.parquet"
        self.suite = self.path / "suite.json"  # further benchmarks, each also in suite/NAME
        self.adapter = self.path / "adapter"  # safetensors, tokenizer, model card
        self.merged = self.path / "merged_16bit"  # the adapter merged into its model
        self.gguf = self.path / "gguf"  # the same as one file, for llama.cpp
        self.checkpoints = self.path / "checkpoints"
        self.best = self.path / "best.json"  # the best checkpoint, and by which measure
        self.watch = self.path / "watch.json"  # alarms of the hacking watch; none: no file
        self.plots = self.path / "plots"
        self.summary_file = self.path / "summary.json"
        self.passport = self.path / "passport.json"
        self.report = self.path / "report.html"
        self.label = ""  # of the metrics of a part, in a tracker
        self.summary: dict[str, Any] = {}  # what run.py and trackers add: score, wandb_id
        self._reserve = self.path / ".reserve"  # room for a last word on a disk that is full
        self._start = 0.0

    def __enter__(self) -> Self:
        """Start (or, in a folder that has been used, start again) under the ids in trackers."""
        for left in self.path.glob("**/.*.tmp"):  # half a file, by a process that was killed
            left.unlink()
        known = self.read_summary()
        kept = {key for key in known if key.endswith("_id")} | known.keys() & TAKEN
        self.summary |= {key: known[key] for key in kept}
        self._start = time.monotonic() - (known.get("wall_seconds") or 0.0)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        process = f"{platform.node()}:{os.getpid()}"
        self.update_summary(status="running", started=started, process=process)
        self._reserve.write_bytes(bytes(RESERVED))
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        seconds = round(time.monotonic() - self._start, 1)
        self._reserve.unlink(missing_ok=True)
        if error is None:
            self.update_summary(status="finished", wall_seconds=seconds)
            return
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full:
            resume = f"python -m medgrpo resume={self.path}"
            error = RunStopped(f"{error}; make room, then resume with: {resume}")
        status = "failed" if isinstance(error, Exception) else "interrupted"
        status = "stopped" if isinstance(error, RunStopped) else status
        text = f"{type(error).__name__}: {error}".removesuffix(": ")
        with suppress(OSError):  # somebody else took the room
            self.update_summary(status=status, error=text, wall_seconds=seconds)
        if full:
            raise error

    def part(self, name: str) -> RunFolder:
        """The folder of an earlier training within this run: its logs, checkpoints and plots."""
        part = RunFolder(self.path / name)
        part.label = f"{name}/"
        return part

    def update_summary(self, **values: Any) -> None:
        """Add to the summary and write it now: a killed run keeps what it knew."""
        self.summary.update(values, format=FORMAT, medgrpo=__version__)
        self.write_json(self.summary_file, nan_to_null(self.summary))

    def read_summary(self) -> dict[str, Any]:
        """The summary as it lies on disk; {} for a folder where no run has started.

        UserError for one that cannot be read.
        """
        return _read(self.summary_file)

    def other_writer(self) -> str | None:
        """The version that wrote a folder of another format; None for one that can be resumed.

        A folder without a number is of a time before; its passport names version and commit.
        """
        summary = self.read_summary()
        if not summary or summary.get("format") == FORMAT:
            return None
        passport = self.read_passport()
        installed = passport.get("libraries", {}).get("medgrpo", "of unknown version")
        version = summary.get("medgrpo", installed)
        commit = passport.get("git_commit")
        at = f" at commit {commit[:12]}" if commit else ""
        return f"medgrpo {version}{at} in format {summary.get('format', 0)}"

    def write_json(self, name: str | Path, obj: Any) -> None:
        """Write JSON at `name` in the folder. ValueError for NaN, which JSON does not have."""
        text = json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        with replacing(self.path / name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def read_json(self, name: str | Path) -> Any:
        """What lies at `name` in the folder; None where there is no such file."""
        file = self.path / name
        return json.loads(file.read_text("utf-8")) if file.exists() else None

    def write_parquet(self, name: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows (alike in their keys) as parquet at `name` in the folder."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with replacing(self.path / name) as temporary:
            pq.write_table(pa.Table.from_pylist(list(rows)), temporary)

    def read_watch(self) -> list[dict[str, Any]]:
        """The alarms of the hacking watch, in the order of time."""
        return [one for one in self.read_json(self.watch) or [] if isinstance(one, dict)]

    def read_passport(self) -> dict[str, Any]:
        """The passport; {} before there is one. UserError for one that cannot be read."""
        return _read(self.passport)

    def settings(self) -> dict[str, Any]:
        """By dotted key, as its passport has them; {} before there is one."""
        passport = self.read_passport()
        changed = {change["key"]: change["to"] for change in passport.get("changes", [])}
        return passport.get("config", {}) | changed

    def drop_completions(self, step: int) -> None:
        """Leave out those past `step`, which a resumed run samples again, and damaged ones."""
        for file in self.completions.glob("completions_*.parquet"):
            number = file.stem.rpartition("_")[2]
            if number.isdecimal() and int(number) > step:
                file.unlink()
            elif number.isdecimal() and not _is_parquet(file):
                log.warning("%s is damaged and left out: step %d is over", file, int(number))
                file.unlink()

    @property
    def has_checkpoints(self) -> bool:
        """Whether resuming goes on from what was trained under its settings."""
        return any(self.path.glob("**/checkpoints/checkpoint-*"))

    def record_changes(self, step: int, changes: Mapping[str, tuple[Any, Any]]) -> None:
        """Add to the passport which settings (was, is) differ in a run that resumes at `step`."""
        passport = self.read_passport()
        passport["changes"] += [
            {"step": step, "key": key, "from": was, "to": now}
            for key, (was, now) in changes.items()
        ]
        self.write_json(self.passport, passport)


def score_of(summary: Mapping[str, Any]) -> float:
    """What a run's summary says to a sweep, whose sweeper may search by it; NaN for none."""
    score = summary.get("selection")
    score = summary.get("score") if score is None else score
    return math.nan if score is None else score


def _read(file: Path) -> dict[str, Any]:
    """A JSON object; {} where there is no such file."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read ({error}): start a new run") from None
    if not isinstance(found, dict):
        raise UserError(f"{file} is not what a run writes: start a new run")
    return found


def _is_parquet(file: Path) -> bool:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_metadata

    try:
        read_metadata(file)
    except (OSError, ArrowException):
        return False
    return True


def nan_to_null(obj: Any) -> Any:
    """A copy as JSON can hold it: NaN and infinities None, NumPy and torch scalars floats."""
    return json.loads(json.dumps(obj, default=float), parse_constant=lambda _: None)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
