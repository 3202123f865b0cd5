"""What every benchmark shares: choosing the source, parsing rows, and what becomes of the splits.

A benchmark is one subclass with `parse` (one record) and, where its files or its hub repository
are built differently, `read` or `hub`. Nothing falls from one source to another: `source` is
always chosen (by the profile, unless the user says otherwise).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

from annotated_types import Ge, Interval

from medgrpo.dataset.example import as_read
from medgrpo.dataset.hub import load_hub
from medgrpo.dataset.hygiene import (
    balance_line,
    balanced,
    with_words,
    without_overlap,
    without_repeats,
)
from medgrpo.dataset.parsing import BATCH, RecordParser, Unlabelled
from medgrpo.dataset.read import read_batches, read_records
from medgrpo.dataset.record import Record
from medgrpo.dataset.retrieval import with_passages
from medgrpo.dataset.rows import dataset, reorder, schema, without_notes
from medgrpo.dataset.rubric import as_read as rubric_as_read
from medgrpo.dataset.splits import carve, find_files, given_files
from medgrpo.errors import UserError
from medgrpo.rundir import RunFolder

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import DatasetDict

log = logging.getLogger(__name__)

SAMPLES = Path(__file__).parent / "samples"
SHUFFLE_SEED = 3407
SHOWN = 3  # rows, for a person to see that they are read rightly


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
class MedicalDataset(RecordParser, Benchmark):
    """A benchmark as the config describes it; `load` reads it.

    `primary_metric` names the metric that decides between runs (a key of the config's `metrics`),
    `answer_with` tells the model what an answer looks like, `max_prompt_tokens` bounds the
    rendered prompt. A file of which `drop_limit` or more cannot be used for one reason is refused:
    it is probably read wrongly.
    """

    file_names: ClassVar[dict[str, str]] = {  # patterns of a folder's files, without suffix
        "train": r"(.*[_-])?train",
        "validation": r"(.*[_-])?(validation|valid|val|dev)",
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
    splits: dict[str, Any] | None = None  # files below path of train, validation, test
    hub_splits: dict[str, Any] | None = None  # the hub's splits of validation, test
    limit: Annotated[int, Ge(1)] | None = None  # first rows of train, None for all
    shuffle: bool = False  # train in another order, before `limit`
    balance: bool = False  # as many training rows of each label as of the rarest
    drop_limit: Annotated[float, Interval(gt=0, le=1)] = 0.25  # share of a file's rows, see below
    shown_rows: Annotated[int, Ge(0)] = SHOWN  # training rows in the log
    retrieval: Literal["bm25"] | None = None  # passages of a corpus instead of the rows' own
    corpus: str | None = None  # its file or folder: .jsonl with a text a line, or .txt
    passages: Annotated[int, Ge(1)] = 5  # of it in each context
    whole: bool = False  # all rows of a file are the test split: none is carved

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
        if self.whole and self.path and not self.splits and splits.keys() == {"train"}:
            splits = {"test": splits["train"]}
            log.info("dataset: nothing is trained: all rows of %s are tested", self.path)
        splits = {split: with_words(rows) for split, rows in splits.items()}
        if "train" in splits:
            splits["train"] = without_repeats(splits["train"])
        splits = without_overlap(carve(splits))
        splits["train"] = self._choose(splits["train"])
        if line := balance_line(splits["train"], splits["test"]):
            log.info("dataset: %s", line)
        if self.retrieval:
            splits = with_passages(splits, self.corpus, self.passages)
        counts = ", ".join(f"{len(rows)} {split}" for split, rows in splits.items())
        log.info("dataset: %s from %s: %s rows", self.name, self.source, counts)
        for row in splits["train"].slice(0, self.shown_rows).to_pylist():
            log.info("dataset: row %s%s", as_read(row), rubric_as_read(row))
        return DatasetDict(
            {split: dataset(rows.drop_columns("words")) for split, rows in splits.items()}
        )

    def read(self, file: Path) -> Iterable[Record]:
        """The records of one file (not parquet). Raises UserError."""
        return read_records(file)

    def hub(self) -> dict[str, pa.Table]:
        """The hub's splits. Benchmarks whose hub layout differs override this."""
        splits = self.hub_split(None)
        given = self.hub_splits or {name: name for name in ("validation", "test") if name in splits}
        named = {"train": self.split, **given} if "train" in splits or not given else given
        return {
            name: self.labelled(name, partial(self._hub_part, splits, part))
            for name, part in named.items()
        }

    def hub_split(self, split: str | None, config: str | None = None) -> Any:
        """See medgrpo.dataset.hub."""
        return load_hub(self.dataset_id, config, split, self.revision)

    def files(self) -> dict[str, pa.Table]:
        """The splits that `path`, or the embedded sample, has files for."""
        if self.source == "path" and not (self.path or self.splits):
            raise UserError("dataset.path: dataset.source=path needs dataset.path=FILE or FOLDER")
        path = Path(self.path) if self.source == "path" and self.path else SAMPLES / self.name
        if self.splits and self.source == "path":
            found = given_files(Path(self.path) if self.path else None, self.splits)
        else:
            found = find_files(path, self.file_names)
        return {
            split: self.labelled(split, partial(self._file, files))
            for split, files in found.items()
        }

    def labelled(self, split: str, parse: Callable[[], pa.Table]) -> pa.Table:
        """What `parse` reads; a held-out split whose gold answers are hidden is empty."""
        try:
            return parse()
        except Unlabelled as error:
            if split == "train":
                raise
            log.warning("dataset: %s: no row has a gold answer: set aside", error.where)
            return without_notes(schema().empty_table())

    def _hub_part(self, splits: Any, name: str | list[str]) -> pa.Table:
        import pyarrow as pa

        names = [name] if isinstance(name, str) else name
        parts = [splits[one] if one in splits else self.hub_split(one) for one in names]
        tables = zip(parts, names, strict=True)
        return pa.concat_tables(
            [self.parse_table(part, f"{self.dataset_id} {one}") for part, one in tables],
            promote_options="default",
        )

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
            train = balanced(train, self.limit)
        if not self.shuffle:
            return train.slice(0, self.limit)
        order = np.random.default_rng(SHUFFLE_SEED).permutation(len(train))
        return reorder(train, order[: self.limit])


def for_testing(benchmark: Benchmark, seen: Collection[str]) -> Benchmark:
    """The benchmark as it is read where nothing is trained: all rows of a file are tested.

    Not those of a file whose name is among the `seen` ones: what is held out of it is carved again.
    """
    if not isinstance(benchmark, MedicalDataset) or Path(benchmark.path or "").name in seen:
        return benchmark
    return replace(benchmark, whole=True)


def trained_files(adapter: str | None) -> set[str]:
    """The name of the file or folder that an adapter was trained on, where its run says so."""
    folders = [Path(adapter), *Path(adapter).parents][:3] if adapter else []  # a checkpoint's, too
    paths = (RunFolder(folder).settings().get("dataset.path") for folder in folders)
    return {Path(path).name for path in paths if path}
