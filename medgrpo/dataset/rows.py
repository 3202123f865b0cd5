"""Rows (an Example and its group) as an Arrow table, and a part of it that copies hardly any text.

Removing a few rows of 211,269 leaves slices of the memory-mapped file. `Dataset.select` would keep
their places instead, and every column that is read afterwards would be read row by row (0.5 s
instead of 0.01 s); whoever loads data reads many.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from medgrpo.dataset.example import Example

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from datasets import Dataset

FIELDS = tuple(Example.__annotations__)
OPTIONAL = ("turns", "rubric")  # further columns of what only some benchmarks have
RUN = 4  # rows in a row: from there on, a slice takes less memory (2.5 KB) than a copy
COPIED = 20_000  # rows at a time


def schema() -> pa.Schema:
    """Arrow's schema of parsed rows: of those that cannot be used, only `dropped` says why.

    `turns` holds a question that is a conversation, `rubric` what an answer is graded by, each as
    JSON; a table of none has no such column.
    """
    import pyarrow as pa

    lists = {"context", "options"}
    names = (*FIELDS, "group", *OPTIONAL, "dropped")
    kinds = {name: pa.list_(pa.string()) if name in lists else pa.string() for name in names}
    return pa.schema(kinds)


def without_notes(parsed: pa.Table) -> pa.Table:
    """Parsed rows without `dropped`, and without optional columns that hold nothing."""
    none = [name for name in OPTIONAL if parsed.column(name).null_count == len(parsed)]
    return parsed.drop_columns(["dropped", *none])


def dropped_rows(parsed: pa.Table) -> dict[str, list[int]]:
    """By reason, the numbers (from 1) of the rows that cannot be used."""
    known: set[str] = set()
    dropped: dict[str, list[int]] = {}
    columns = (parsed.column(name).to_pylist() for name in ("id", "dropped"))
    for number, (identity, why) in enumerate(zip(*columns, strict=True), 1):
        if why is None and identity not in known:
            known.add(identity)
        else:
            dropped.setdefault(why or "the id of an earlier row", []).append(number)
    return dropped


def select(rows: pa.Table, places: Sequence[int] | np.ndarray[Any, Any]) -> pa.Table:
    """The rows at `places` [n], in the order of the table."""
    import numpy as np
    import pyarrow as pa

    wanted, parts, start = np.sort(np.asarray(places, np.int64)), [], 0
    for batch in rows.to_batches():
        here = wanted[slice(*np.searchsorted(wanted, [start, start + len(batch)]))] - start
        start += len(batch)
        if len(here) == len(batch):
            parts.append(batch)
            continue
        runs = np.split(here, np.flatnonzero(np.diff(here) > 1) + 1)
        if len(here) >= RUN * len(runs):
            parts += [batch.slice(run[0], len(run)) for run in runs]
        elif len(here):
            parts.append(batch.take(pa.array(here)))
    return pa.Table.from_batches(parts, rows.schema)


def without(rows: pa.Table, places: Collection[int]) -> pa.Table:
    """The rows but those at `places`."""
    import numpy as np

    return select(rows, np.delete(np.arange(len(rows)), list(places))) if places else rows


def reorder(rows: pa.Table, places: np.ndarray[Any, Any]) -> pa.Table:
    """A copy of the rows at `places` [n], in that order."""
    import numpy as np
    import pyarrow as pa

    parts = np.array_split(places, len(places) // COPIED + 1)
    ranks = (np.argsort(np.argsort(part)) for part in parts)
    return pa.concat_tables(
        [select(rows, part).combine_chunks().take(r) for part, r in zip(parts, ranks, strict=True)]
    )


def dataset(rows: pa.Table) -> Dataset:
    """The same as a datasets.Dataset; no text is copied."""
    from datasets import Dataset
    from datasets.fingerprint import generate_random_fingerprint

    # Without a fingerprint of ours, datasets pickles the whole table to make one.
    return Dataset(rows, fingerprint=generate_random_fingerprint())
