"""What every benchmark shares: choosing the source, parsing rows, carving splits, counting drops.

A benchmark is one subclass with `read` (a file's records), `parse` (one record) and, when the
hub stores it differently, `hub`. Nothing falls from one source to another: `source` is always
chosen (by the profile, unless the user says otherwise).
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge

from medgrpo.dataset.example import Example
from medgrpo.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

log = logging.getLogger(__name__)

SAMPLES = Path(__file__).parent / "samples"
SPLIT_NAMES = {"train": ["train"], "validation": ["validation", "dev", "valid"], "test": ["test"]}
CARVED_SHARE = 0.05  # of the training rows, for each split where the source has no test rows

Record = dict[str, Any]


class Dropped(Exception):
    """A row that cannot be used; the message is the reason, and reasons are counted."""


@dataclass(kw_only=True)
class MedicalDataset:
    """A benchmark as the config describes it; `load` reads it.

    `primary_metric` names the figure that decides between runs, `answer_with` tells the model
    what an answer looks like, `max_prompt_tokens` bounds the rendered prompt.
    """

    name: ClassVar[str]  # folder of the embedded sample
    fields: ClassVar[tuple[str, ...]]  # keys that every record of the original files has

    source: Literal["sample", "path", "hub"]
    answer_with: str
    primary_metric: Literal["accuracy", "list_f1", "token_f1"]
    max_prompt_tokens: Annotated[int, Ge(1)]
    path: str | None = None  # a file, or a folder with train / validation (dev) / test files
    dataset_id: str | None = None  # hub repository
    revision: str | None = None  # hub commit
    split: str = "train"  # hub split to train on
    limit: Annotated[int, Ge(1)] | None = None  # first rows of train, None for all

    def load(self) -> DatasetDict:
        """Read train, validation and test rows of `Example`; log counts and dropped rows.

        Raises UserError for a missing path, an unreadable file or a wrong schema.
        """
        from datasets import DatasetDict

        splits = self.hub() if self.source == "hub" else self._files()
        data = DatasetDict(carve({name: rows for name, rows in splits.items() if len(rows)}))
        if self.limit is not None:
            data["train"] = data["train"].select(range(min(self.limit, len(data["train"]))))
        counts = ", ".join(f"{len(rows)} {split}" for split, rows in data.items())
        log.info("dataset: %s from %s: %s rows", self.name, self.source, counts)
        return data

    def read(self, file: Path) -> Iterable[Record]:
        """The records of one file: JSON lines, a JSON list, CSV or parquet."""
        if file.suffix == ".jsonl":
            return _read_jsonl(file)
        if file.suffix == ".json":
            return _read_json(file)
        if file.suffix == ".csv":
            with file.open(newline="", encoding="utf-8") as handle:
                return list(csv.DictReader(handle))
        if file.suffix == ".parquet":
            import pyarrow.parquet as pq

            return pq.read_table(file).to_pylist()
        raise UserError(f"dataset.path: {file} is none of .jsonl, .json, .csv, .parquet")

    def original(self, record: Record) -> Record:
        """A record under the names of the original file; for benchmarks that the hub renames."""
        return record

    def parse(self, record: Record, row: int) -> Example:
        """One record as an Example. Raises Dropped with the reason when it cannot be used."""
        raise NotImplementedError

    def group(self, record: Record) -> str:
        """The benchmark's own subgroup of a record, for figures by subgroup; "" for none."""
        return ""

    def hub(self) -> dict[str, Dataset]:
        """The hub's splits, parsed. Benchmarks whose hub layout differs override this."""
        splits = self.hub_split(None)
        test = {"test": self.parse_dataset(splits["test"])} if "test" in splits else {}
        return {"train": self.parse_dataset(splits[self.split]), **test}

    def hub_split(self, split: str | None, config: str | None = None) -> Any:
        """`datasets.load_dataset` of the pinned revision, with the usual failures explained."""
        from datasets import load_dataset

        try:
            return load_dataset(self.dataset_id, config, split=split, revision=self.revision)
        except (OSError, ValueError) as error:
            raise UserError(
                f"dataset.dataset_id: cannot load {self.dataset_id} from the hub ({error}). "
                "Without internet, download it elsewhere and use dataset.source=path "
                "dataset.path=FILE, or try dataset.source=sample."
            ) from error

    def parse_dataset(self, records: Dataset) -> Dataset:
        """Parse a hub split in batches, keeping only Example columns."""
        dropped: Counter[str] = Counter()

        def batch(columns: dict[str, list[Any]], rows: list[int]) -> dict[str, list[Any]]:
            items = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values()))
            parsed = list(self._parsed(items, dropped, self.dataset_id or "", rows[0]))
            return {key: [row[key] for row in parsed] for key in features()}

        parsed = records.map(
            batch,
            batched=True,
            with_indices=True,
            remove_columns=records.column_names,
            features=features(),
        )
        _log_dropped(dropped)
        return parsed

    def _files(self) -> dict[str, Dataset]:
        from datasets import Dataset

        splits = {}
        for split, file in self._find_files().items():
            dropped: Counter[str] = Counter()
            try:
                rows = list(self._parsed(self.read(file), dropped, str(file)))
            except (UnicodeDecodeError, csv.Error, OSError) as error:
                raise UserError(f"dataset.path: cannot read {file}: {error}") from error
            _log_dropped(dropped)
            splits[split] = Dataset.from_list(rows, features=features())
        if not any(map(len, splits.values())):
            raise UserError(f"dataset.path: no usable rows in {self.path or self.name}")
        return splits

    def _find_files(self) -> dict[str, Path]:
        if self.source == "path" and not self.path:
            raise UserError("dataset.path: dataset.source=path needs dataset.path=FILE or FOLDER")
        path = Path(self.path) if self.source == "path" and self.path else SAMPLES / self.name
        if path.is_file():
            return {"train": path}
        found = {
            split: file
            for split, names in SPLIT_NAMES.items()
            for file in sorted(path.glob("*"))
            if file.stem in names
        }
        if "train" not in found:
            raise UserError(f"dataset.path: {path} is neither a file nor a folder with train.*")
        return found

    def _parsed(
        self, records: Iterable[Record], dropped: Counter[str], where: str, first: int = 0
    ) -> Iterator[dict[str, Any]]:
        for row, record in enumerate(map(self.original, records), first):
            missing = [key for key in self.fields if key not in record]
            if missing:
                raise UserError(
                    f"{where}: row {row} has no {', '.join(missing)}; {self.name} expects "
                    f"{', '.join(self.fields)} and this row has {', '.join(map(str, record))}"
                )
            try:
                yield {**self.parse(record, row), "group": self.group(record)}
            except Dropped as reason:
                dropped[str(reason)] += 1


