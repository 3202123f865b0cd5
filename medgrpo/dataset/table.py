"""Any table of questions by a mapping in the config: a new benchmark needs YAML only.

MedMCQA (Pal et al. 2022), as its authors and the hub store it, has one column an option:

    {"id": "...", "question": "Which vitamin is supplied from only animal source?",
     "opa": "Vitamin C", "opb": "Vitamin B7", "opc": "Vitamin B12", "opd": "Vitamin D",
     "cop": 2, "exp": "Vitamin B12 is found ..."}

    question: question
    options: [opa, opb, opc, opd]
    answer: cop
    answer_is: index
    explanation: exp
    id: id

docs/data.md shows it and the CSV of MMLU, which has no header.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from medgrpo.dataset.base import MedicalDataset
from medgrpo.dataset.example import LETTERS, Example
from medgrpo.dataset.read import read_records
from medgrpo.dataset.record import Batch, Dropped, Record, optional_text, text, texts
from medgrpo.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(kw_only=True)
class Table(MedicalDataset):
    """Rows of JSON lines, JSON, CSV, TSV or parquet; fields are the names of their columns."""

    name: ClassVar[str] = "table"

    question: str
    answer: str
    # index counts from 0 and number from 1, and a row has to show it, or it is said to be sure
    answer_is: Literal["letter", "index", "number", "text", "index_from_0", "index_from_1"]
    options: str | list[str] | None = None  # a column of lists or objects, or one column an option
    labels: list[str] | None = None  # the answers there are, where there are no options
    context: str | None = None  # a passage or a list of them
    explanation: str | None = None
    id: str | None = None
    columns: list[str] | None = None  # names for a CSV or TSV without header

    def __post_init__(self) -> None:
        if self.source == "sample":
            raise UserError("dataset.source: a table has no sample; use path or hub")
        if self.answer_is != "text" and not self.options and not self.labels:
            raise UserError(f"dataset.answer_is: {self.answer_is} needs dataset.options or .labels")
        self._shown: set[int] = set()  # from what the answers are seen to count: 0, 1

    @property
    def fields(self) -> tuple[str, ...]:  # type: ignore[override]
        """The columns that every row must have."""
        options = self.options if isinstance(self.options, list) else [self.options]
        named = [self.question, *options, self.answer, self.context, self.explanation, self.id]
        return tuple(name for name in named if name)

    def read(self, file: Path) -> Iterable[Record]:
        return read_records(file, self.columns)

    def files(self) -> dict[str, pa.Table]:
        return self._proven(super().files())

    def hub(self) -> dict[str, pa.Table]:
        return self._proven(super().hub())

    def parse_batches(self, batches: Iterable[Batch], where: str) -> pa.Table:
        """As `MedicalDataset.parse_batches`. UserError for answers that count from elsewhere."""
        try:
            return super().parse_batches(batches, where)
        finally:  # this is why rows were dropped
            other = 1 - self._first
            if self._is_index and self._shown == {other}:
                seen = "0" if other == 0 else "the number of the options"
                raise UserError(
                    f"dataset.answer_is: {self.answer_is} counts from {self._first}, but rows of "
                    f"{where} have {seen} in column {self.answer} and none has what would prove "
                    f"it: write answer_is: {'index' if other == 0 else 'number'}"
                )

    @property
    def _is_index(self) -> bool:
        return self.answer_is not in ("letter", "text")

    @property
    def _first(self) -> int:
        return 0 if self.answer_is in ("index", "index_from_0") else 1

    def _proven(self, splits: dict[str, pa.Table]) -> dict[str, pa.Table]:
        """The splits, if a row shows from what their answers count."""
        if self.answer_is in ("index", "number") and len(self._shown) != 1:
            seen = "both 0 and" if self._shown else "neither 0 nor"
            raise UserError(
                f"dataset.answer_is: {seen} the number of the options stand in column "
                f"{self.answer}, so nothing shows whether it counts from 0 or from 1; if you know, "
                "write answer_is: index_from_0, or index_from_1"
            )
        return splits

    def parse(self, record: Record, row: int) -> Example:
        options = self._options(record)
        if options and not 2 <= len(options) <= len(LETTERS):
            raise Dropped(f"{len(options)} options, where 2 to {len(LETTERS)} can be lettered")
        choices = options or self.labels
        place = None if choices is None else self._place(text(record, self.answer), choices)
        if place is None or choices is None:
            answer, label = text(record, self.answer), None
        else:
            answer, label = choices[place], LETTERS[place] if options else choices[place]
        return Example(
            id=(optional_text(record, self.id) if self.id else "") or f"row-{row}",
            question=text(record, self.question),
            context=texts(record, self.context) if self.context else [],
            options=options,
            answer=answer,
            label=label,
            explanation=optional_text(record, self.explanation) if self.explanation else "",
        )

    def _options(self, record: Record) -> list[str]:
        if self.options is None:
            return []
        if isinstance(self.options, list):
            return [text(record, name) for name in self.options]
        value = record[self.options]
        if isinstance(value, dict):
            value = [value[key] for key in sorted(value) if value[key] is not None]
        if not isinstance(value, list) or not value:
            raise Dropped(f"{self.options} is no list of options")
        return [text({"option": option}, "option") for option in value]

    def _place(self, answer: str, choices: Sequence[Any]) -> int:
        """Which of the choices is the answer."""
        if self.answer_is == "text":
            places = [i for i, c in enumerate(choices) if c.casefold() == answer.casefold()]
        elif self.answer_is == "letter":
            places = [i for i, c in enumerate(LETTERS) if c == answer.strip("(). ").upper()]
        else:
            number = answer.removesuffix(".0")  # what pandas makes of integers beside nulls
            places = [int(number) - self._first] if number.isdecimal() else []
            ends = {"0": 0, str(len(choices)): 1}
            self._shown |= {ends[number]} if number in ends else set()
        if len(places) != 1 or not 0 <= places[0] < len(choices):
            raise Dropped(f"{self.answer} names none of the choices")
        return places[0]
