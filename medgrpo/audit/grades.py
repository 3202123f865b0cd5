"""Answers that people have graded, read from a file: what a judge is held against.

One JSON object a line. `question` (text, or `prompt`: a list of messages), `completion`, and
`grades`: one a rater, true/false or a number in [0, 1]. May have `criteria` (what the grades are
about), `context`, `options`, `answer` (the gold one), `model` (who wrote it) and `language`.
HealthBench's meta-evaluation (Arora et al. 2025, https://arxiv.org/abs/2505.08775) is read as it
is: its `rubric` are the criteria, its `binary_labels` the grades.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

from annotated_types import Ge, Le, MinLen
from pydantic import AliasChoices, BaseModel, Field

from medgrpo.answers.parse import Style, predict
from medgrpo.dataset.example import LETTERS, Example
from medgrpo.dataset.read import validated
from medgrpo.dataset.rubric import Criterion, Rubric
from medgrpo.errors import UserError

Grade = Annotated[float, Ge(0), Le(1)]


class _Line(BaseModel):
    question: str | list[dict[str, Any]] = Field(
        validation_alias=AliasChoices("question", "prompt")
    )
    completion: Annotated[str, MinLen(1)]
    grades: Annotated[list[bool | Grade], MinLen(1)] = Field(
        validation_alias=AliasChoices("grades", "binary_labels")
    )
    criteria: str = Field("", validation_alias=AliasChoices("criteria", "rubric"))
    context: str | list[str] = []
    options: list[str] = []
    answer: str = ""
    model: str = ""
    language: str = ""


@dataclass(frozen=True)
class Graded:
    """One completion with what people think of it."""

    row: Example
    completion: str
    grades: tuple[float, ...]  # one a rater, in [0, 1]
    criteria: str
    model: str  # who wrote it, "" for unknown
    language: str

    @property
    def human(self) -> float:
        """The mean of the raters."""
        return sum(self.grades) / len(self.grades)

    def option(self, style: Style) -> float | None:
        """Where the option that it chooses stands, from 0 (first) to 1 (last); None: nowhere."""
        chosen = predict(self.completion, self.row, style) if self.row["options"] else None
        last = len(self.row["options"]) - 1
        return LETTERS.index(chosen) / last if chosen and chosen in LETTERS[: last + 1] else None


def read_grades(path: Path) -> list[Graded]:
    """The lines of a file. Raises UserError that names the line which cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"audit.grades: {path} cannot be read ({error})") from None
    rows = [_read(path, n, line) for n, line in enumerate(lines, 1) if line.strip()]
    if len(rows) < 2:
        raise UserError(f"audit.grades: {path} has {len(rows)} graded answers; 2 are needed")
    return rows


def _read(path: Path, number: int, text: str) -> Graded:
    try:
        line = validated(_Line, json.loads(text), f"audit.grades: {path}, line {number}")
    except ValueError as error:
        raise UserError(f"audit.grades: {path}, line {number} is no JSON ({error})") from None
    context = [line.context] if isinstance(line.context, str) else line.context
    row = Example(
        id=f"line {number}",
        question=line.question if isinstance(line.question, str) else _spoken(line.question),
        context=context,
        options=line.options,
        answer=line.answer,
        label=_label(line),
        explanation="",
    )
    if line.criteria:
        rubric = Rubric((Criterion(line.criteria, 1.0),)).dumps()
        row = cast(Example, {**row, "rubric": rubric})
    grades = tuple(map(float, line.grades))
    return Graded(row, line.completion, grades, line.criteria, line.model, line.language)


def _label(line: _Line) -> str | None:
    """The letter of the gold answer, where it is one of the options or its letter."""
    letters = LETTERS[: len(line.options)]
    if line.answer in line.options:
        return LETTERS[line.options.index(line.answer)]
    return line.answer if line.answer and line.answer in letters else None


def _spoken(messages: Sequence[Mapping[str, Any]]) -> str:
    """A conversation as one text."""
    turns = [f"{one.get('role', 'user')}: {one.get('content', '')}" for one in messages]
    return str(messages[0].get("content", "")) if len(messages) == 1 else "\n\n".join(turns)