def features() -> Any:
    """The Arrow schema of the rows: an Example and its `group`."""
    from datasets import Features, Value
    from datasets import List as ListOf

    text = Value("string")
    lists = {"context", "options"}
    names = (*Example.__annotations__, "group")
    return Features({name: ListOf(text) if name in lists else text for name in names})


def carve(splits: dict[str, Dataset]) -> dict[str, Dataset]:
    """Give train, validation and test, carving what is missing from train.

    A validation split is as large as the given test split (at most half of train); without one,
    each takes 5 %. A row's place depends on a hash of its id alone, so that it does not move when
    rows are added, and the same rows are held out on every machine.
    """
    missing = [split for split in ("test", "validation") if split not in splits]
    train = splits["train"]
    order = sorted(range(len(train)), key=lambda i: _hash(train[i]["id"]))
    given = min(len(splits["test"]), len(order) // 2) if "test" in splits else None
    size = max(1, given or int(len(order) * CARVED_SHARE))
    if missing and len(order) <= len(missing) * size:
        raise UserError(
            f"dataset: {len(order)} usable training rows are too few to carve "
            f"{' and '.join(missing)} from; give those files, or more rows"
        )
    carved = {}
    for split in missing:
        held, order = order[:size], order[size:]
        carved[split] = train.select(sorted(held))
    if missing:
        log.info("dataset: carved %s from train, %d rows each", " and ".join(missing), size)
        splits = {**splits, "train": train.select(sorted(order)), **carved}
    return {split: splits[split] for split in ("train", "validation", "test")}


def text(record: Record, key: str) -> str:
    """A non-blank string field. Raises Dropped when it is missing, null, blank or no string."""
    value = record.get(key)
    if not isinstance(value, str) or not value.strip():
        raise Dropped(f"no {key}")
    return value.strip()


def _hash(identity: str) -> bytes:
    return hashlib.sha256(identity.encode()).digest()


def _log_dropped(dropped: Counter[str]) -> None:
    for reason, count in dropped.items():
        log.warning("dataset: dropped %d rows: %s", count, reason)


def _read_jsonl(file: Path) -> Iterator[Record]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _object(line, f"{file}:{number}")


def _read_json(file: Path) -> Any:
    return _decode(file.read_text(encoding="utf-8"), str(file))


def _object(line: str, where: str) -> Record:
    value = _decode(line, where)
    if not isinstance(value, dict):
        raise UserError(f"{where}: expected a JSON object, found {type(value).__name__}")
    return value


def _decode(content: str, where: str) -> Any:
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not valid JSON ({error})") from error
