"""PubMedQA: Jin et al. 2019, https://arxiv.org/abs/1909.06146.

One row of the original ori_pqal.json, an object keyed by PMID:

    "21645374": {"QUESTION": "Do mitochondria play a role in ... cell death?",
                 "CONTEXTS": ["Programmed cell death (PCD) is ...", ...], "LABELS": [...],
                 "final_decision": "yes", "LONG_ANSWER": "Results depicted ..."}

The hub's qiaojin/PubMedQA has the same in lower case, with the passages under `context`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from medgrpo.dataset.base import Dropped, MedicalDataset, Record, text
from medgrpo.dataset.example import Example
from medgrpo.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset

LABELS = ("yes", "no", "maybe")


@dataclass(kw_only=True)
class PubMedQA(MedicalDataset):
    """An abstract and a research question; `label` is yes, no or maybe."""

    name: ClassVar[str] = "pubmedqa"
    fields: ClassVar[tuple[str, ...]] = ("QUESTION", "CONTEXTS", "final_decision")

    def read(self, file: Path) -> Iterable[Record]:
        records = super().read(file)
        if file.suffix != ".json":
            return records
        if not isinstance(records, dict) or not all(isinstance(r, dict) for r in records.values()):
            raise UserError(f"{file}: expected one JSON object that maps a PMID to each record")
        return ({"id": pmid, **record} for pmid, record in records.items())

    def parse(self, record: Record, row: int) -> Example:
        label = text(record, "final_decision").lower()
        if label not in LABELS:
            raise Dropped(f"final_decision is none of {', '.join(LABELS)}")
        return Example(
            id=str(record.get("id", f"pubmedqa-{row}")),
            question=text(record, "QUESTION"),
            context=[passage for passage in record["CONTEXTS"] or [] if passage.strip()],
            options=[],
            answer=label,
            label=label,
            explanation=record.get("LONG_ANSWER") or "",
        )

    def hub(self) -> dict[str, Dataset]:
        """Train on pqa_artificial, hold out pqa_labeled."""
        parts = {"train": "pqa_artificial", "test": "pqa_labeled"}
        return {
            split: self.parse_dataset(self.hub_split("train", config))
            for split, config in parts.items()
        }

    def original(self, record: Record) -> Record:
        if "question" not in record:
            return record
        return {
            "id": record.get("pubid"),
            "QUESTION": record["question"],
            "CONTEXTS": (record.get("context") or {}).get("contexts"),
            "LONG_ANSWER": record.get("long_answer"),
            "final_decision": record.get("final_decision"),
        }
