"""Rows (an Example and its group) as one Arrow table and the positions that are in use.

Splitting, filtering and sampling 211,269 abstracts then moves positions and no text.
`datasets.Dataset` has the same idea in `select`, but reads a selected column row by row (0.6 s
instead of 0.01 s), and every step of hygiene reads columns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from medgrpo.dataset.example import Example

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from datasets import Dataset

    Positions = Sequence[int] | slice | np.ndarray[Any, Any]


class Rows(NamedTuple):
    """The rows `positions` [n] of `table`, whose columns are those of Example and `group`."""

    table: pa.Table
    positions: np.ndarray[Any, Any]

    @classmethod
    def of(cls, table: pa.Table) -> Self:
        """All rows of a table."""
        import numpy as np

        return cls(table, np.arange(table.num_rows))

    @classmethod
    def collect(cls, examples: Iterable[Mapping[str, Any]]) -> Self:
        """Rows, stored a thousand at a time so that few exist as Python objects at once."""
        import pyarrow as pa

        left = iter(examples)
        parts = iter(lambda: list(islice(left, 1000)), [])
        tables = [pa.Table.from_pylist(part, schema()) for part in parts]
        return cls.of(pa.concat_tables(tables) if tables else schema().empty_table())

    @classmethod
    def behind(cls, dataset: Dataset) -> Self:
        """The rows of a Dataset of Examples, as it stores them (no transform applied)."""
        import numpy as np

        chosen = dataset._indices  # the positions that `select` was given; there is no public name
        table = dataset.data.table
        rows = cls.of(table)
        return rows if chosen is None else rows.select(np.asarray(chosen.column(0)))

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.positions)

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of the rows in use."""
        return self.table.column(name).take(self.positions)

    def select(self, places: Positions) -> Self:
        """The rows at `places` (or where a mask is true), in that order."""
        import numpy as np

        chosen = places if isinstance(places, slice) else np.asarray(places)
        return self._replace(positions=self.positions[chosen])

    def without(self, places: Collection[int]) -> Self:
        """The rows but those at `places`."""
        import numpy as np

        return self._replace(positions=np.delete(self.positions, list(places)))

    def take(self, places: Positions) -> pa.Table:
        """A copy of the rows at `places`.

        `Table.take` would copy whole columns of lists first, whichever rows are asked for.
        """
        import numpy as np
        import pyarrow as pa

        positions = self.select(places).positions
        order = np.argsort(positions, kind="stable")
        wanted, parts, start = positions[order], [], 0
        for batch in self.table.to_batches():
            here = wanted[slice(*np.searchsorted(wanted, [start, start + batch.num_rows]))]
            if len(here):
                parts.append(batch.take(pa.array(here - start)))
            start += batch.num_rows
        found = pa.Table.from_batches(parts, self.table.schema).combine_chunks()
        return found if (order[1:] > order[:-1]).all() else found.take(np.argsort(order))

    def examples(self, places: Positions) -> list[Example]:
        """The rows at `places` as Examples."""
        return self.take(places).to_pylist()

    def dataset(self) -> Dataset:
        """The same as a datasets.Dataset; no text is copied."""
        from datasets import Dataset
        from datasets.fingerprint import generate_random_fingerprint

        # Without a fingerprint of ours, datasets pickles the whole table to make one.
        return Dataset(self.table, fingerprint=generate_random_fingerprint()).select(self.positions)


def schema() -> pa.Schema:
    """The Arrow schema of the rows: an Example and its `group`."""
    import pyarrow as pa

    lists = {"context", "options"}
    names = (*FIELDS, "group")
    kinds = {name: pa.list_(pa.string()) if name in lists else pa.string() for name in names}
    return pa.schema(kinds)


FIELDS = tuple(Example.__annotations__)
