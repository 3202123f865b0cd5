"""BioASQ task B: Krithara et al. 2023, https://doi.org/10.1038/s41597-023-02068-4.

One question of the original golden JSON, `{"questions": [...]}`:

    {"id": "5e30...", "body": "Which genes ... ?", "type": "list",
     "snippets": [{"text": "PRR12 ...", "document": "http://..."}],
     "ideal_answer": ["..."], "exact_answer": [["gene", "its synonym"], ["other gene"]]}

The hub's enelpol/rag-mini-bioasq has question, answer (text) and passage ids to join.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from medgrpo.dataset.base import Dropped, MedicalDataset, Record, text
from medgrpo.dataset.example import Example
from medgrpo.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(kw_only=True)
class BioASQ(MedicalDataset):
    """A question with passages; the answer is short, a list ("a; b") or yes / no."""

    name: ClassVar[str] = "bioasq"
    fields: ClassVar[tuple[str, ...]] = ("body", "snippets")

    def read(self, file: Path) -> Iterable[Record]:
        records = super().read(file)
        if file.suffix != ".json":
            return records
        if not isinstance(records, dict) or not isinstance(records.get("questions"), list):
            raise UserError(f'{file}: expected a JSON object with a list under "questions"')
        return records["questions"]

    def parse(self, record: Record, row: int) -> Example:
        ideal = record.get("ideal_answer") or []
        ideal = ideal[0] if isinstance(ideal, list) and ideal else ideal or ""
        answer = answer_text(record.get("exact_answer") or ideal)
        if not answer:
            raise Dropped("no exact_answer or ideal_answer")
        passages = [snippet.get("text", "") for snippet in record["snippets"] or []]
        return Example(
            id=str(record.get("id", f"bioasq-{row}")),
            question=text(record, "body"),
            context=[passage.strip() for passage in passages if passage.strip()],
            options=[],
            answer=answer,
            label=answer if answer in ("yes", "no") else None,
            explanation=ideal,
        )

    def group(self, record: Record) -> str:
        """The type of question: yesno, factoid, list or summary."""
        return record.get("type") or ""

    def hub(self) -> dict[str, Dataset]:
        """Join question-answer-passages with text-corpus."""
        corpus = self.hub_split("test", "text-corpus")
        passages = dict(zip(corpus["id"], corpus["passage"], strict=True))
        questions = self.hub_split(None, "question-answer-passages")

        def golden(row: Record) -> Record:
            snippets = [{"text": passages.get(i) or ""} for i in row["relevant_passage_ids"]]
            ideal = [row["answer"]]
            return {"body": row["question"], "snippets": snippets, "ideal_answer": ideal}

        return {
            split: self.parse_dataset(
                questions[split].map(golden, remove_columns=["question", "answer"])
            )
            for split in (self.split, "test")
        }


def answer_text(answer: Any) -> str:
    """Items joined by "; ", synonyms of an item by " | "; yes and no in lower case.

    >>> answer_text([["TNF", "cachexin"], ["IL6"]])
    'TNF | cachexin; IL6'
    >>> answer_text("Yes")
    'yes'
    """
    if isinstance(answer, list):
        items = [item if isinstance(item, list) else [item] for item in answer]
        return "; ".join(" | ".join(map(str, item)) for item in items if item)
    said = str(answer or "").strip()
    return said.lower() if said.lower() in ("yes", "no") else said
