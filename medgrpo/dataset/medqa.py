"""MedQA (USMLE), four options: Jin et al. 2020, https://arxiv.org/abs/2009.13081.

One row of the original file and of the hub's GBaker/MedQA-USMLE-4-options:

    {"question": "A 23-year-old pregnant woman at 22 weeks ... best treatment?",
     "answer": "Nitrofurantoin", "options": {"A": "Ampicillin", ..., "D": "Nitrofurantoin"},
     "meta_info": "step2&3", "answer_idx": "D", "metamap_phrases": [...]}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from medgrpo.dataset.base import MedicalDataset
from medgrpo.dataset.example import LETTERS, Example
from medgrpo.dataset.record import Dropped, Record, optional_text, text


@dataclass(kw_only=True)
class MedQA(MedicalDataset):
    """Vignettes with four options; `label` is the letter."""

    name: ClassVar[str] = "medqa"
    fields: ClassVar[tuple[str, ...]] = ("question", "options", "answer_idx")

    def parse(self, record: Record, row: int) -> Example:
        options, label = record["options"], text(record, "answer_idx")
        if not isinstance(options, dict) or list(options) != list(LETTERS[: len(options)]):
            raise Dropped("options are not lettered A, B, ...")
        if label not in options:
            raise Dropped("answer_idx names no option")
        return Example(
            id=f"medqa-{row}",
            question=text(record, "question"),
            context=[],
            options=[text(options, letter) for letter in options],
            answer=text(options, label),
            label=label,
            explanation="",
        )

    def group(self, record: Record) -> str:
        """Which step of the exam: step1 or step2&3."""
        return optional_text(record, "meta_info")
