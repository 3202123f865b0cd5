"""BioASQ task B: Krithara et al. 2023, https://doi.org/10.1038/s41597-023-02068-4.

One question of the original golden JSON, `{"questions": [...]}`:

    {"id": "5e30...", "body": "Which genes ... ?", "type": "list",
     "snippets": [{"text": "PRR12 ...", "document": "http://..."}],
     "ideal_answer": ["..."], "exact_answer": [["gene", "its synonym"], ["other gene"]]}

`exact_answer` of a factoid question is one thing with its synonyms, of a yesno question a word;
a summary question has none, and its answer is the ideal one. The hub's enelpol/rag-mini-bioasq
has question, answer (prose) and passage ids to join.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from medgrpo.dataset.base import MedicalDataset
from medgrpo.dataset.example import Example
from medgrpo.dataset.read import read_json
from medgrpo.dataset.record import Dropped, Record, optional_text, text, texts
from medgrpo.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(kw_only=True)
class BioASQ(MedicalDataset):
    """A question with passages; the answer is short, a list ("a; b"), yes / no or prose."""

    name: ClassVar[str] = "bioasq"
    fields: ClassVar[tuple[str, ...]] = ("body", "snippets")
    file_names: ClassVar[dict[str, str]] = {
        **MedicalDataset.file_names,
        "train": r"(.*[_-])?train(ing\d*b?)?",  # BioASQ-training11b/training11b.json
        "test": r"(.*[_-])?test|\d+B\d_golden",  # its batches, 11B1_golden.json to 11B4_golden.json
    }

    def read(self, file: Path) -> Iterable[Record]:
        if file.suffix.lower() != ".json":
            return super().read(file)
        records = read_json(file)
        if not isinstance(records, dict) or not isinstance(records.get("questions"), list):
            raise UserError(f'{file}: expected a JSON object with a list under "questions"')
        return records["questions"]

    def parse(self, record: Record, row: int) -> Example:
        snippets = record["snippets"] or []
        if not isinstance(snippets, list) or not all(isinstance(s, dict) for s in snippets):
            raise Dropped("snippets is no list of passages")
        passages = [optional_text(snippet, "text") for snippet in snippets]
        ideal = next(iter(texts(record, "ideal_answer")), "")
        answer = exact_answer(record) or ideal
        if not answer:
            raise Dropped("no exact_answer or ideal_answer")
        return Example(
            id=optional_text(record, "id") or f"bioasq-{row}",
            question=text(record, "body"),
            context=[passage for passage in passages if passage],
            options=[],
            answer=answer,
            label=answer if answer in ("yes", "no") else None,
            explanation=ideal,
        )

    def group(self, record: Record) -> str:
        """The type of question: yesno, factoid, list or summary."""
        return optional_text(record, "type")

    def hub(self) -> dict[str, pa.Table]:
        """Join question-answer-passages with text-corpus."""
        corpus = self.hub_split("test", "text-corpus")
        passages = dict(zip(corpus["id"], corpus["passage"], strict=True))

        def golden(records: Iterable[Record]) -> Iterator[Record]:
            for record in records:
                found = [passages.get(i) for i in record["relevant_passage_ids"] or []]
                snippets = [{"text": passage} for passage in found]
                yield {
                    "id": record["id"],
                    "body": record["question"],
                    "snippets": snippets,
                    "ideal_answer": record["answer"],
                }

        questions = "question-answer-passages"
        return {
            name: self.parse_records(
                golden(self.hub_split(split, questions)), f"{self.dataset_id} {split}"
            )
            for name, split in {"train": self.split, "test": "test"}.items()
        }


def exact_answer(record: Record) -> str:
    """Items joined by "; ", synonyms of an item by " | "; yes or no in lower case; "" for none.

    Raises Dropped when a yesno question has another answer, or the answer is built otherwise.

    >>> exact_answer({"type": "list", "exact_answer": [["TNF", "cachexin"], ["IL6"]]})
    'TNF | cachexin; IL6'
    >>> exact_answer({"type": "factoid", "exact_answer": ["MRI", "magnetic resonance imaging"]})
    'MRI | magnetic resonance imaging'
    >>> exact_answer({"type": "yesno", "exact_answer": "Yes."})
    'yes'
    """
    given, kind = record.get("exact_answer"), record.get("type")
    items = given if isinstance(given, list) else [given]
    synonyms = [
        [_item(name) for name in (item if isinstance(item, list) else [item])] for item in items
    ]
    found = [list(dict.fromkeys(filter(None, names))) for names in synonyms]
    found = [names for names in found if names]
    said = found[0][0].lower().rstrip(".") if len(found) == 1 else ""
    if kind == "yesno" and said not in ("yes", "no"):
        raise Dropped("exact_answer is neither yes nor no")
    if said in ("yes", "no"):
        return said
    if kind == "factoid":
        found = [[name for names in found for name in names]] if found else []
    return "; ".join(" | ".join(names) for names in found)


def _item(name: Any) -> str:
    """One name, free of the signs that part names and items."""
    if isinstance(name, list | dict):
        raise Dropped("exact_answer is nested too deep")
    return optional_text({"name": name}, "name").replace("; ", ", ").replace(" | ", " / ")
