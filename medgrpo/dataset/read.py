"""Files of records, read so that whatever is wrong with one is said with its file and line.

Formats: JSON lines, JSON, CSV and TSV, all in UTF-8 (a byte order mark is skipped). JSON's NaN and
Infinity, which are no JSON, come out as null. Parquet carries its schema.
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from medgrpo.dataset.record import Record
from medgrpo.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa
    from pydantic import BaseModel

log = logging.getLogger(__name__)

Model = TypeVar("Model", bound="BaseModel")

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")


def read_records(
    file: Path, columns: Sequence[str] | None = None, within: str | None = None
) -> Iterator[Record]:
    """The records of a .jsonl, .csv or .tsv file, or of a .json file that holds a list of them.

    A .json file may also hold them by column, as pandas writes a table, or `within` an object:
    "exams.*.data" are the lists `data` of each of the `exams`, whose other texts and numbers every
    record gets, too.
    `columns` names the columns of a CSV or TSV file that has no header. Values of these are texts,
    or None where a line ends early; a line that goes on too long has the key None. Raises
    UserError with file and line.
    """
    suffix = file.suffix.lower()
    if suffix == ".jsonl":
        return _json_lines(file)
    if suffix == ".json":
        return _json_records(file, within)
    if suffix in (".csv", ".tsv"):
        return _separated(file, "," if suffix == ".csv" else "\t", columns)
    raise UserError(f"dataset.path: {file} is none of {', '.join(SUFFIXES)}")


def validated(kind: type[Model], record: Any, where: str) -> Model:
    """The record as a `kind`. UserError that names its first field that is not as it should be."""
    from pydantic import ValidationError

    try:
        return kind.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"{where}: {key}: {first['msg']}") from None


def read_json(file: Path) -> Any:
    """The one value of a JSON file. Raises UserError."""
    return _decode("".join(_lines(file)), str(file))


def read_batches(file: Path, size: int) -> Iterator[pa.RecordBatch]:
    """The rows of a parquet file, up to `size` at a time. Raises UserError."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        yield from ParquetFile(file).iter_batches(size)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"dataset.path: cannot read {file}: {error}") from error


def _json_lines(file: Path) -> Iterator[Record]:
    for number, line in enumerate(_lines(file), 1):
        if line.strip():
            value = _decode(line, f"{file}: line {number}")
            if not isinstance(value, dict):
                kind = type(value).__name__
                raise UserError(f"{file}: line {number}: expected a JSON object, found {kind}")
            yield value


def _json_records(file: Path, within: str | None) -> Iterator[Record]:
    value = read_json(file)
    if within:
        yield from _records_within(value, within.split("."), {}, f"{file}: {within}")
        return
    if isinstance(value, dict) and value and all(isinstance(one, dict) for one in value.values()):
        rows = dict.fromkeys(row for column in value.values() for row in column)
        value = [{name: column.get(row) for name, column in value.items()} for row in rows]
    if not isinstance(value, list):
        raise UserError(f"{file}: expected a list of objects, found {type(value).__name__}")
    yield from value


def _records_within(value: Any, keys: Sequence[str], above: Record, where: str) -> Iterator[Record]:
    if not keys and isinstance(value, list):
        yield from ({**above, **one} if isinstance(one, dict) else one for one in value)
        return
    if not keys or not isinstance(value, dict) or not (keys[0] == "*" or keys[0] in value):
        raise UserError(f"{where}: no such list of records; see dataset.records")
    above = above | {name: one for name, one in value.items() if isinstance(one, str | int | float)}
    for one in value.values() if keys[0] == "*" else [value[keys[0]]]:
        yield from _records_within(one, keys[1:], above, where)


def _separated(file: Path, delimiter: str, columns: Sequence[str] | None) -> Iterator[Record]:
    first = next(_lines(file), "")
    if delimiter == "," and "," not in first and ";" in first:
        log.info("dataset: %s: columns are separated by ';'", file)
        delimiter = ";"
    reader = csv.DictReader(_lines(file), fieldnames=columns, delimiter=delimiter, strict=True)
    try:
        names = reader.fieldnames or []
        if len(set(names)) < len(names):
            raise UserError(f"{file}: a column name occurs twice in {', '.join(names)}")
        yield from reader
    except csv.Error as error:
        line = reader.line_num + 1  # where the row begins
        raise UserError(f"{file}: line {line}: not valid CSV ({error})") from error


def _lines(file: Path) -> Iterator[str]:
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{file}: line {number}: not UTF-8 ({error.reason}, byte {error.start} of the line); "
            "save the file as UTF-8"
        ) from error
    except OSError as error:
        raise UserError(f"dataset.path: cannot read {file}: {error.strerror}") from error


def _decode(content: str, where: str) -> Any:
    try:
        return json.loads(content, object_pairs_hook=_unique, parse_constant=lambda name: None)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not valid JSON ({error})") from error


def _unique(pairs: list[tuple[str, Any]]) -> Record:
    """An object; ValueError when a key occurs twice, of which JSON would silently keep the last."""
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in record if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} occurs twice in one object")
    return record
