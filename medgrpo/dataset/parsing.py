"""Records of any kind into rows of `Example`; what is of no use is dropped for a counted reason."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from medgrpo.dataset.example import Example
from medgrpo.dataset.record import Batch, Dropped, Record, records_of, storable
from medgrpo.dataset.rows import dropped_rows, schema, without, without_notes
from medgrpo.dataset.rubric import Rubric
from medgrpo.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

log = logging.getLogger(__name__)

BATCH = 1000  # rows parsed at a time, so that few exist as Python objects at once
LEFT_OUT = "left out by dataset.where"  # as it was asked for: no fault of the file


class Unlabelled(UserError):
    """No row of `where` has a gold answer."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(message)
        self.where = where


class RecordParser:
    """Parses batches by the subclass's `parse`."""

    name: ClassVar[str]  # folder of the embedded sample
    fields: ClassVar[tuple[str, ...]]  # keys that a record has
    unlabelled: ClassVar[frozenset[str]] = frozenset()  # reasons to drop where gold is hidden
    drop_limit: float  # share of a file's rows that may be lost for one reason

    def original(self, record: Record) -> Record:
        """A record under the names of the original file; for benchmarks that the hub renames."""
        return record

    def parse(self, record: Record, row: int) -> Example:
        """One record as an Example. Raises Dropped with the reason when it cannot be used.

        `row` counts from 1 within its file and serves as id where there is none.
        """
        raise NotImplementedError

    def group(self, record: Record) -> str:
        """The benchmark's own subgroup of a record, for metrics by subgroup; "" for none."""
        return ""

    def turns(self, record: Record) -> list[dict[str, str]] | None:
        """The messages of a question that is a conversation, the last one to be answered."""
        return None

    def rubric_of(self, record: Record) -> Rubric | None:
        """What an answer to the record is graded by, where it is graded by criteria."""
        return None

    def parse_table(self, records: Dataset, where: str) -> pa.Table:
        """A hub split, parsed."""
        return self.parse_batches(records.with_format("arrow")[:].to_batches(BATCH), where)

    def parse_records(self, records: Iterable[Record], where: str) -> pa.Table:
        """Records, parsed."""
        left = iter(records)
        return self.parse_batches(iter(lambda: list(islice(left, BATCH)), []), where)

    def parse_batches(self, batches: Iterable[Batch], where: str) -> pa.Table:
        """Batches, parsed; logs what was dropped and why. Raises UserError if all rows were."""
        import pyarrow as pa

        parts, row, first = [], 1, None
        for batch in batches:
            first = first or records_of(batch[:1])
            parts.append(self.parse_batch(batch, range(row, row + len(batch))))
            row += len(batch)
        if not first:
            raise UserError(f"{where}: there are no rows")
        table = pa.concat_tables(parts)
        dropped = dropped_rows(table)
        reasons = (f"{len(rows)} ({why}; first: row {rows[0]})" for why, rows in dropped.items())
        listed = ", ".join(reasons)
        gone = [row - 1 for rows in dropped.values() for row in rows]
        if len(gone) == len(table):
            kind = partial(Unlabelled, where) if set(dropped) <= self.unlabelled else UserError
            raise kind(
                f"{where}: no usable row. {self.name} expects {', '.join(self.fields)}; "
                f"row 1 has {', '.join(map(str, first[0])) or 'nothing'}. Dropped: {listed}"
            )
        lost = {why: len(rows) for why, rows in dropped.items() if why != LEFT_OUT}
        if any(count >= self.drop_limit * len(table) for count in lost.values()):
            raise UserError(
                f"{where}: {len(gone)} of {len(table)} rows cannot be used: {listed}. Probably the "
                "file is read wrongly; if not, allow it with dataset.drop_limit=1"
            )
        if listed:
            log.warning("dataset: %s: dropped %s", where, listed)
        return without(without_notes(table), gone)

    def parse_batch(self, batch: Batch, numbers: Sequence[int]) -> pa.Table:
        """The rows with these numbers; the column `dropped` says why one cannot be used."""
        import pyarrow as pa

        rows = map(self._parse, records_of(batch), numbers)
        return pa.Table.from_pylist(list(rows), schema())

    def _parse(self, record: Any, row: int) -> Record:
        try:
            if not isinstance(record, dict):
                raise Dropped(f"a {type(record).__name__} where an object belongs")
            if None in record:
                raise Dropped("more values than columns")
            record = self.original(record)
            if missing := [key for key in self.fields if key not in record]:
                raise Dropped(f"no {', '.join(missing)}")
            parsed: Record = {**storable(self.parse(record, row)), "group": self.group(record)}
            if said := self.turns(record):
                parsed["turns"] = json.dumps(said, ensure_ascii=False)
            if rubric := self.rubric_of(record):
                parsed["rubric"] = rubric.dumps()
            return parsed
        except Dropped as reason:
            return {"dropped": str(reason)}
