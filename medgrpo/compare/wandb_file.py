"""Read what a W&B run recorded, without W&B: its `.wandb` file is the run.

An offline run, also one that was killed, is a log of protobuf records in LevelDB's log format
(https://github.com/google/leveldb/blob/main/doc/log_format.md) behind a header of seven bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK = 32768
WHOLE, FIRST, LAST = 1, 2, 4  # kinds of a chunk; 3 is a middle one


@dataclass
class WandbFile:
    """One run as its file tells it."""

    id: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    project: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)  # nested, with wandb's own under "_wandb"
    summary: dict[str, Any] = field(default_factory=dict)  # last value of each metric, by its name
    history: list[dict[str, Any]] = field(default_factory=list)  # a row a log call
    steps: dict[str, str] = field(default_factory=dict)  # metric (or glob): what it is drawn over
    artifacts: list[tuple[str, str, bool]] = field(default_factory=list)  # type, name, is an input
    exit_code: int | None = None  # None: the run did not end, or was killed


def read_wandb(path: Path) -> WandbFile:
    """The run in a `.wandb` file, as far as it was written. ValueError for any other file."""
    run = WandbFile()
    for record in _records(path):
        match record.WhichOneof("record_type"):
            case "run":
                told = record.run
                run.id, run.name, run.group = told.run_id, told.display_name, told.run_group
                run.job_type, run.project, run.tags = told.job_type, told.project, list(told.tags)
                run.config |= _values(told.config.update)
            case "config":
                run.config |= _values(record.config.update)
            case "summary":
                run.summary |= _values(record.summary.update)
            case "history":
                run.history.append(_values(record.history.item))
            case "metric":
                run.steps[record.metric.name or record.metric.glob_name] = record.metric.step_metric
            case "artifact":
                kind = record.artifact
                run.artifacts.append((kind.type, kind.name, kind.use_after_commit))
            case "exit":
                run.exit_code = record.exit.exit_code
    return run


def _values(items: Iterable[Any]) -> dict[str, Any]:
    """Keys and values of a record; the parts of a nested key joined by dots."""
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def _records(path: Path) -> Iterator[Any]:
    from wandb.proto.wandb_internal_pb2 import Record

    data = path.read_bytes()
    if not data.startswith(b":W&B"):
        raise ValueError(f"{path} is no .wandb file")
    offset, whole = 7, b""
    while offset + 7 <= len(data):
        left = BLOCK - offset % BLOCK
        if left < 7:  # no header fits into the rest of a block
            offset += left
            continue
        _, size, kind = struct.unpack("<IHB", data[offset : offset + 7])
        chunk = data[offset + 7 : offset + 7 + size]
        if kind == 0 or len(chunk) < size:  # never written, or torn by a kill
            return
        offset += 7 + size
        whole = chunk if kind in (WHOLE, FIRST) else whole + chunk
        if kind in (WHOLE, LAST):
            yield Record.FromString(whole)
