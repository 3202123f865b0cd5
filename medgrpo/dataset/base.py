"""What every benchmark shares: choosing the source, parsing rows, and what becomes of the splits.

A benchmark is one subclass with `parse` (one record) and, where its files or its hub repository
are built differently, `read` or `hub`. Nothing falls from one source to another: `source` is
always chosen (by the profile, unless the user says otherwise).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

from annotated_types import Ge, Interval

from medgrpo.dataset.example import Example, as_read
from medgrpo.dataset.hygiene import (
    balance_line,
    balanced,
    with_words,
    without_overlap,
    without_repeats,
)
from medgrpo.dataset.read import read_batches, read_records
from medgrpo.dataset.record import Batch, Dropped, Record, records_of, storable
from medgrpo.dataset.rows import dataset, dropped_rows, reorder, schema, without
from medgrpo.dataset.splits import carve, find_files
from medgrpo.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset, DatasetDict

log = logging.getLogger(__name__)

SAMPLES = Path(__file__).parent / "samples"
SHUFFLE_SEED = 3407
SHOWN = 3  # rows, for a person to see that they are read rightly
BATCH = 1000  # rows parsed at a time, so that few exist as Python objects at once


class Benchmark(Protocol):
    """What a run asks of a dataset."""

    primary_metric: str  # the figure that decides between runs
    max_prompt_tokens: int  # of a rendered prompt
    over_length: Literal["trim", "drop"]  # passages of a longer one, or its training row

    @property
    def hub_id(self) -> str | None:
        """The hub repository that is read, None where no hub is asked."""

    def load(self) -> DatasetDict:
        """The splits train, validation and test: columns of `Example` and `group`."""


@dataclass(kw_only=True)
class MedicalDataset(Benchmark):
    """A benchmark as the config describes it; `load` reads it.

    `primary_metric` names the metric that decides between runs (a key of the config's `metrics`),
    `answer_with` tells the model what an answer looks like, `max_prompt_tokens` bounds the
    rendered prompt. A file of which `drop_limit` or more cannot be used for one reason is refused:
    it is probably read wrongly.
    """

    name: ClassVar[str]  # folder of the embedded sample
    fields: ClassVar[tuple[str, ...]]  # keys that a record has
    file_names: ClassVar[dict[str, str]] = {  # patterns of a folder's files, without suffix
        "train": r"(.*[_-])?train",
        "validation": r"(.*[_-])?(validation|valid|dev)",
        "test": r"(.*[_-])?test",
    }

    source: Literal["sample", "path", "hub"]
    answer_with: str
    primary_metric: str
    max_prompt_tokens: Annotated[int, Ge(1)]
    over_length: Literal["trim", "drop"] = "trim"  # passages of a long prompt, or its training row
    path: str | None = None  # a file, or a folder with train / validation (dev) / test files
    dataset_id: str | None = None  # hub repository
    revision: str | None = None  # hub commit
    split: str = "train"  # hub split to train on; a part of it as "train[:1000]"
    limit: Annotated[int, Ge(1)] | None = None  # first rows of train, None for all
    shuffle: bool = False  # train in another order, before `limit`
    balance: bool = False  # as many training rows of each label as of the rarest
    drop_limit: Annotated[float, Interval(gt=0, le=1)] = 0.25  # share of a file's rows, see below

    @property
    def hub_id(self) -> str | None:
        """The hub repository that is read, None where no hub is asked."""
        return self.dataset_id if self.source == "hub" else None

    def load(self) -> DatasetDict:
        """Train, validation and test rows of `Example` and `group`; what was dropped is logged.

        Missing splits are carved from train; rows of train that are repeated or held out are
        removed. Raises UserError for a missing path, an unreadable file or a wrong schema.
        """
        from datasets import DatasetDict

        splits = self.hub() if self.source == "hub" else self.files()
        splits = {split: with_words(rows) for split, rows in splits.items()}
        splits["train"] = without_repeats(splits["train"])
        splits = without_overlap(carve(splits))
        splits["train"] = self._choose(splits["train"])
        if line := balance_line(splits["train"], splits["test"]):
            log.info("dataset: %s", line)
        counts = ", ".join(f"{len(rows)} {split}" for split, rows in splits.items())
        log.info("dataset: %s from %s: %s rows", self.name, self.source, counts)
        for row in splits["train"].slice(0, SHOWN).to_pylist():
            log.info("dataset: row %s", as_read(row))
        return DatasetDict(
            {split: dataset(rows.drop_columns("words")) for split, rows in splits.items()}
        )

    def read(self, file: Path) -> Iterable[Record]:
        """The records of one file (not parquet). Raises UserError."""
        return read_records(file)

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

    def hub(self) -> dict[str, pa.Table]:
        """The hub's splits. Benchmarks whose hub layout differs override this."""
        splits = self.hub_split(None)
        train = splits[self.split] if self.split in splits else self.hub_split(self.split)
        held_out = {name: splits[name] for name in ("validation", "test") if name in splits}
        return {
            name: self.parse_table(part, f"{self.dataset_id} {name}")
            for name, part in {"train": train, **held_out}.items()
        }

    def hub_split(self, split: str | None, config: str | None = None) -> Any:
        """`datasets.load_dataset` of the pinned revision, with the usual failures explained."""
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError

        if not self.dataset_id:
            raise UserError("dataset.dataset_id: dataset.source=hub needs the repository's name")
        try:
            return load_dataset(self.dataset_id, config, split=split, revision=self.revision)
        except (OSError, ValueError, DatasetsError) as error:
            raise UserError(
                f"dataset.dataset_id: cannot load {self.dataset_id} from the hub ({error}). "
                "Without internet, download it elsewhere and use dataset.source=path "
                "dataset.path=FILE, or try dataset.source=sample."
            ) from error

    def files(self) -> dict[str, pa.Table]:
        """The splits that `path`, or the embedded sample, has files for."""
        if self.source == "path" and not self.path:
            raise UserError("dataset.path: dataset.source=path needs dataset.path=FILE or FOLDER")
        path = Path(self.path) if self.source == "path" and self.path else SAMPLES / self.name
        found = find_files(path, self.file_names)
        return {split: self._file(files) for split, files in found.items()}

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
            raise UserError(
                f"{where}: no usable row. {self.name} expects {', '.join(self.fields)}; "
                f"row 1 has {', '.join(map(str, first[0])) or 'nothing'}. Dropped: {listed}"
            )
        if any(len(rows) >= self.drop_limit * len(table) for rows in dropped.values()):
            raise UserError(
                f"{where}: {len(gone)} of {len(table)} rows cannot be used: {listed}. Probably the "
                "file is read wrongly; if not, allow it with dataset.drop_limit=1"
            )
        if listed:
            log.warning("dataset: %s: dropped %s", where, listed)
        return without(table.drop_columns("dropped"), gone)

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
            return {**storable(self.parse(record, row)), "group": self.group(record)}
        except Dropped as reason:
            return {"dropped": str(reason)}

    def _file(self, files: Sequence[Path]) -> pa.Table:
        """One split's file, or its parts, as one."""
        where = str(files[0]) if len(files) == 1 else f"{files[0]} to {files[-1].name}"
        if files[0].suffix.lower() == ".parquet":
            batches = chain.from_iterable(read_batches(file, BATCH) for file in files)
            return self.parse_batches(batches, where)
        return self.parse_records(chain.from_iterable(map(self.read, files)), where)

    def _choose(self, train: pa.Table) -> pa.Table:
        """Balance, shuffle and limit the training rows."""
        import numpy as np

        if self.balance:
            train = balanced(train)
        if not self.shuffle:
            return train.slice(0, self.limit)
        order = np.random.default_rng(SHUFFLE_SEED).permutation(len(train))
        return reorder(train, order[: self.limit])
