"""Whether two run folders hold the same results: to the bit, nearly, or from which step on not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from medgrpo.rundir import RunFolder
from medgrpo.tracking.metrics_log import read_log

NEAR = 1e-4  # relative: what other threads and kernels make of float32 sums within a few steps
FILES = ("metrics.jsonl", "predictions.parquet", "adapter/adapter_model.safetensors",
         "adapter/adapter_config.json", "best.json")  # fmt: skip


class Found(NamedTuple):
    """A place where two runs differ: file, step or row, key, and both values."""

    place: str
    then: Any
    now: Any
    near: bool  # two numbers within NEAR of each other

    def __str__(self) -> str:
        return f"{self.place}: {self.then!r} then, {self.now!r} now"


def result_differences(then: RunFolder, now: RunFolder) -> Iterator[Found]:
    """All differences of logged metrics, by step, then of sampled completions, then of files."""
    for folder, other in _parts(then, now):
        yield from _log(folder, other)
        yield from _tables(folder, other)
    for name in FILES:
        one, two = then.path / name, now.path / name
        if not one.exists() and not two.exists():
            continue
        if not one.exists() or not two.exists():
            yield Found(name, one.exists() or "missing", two.exists() or "missing", False)
        elif one.read_bytes() != two.read_bytes() and name != "metrics.jsonl":
            yield Found(name, "one content", "another", _near_files(one, two))


def _parts(then: RunFolder, now: RunFolder) -> Iterator[tuple[RunFolder, RunFolder]]:
    """The trainings of a run: those before the last one lie in folders of their own."""
    for file in sorted(then.path.glob("*/metrics.jsonl")):
        yield RunFolder(file.parent), now.part(file.parent.name)
    yield then, now


def _log(then: RunFolder, now: RunFolder) -> Iterator[Found]:
    before, after = (read_log(folder.metrics) for folder in (then, now))
    for one, two in zip(before, after, strict=False):
        if one["step"] != two["step"]:
            yield Found(f"{then.metrics.name}, next step", one["step"], two["step"], False)
            return
        for key in dict.fromkeys([*one, *two]):
            if one.get(key) != two.get(key):
                yield _found(f"step {one['step']}, {key}", one.get(key), two.get(key))
    if len(before) != len(after):
        yield Found(f"{then.metrics.name}, rows", len(before), len(after), False)


def _tables(then: RunFolder, now: RunFolder) -> Iterator[Found]:
    """What was sampled at each step."""
    for file in sorted(then.completions.glob("*.parquet")):
        other = now.completions / file.name
        if not other.exists():
            yield Found(file.name, "there", "missing", False)
        elif file.read_bytes() != other.read_bytes():
            yield from _rows(file, other)


def _rows(file: Path, other: Path) -> Iterator[Found]:
    import pyarrow.parquet as pq

    rows = zip(pq.read_table(file).to_pylist(), pq.read_table(other).to_pylist(), strict=False)
    for number, (one, two) in enumerate(rows, 1):
        for key in dict.fromkeys([*one, *two]):
            if one.get(key) != two.get(key):
                yield _found(f"{file.stem}, row {number}, {key}", one.get(key), two.get(key))


def _found(place: str, then: Any, now: Any) -> Found:
    numbers = all(isinstance(value, int | float) for value in (then, now))
    near = numbers and math.isclose(then, now, rel_tol=NEAR, abs_tol=NEAR)
    return Found(place, then, now, near)


def _near_files(one: Path, two: Path) -> bool:
    """Of weights: whether all numbers are near. Any other file is what it is."""
    if one.suffix != ".safetensors":
        return False
    import numpy as np
    from safetensors.numpy import load_file

    first: Mapping[str, Any] = load_file(one)
    second: Mapping[str, Any] = load_file(two)
    return first.keys() == second.keys() and all(
        np.allclose(first[name], second[name], rtol=NEAR, atol=NEAR) for name in first
    )
