"""Answers that another system gave, read from a file: scored as a model's are, and none is asked.

A line or record has `id` (or `prompt_id`) and `response` (or `completion`); it may have `tokens`,
`truncated`, and `stage`, of which "after" counts: the predictions.parquet of a run is such a file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from annotated_types import MinLen
from pydantic import AliasChoices, BaseModel, Field

from medgrpo.dataset.example import Example
from medgrpo.dataset.read import SUFFIXES, read_batches, read_records, validated
from medgrpo.errors import UserError
from medgrpo.evaluation.engines.base import (
    Decoding,
    Engine,
    Generation,
    OnAnswers,
    Prompts,
    unheard,
)
from medgrpo.model.base import Policy

log = logging.getLogger(__name__)

_READ = 1000  # rows of a parquet file at a time


class _Line(BaseModel):
    id: Annotated[str, MinLen(1)] = Field(validation_alias=AliasChoices("id", "prompt_id"))
    response: str = Field(validation_alias=AliasChoices("response", "completion"))
    tokens: int | None = None
    truncated: bool = False
    stage: str = "after"


@dataclass(kw_only=True)
class RecordedEngine(Engine):
    """The responses of a file, by the ids of their rows."""

    renders: ClassVar[bool] = False
    asks: ClassVar[bool] = False
    no_adapter: ClassVar[str] = "recorded responses need no model"

    path: str
    ids: tuple[str, ...] = ()  # of the rows whose prompts come next

    @property
    def answered_by(self) -> str:
        return f"the responses in {self.path}"

    def for_rows(self, rows: Sequence[Example]) -> RecordedEngine:
        """The engine that answers the prompts of `rows`, in their order."""
        return replace(self, ids=tuple(row["id"] for row in rows))

    def generate(
        self, policy: Policy, prompts: Prompts, decoding: Decoding, on_answers: OnAnswers = unheard
    ) -> list[Generation]:
        """As `Engine.generate`; a row that the file has no response to is a UserError."""
        if decoding.temperature:
            raise UserError("evaluation.samples: engine=recorded has one response a row; set 0")
        file = Path(self.path).expanduser()
        if file.suffix.lower() not in SUFFIXES or not file.is_file():
            raise UserError(f"engine.path: {file} is no file that ends in {', '.join(SUFFIXES)}")
        recorded = _read(file)
        if missing := [one for one in self.ids if one not in recorded]:
            raise UserError(
                f"engine.path: {self.path} has no response to {len(missing)} of {len(self.ids)} "
                f"rows ({', '.join(missing[:3])} ..): its ids are those of the dataset's rows; "
                "evaluation.limit takes the first rows alone"
            )
        answers = [recorded[one] for one in self.ids]
        on_answers(dict(enumerate(answers)))
        return answers


def _read(file: Path) -> dict[str, Generation]:
    """Response by id. UserError names the record that cannot be read, or comes twice."""
    found: dict[str, Generation] = {}
    estimated = 0
    for number, record in enumerate(_records(file), 1):
        where = f"engine.path: {file}, record {number}"
        line = validated(_Line, record, where)
        if line.stage != "after":
            continue
        if line.id in found:
            raise UserError(f"{where}: {line.id} has a response already")
        estimated += line.tokens is None
        tokens = len(line.response) // 4 if line.tokens is None else line.tokens
        found[line.id] = Generation(line.response, tokens, line.truncated)
    if estimated:
        log.warning(
            "engine.path: %d of %d responses come without `tokens`: estimated, a token for 4 "
            "characters",
            estimated, len(found),
        )  # fmt: skip
    return found


def _records(file: Path) -> Iterator[Any]:
    if file.suffix.lower() == ".parquet":
        return (row for batch in read_batches(file, _READ) for row in batch.to_pylist())
    return read_records(file)
