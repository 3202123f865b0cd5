"""The two logs of a run: what training determines, and what only this run on this machine saw.

The same command and seed give the same metrics.jsonl, byte for byte: that is how runs are
compared and replayed. So whatever a clock, a cache or a network decides goes to telemetry.jsonl.
Both hold one JSON object a line, `{"step": n, ...}`, names sorted, NaN written as null. A line is
one write call: a killed run leaves whole lines, and a torn one is cut off when the log is opened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medgrpo.errors import UserError
from medgrpo.rundir import RunFolder, nan_to_null, replacing

# transformers' train_loss is of the steps since the last resume, as is num_tokens of TRL's SFT.
_TELEMETRY = re.compile(
    r"(time|seconds|runtime|_per_second|total_flos|train_loss|num_tokens)$"
    r"|_mem_|^(judge|cache|memory|cost)/"
)


def is_telemetry(name: str) -> bool:
    """Whether two identical runs may differ in this value: `step_time`, `judge/cache_hits`."""
    return bool(_TELEMETRY.search(name))


def is_metric(name: str) -> bool:
    """Whether a value is worth a row of metrics.jsonl: step and epoch alone are not."""
    return name not in ("step", "epoch") and not is_telemetry(name)


def is_reward_mean(key: str) -> bool:
    """Whether a logged value is the mean of one reward: `rewards/<name>/mean`."""
    return key.startswith("rewards/") and key.endswith("/mean")


def is_effective_weight(key: str) -> bool:
    """Whether a logged value is what one reward moves: `rewards/<name>/effective_weight`."""
    return key.startswith("rewards/") and key.endswith("/effective_weight")


def reward_name(key: str) -> str:
    """`rewards/<name>/mean`, or another value of that reward -> `<name>`."""
    return key.removeprefix("rewards/").rpartition("/")[0]


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log, whole lines only; [] when the run never wrote one.

    Raises UserError for a line that is no row.
    """
    rows = []
    for number, line in enumerate(_lines(path), 1):
        try:
            rows.append(json.loads(line))
            rows[-1]["step"]
        except (ValueError, LookupError, TypeError):
            raise UserError(f"{path}: line {number} is damaged; put the file back") from None
    return rows


def tenths(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[float, float] | None:
    """The means of a value over the first and the last tenth of the rows that have it; None: none.

    >>> tenths([{"reward": n} for n in range(20)], "reward")
    (0.5, 18.5)
    """
    values = [row[name] for row in rows if row.get(name) is not None]
    size = -(-len(values) // 10)
    return (sum(values[:size]) / size, sum(values[-size:]) / size) if values else None


class MetricsLog:
    """Append-only writer of a folder's metrics.jsonl and telemetry.jsonl.

    Rows are appended to what the folder holds: a fresh run calls `truncate(-1)`, a resumed one
    `truncate(<step of its checkpoint>)`, so that every logged step is there once.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.metrics, self.telemetry = self._paths = (folder.metrics, folder.telemetry)
        folder.path.mkdir(parents=True, exist_ok=True)
        for path in self._paths:
            _rewrite(path, _lines(path))

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Write the values of one log event; `epoch` alone is not worth a row."""
        for path, wanted in zip(self._paths, (False, True), strict=True):
            row = {name: values[name] for name in sorted(values) if is_telemetry(name) is wanted}
            if row.keys() <= {"epoch"}:
                continue
            line = json.dumps(nan_to_null({"step": step, **row}), ensure_ascii=False) + "\n"
            with path.open("ab", buffering=0) as file:
                file.write(line.encode())

    def truncate(self, step: int) -> None:
        """Drop the rows past `step`: what a killed run logged after its last checkpoint."""
        for path in self._paths:
            rows = zip(_lines(path), read_log(path), strict=True)
            _rewrite(path, [line for line, row in rows if row["step"] <= step])


def _lines(path: Path) -> list[bytes]:
    """The whole lines of a log, with their newlines; a torn last line is left out."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [line for line in lines if line.endswith(b"\n")]


def _rewrite(path: Path, lines: list[bytes]) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(b"".join(lines))
