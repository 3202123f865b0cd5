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
from medgrpo.dataset.example import LETTERS, Example, letters_in
from medgrpo.dataset.options import letter_set, option_texts
from medgrpo.dataset.parsing import LEFT_OUT
from medgrpo.dataset.read import read_records
from medgrpo.dataset.record import Batch, Dropped, Record, optional_text, text, texts, turns
from medgrpo.dataset.rubric import Pitfall, Rubric, read_rubric, require_gold
from medgrpo.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(kw_only=True)
class Table(MedicalDataset):
    """Rows of JSON lines, JSON, CSV, TSV or parquet; fields are the names of their columns."""

    name: ClassVar[str] = "table"
    has_sample: ClassVar[bool] = False

    question: str
    answer: str  # "": a rubric alone says what is good
    # letters: any number of options is right; index counts from 0 and number from 1, and a row has
    # to show it, or it is said to be sure
    answer_is: Literal[
        "letter", "letters", "index", "number", "text", "index_from_0", "index_from_1"
    ]
    options: str | list[str] | None = None  # a column of lists or objects, or one column an option
    labels: list[str] | None = None  # the answers there are, where there are no options
    context: str | None = None  # a passage or a list of them
    explanation: str | None = None
    rubric: str | None = None  # a list of criteria with points, of a question without one answer
    pitfall: Pitfall | None = None  # how criteria of points below 0 are worded, see `read_rubric`
    tags: str | None = None  # a list of what the row is about, beside its rubric
    id: str | None = None
    question_ends_at: str | None = None  # what begins a list of the options in the question's text
    records: str | None = None  # where in a JSON object the rows are: exams.*.data
    columns: list[str] | None = None  # names for a CSV or TSV without header
    where: dict[str, Any] | None = None  # column: value, or values; other rows are left out
    subgroup: str | None = None  # column, for metrics by subgroup
    hub_config: str | list[str] | None = None  # of the repository; several are one benchmark

    def __post_init__(self) -> None:
        if self.source == "sample" and not self.has_sample:
            raise UserError("dataset.source: a table has no sample; use path or hub")
        require_gold(self.answer, self.rubric, self.pitfall)
        if self.answer_is != "text" and not self.options and not self.labels:
            raise UserError(f"dataset.answer_is: {self.answer_is} needs dataset.options or .labels")
        self._shown: set[int] = set()  # from what the answers are seen to count: 0, 1
        self._config: str | None = None  # the hub's configuration that is being read

    @property
    def fields(self) -> tuple[str, ...]:  # type: ignore[override]
        """The columns that every row must have."""
        options = self.options if isinstance(self.options, list) else [self.options]
        named = [self.question, *options, self.answer, self.context, self.explanation]
        return tuple(name for name in [*named, self.rubric, self.tags, self.id] if name)

    @property
    def unlabelled(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset({f"no {self.answer}", f"{self.answer} names none of the choices"})

    def read(self, file: Path) -> Iterable[Record]:
        return read_records(file, self.columns, self.records)

    def original(self, record: Record) -> Record:
        """The record, if it is one of those that are asked for."""
        for column, wanted in (self.where or {}).items():
            values = wanted if isinstance(wanted, list) else [wanted]
            if text(record, column) not in map(str, values):
                raise Dropped(LEFT_OUT)
        return record

    def turns(self, record: Record) -> list[dict[str, str]] | None:
        return turns(record, self.question) if isinstance(record[self.question], list) else None

    def rubric_of(self, record: Record) -> Rubric | None:
        if self.rubric is None or self.pitfall is None:
            return None
        return read_rubric(record, self.rubric, self.pitfall, self.tags)

    def group(self, record: Record) -> str:
        if self.subgroup:
            return optional_text(record, self.subgroup)
        return (self._config or "") if isinstance(self.hub_config, list) else ""

    def files(self) -> dict[str, pa.Table]:
        return self._proven(super().files())

    def hub(self) -> dict[str, pa.Table]:
        """As `MedicalDataset.hub`, of each of the hub's configurations."""
        import pyarrow as pa

        names = self.hub_config if isinstance(self.hub_config, list) else [self.hub_config]
        parts = []
        for name in names:
            self._config = name
            parts.append(super().hub())
        splits = {
            split: pa.concat_tables(
                [part[split] for part in parts if split in part], promote_options="default"
            )
            for split in dict.fromkeys(split for part in parts for split in part)
        }
        return self._proven(splits)

    def hub_split(self, split: str | None, config: str | None = None) -> Any:
        return super().hub_split(split, config or self._config)

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
        return self.answer_is not in ("letter", "letters", "text")

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
        answer, label = self._gold(record, options)
        return Example(
            id=(optional_text(record, self.id) if self.id else "") or self._numbered(row),
            question=self._question(record),
            context=texts(record, self.context) if self.context else [],
            options=options,
            answer=answer,
            label=label,
            explanation=optional_text(record, self.explanation) if self.explanation else "",
        )

    def _question(self, record: Record) -> str:
        """The question; of a conversation, all of it as text: what judges are shown."""
        if isinstance(record[self.question], list):
            said = turns(record, self.question)
            return "\n".join(f"{one['role']}: {one['content']}" for one in said)
        asked = text(record, self.question)
        return (
            asked.partition(self.question_ends_at)[0].rstrip() if self.question_ends_at else asked
        )

    def _gold(self, record: Record, options: list[str]) -> tuple[str, str | None]:
        """The right answer and its label, if it has one."""
        if self.rubric and not (options or self.labels):
            return optional_text(record, self.answer), None
        if self.answer_is == "letters":
            label = letter_set(record[self.answer], self.answer, options)
            return "; ".join(options[LETTERS.index(one)] for one in letters_in(label)), label
        given, choices = self._answer(record), options or self.labels
        if choices is None:
            return given, None
        place = self._place(given, choices)
        return choices[place], LETTERS[place] if options else choices[place]

    def _numbered(self, row: int) -> str:
        several = isinstance(self.hub_config, list) and self._config
        return f"{self._config}-row-{row}" if several else f"row-{row}"

    def _answer(self, record: Record) -> str:
        """The gold answer as it is written. Raises Dropped for none, and for several."""
        value = record[self.answer]
        if isinstance(value, list) and len(value) == 1:
            [value] = value
        said = "" if isinstance(value, list) else text({self.answer: value}, self.answer)
        letters = self.answer_is == "letter" and len(said) > 1 and said.isupper()
        if isinstance(value, list) or (letters and set(said) <= set(LETTERS)):
            if not self.options:
                raise Dropped(f"{self.answer} is a list, where a text belongs")
            raise Dropped(f"{self.answer} has several answers, which takes answer_is: letters")
        return said

    def _options(self, record: Record) -> list[str]:
        if self.options is None:
            return []
        if isinstance(self.options, list):
            last = max((n for n, key in enumerate(self.options) if _filled(record, key)), default=0)
            return [text(record, name) for name in self.options[: last + 1]]  # four of five, say
        return option_texts(record[self.options], self.options)

    def _place(self, answer: str, choices: Sequence[Any]) -> int:
        """Which of the choices is the answer."""
        if self.answer_is == "text":
            places = [i for i, c in enumerate(choices) if c.casefold() == answer.casefold()]
        elif self.answer_is == "letter":
            places = [i for i, c in enumerate(LETTERS) if c == answer.strip("(). ").upper()]
        else:
            number = answer.removesuffix(".0")  # what pandas makes of integers beside nulls
            places = [int(number) - self._first] if number.isdecimal() else []
            columns = self.options if isinstance(self.options, list) else choices
            ends = {"0": 0, str(len(columns)): 1}
            self._shown |= {ends[number]} if number in ends else set()
        if len(places) != 1 or not 0 <= places[0] < len(choices):
            raise Dropped(f"{self.answer} names none of the choices")
        return places[0]


def _filled(record: Record, key: str) -> bool:
    return bool(optional_text(record, key))
