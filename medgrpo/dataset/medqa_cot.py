"""MedQA with chain of thought, from dmis-lab/meerkat-instructions (Kim et al. 2024).

One row of the hub's `MedQA-CoT` configuration:

    {"id": "medqa-cot_17", "messages": [{"role": "system", ...},
     {"role": "user", "content": "A 35-year-old ... decongestants? (A) Persistent ... (D) .."},
     {"role": "assistant", "content": "Chronic use ... the answer is (A) Persistent .."}]}
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from medgrpo.dataset.base import MedicalDataset
from medgrpo.dataset.example import LETTERS, Example
from medgrpo.dataset.record import Dropped, Record, optional_text

if TYPE_CHECKING:
    import pyarrow as pa

ANSWER = re.compile(r"the answer is \(([A-J])\)", re.IGNORECASE)


@dataclass(kw_only=True)
class MedQACoT(MedicalDataset):
    """Vignettes with options and a worked explanation."""

    name: ClassVar[str] = "medqa_cot"
    fields: ClassVar[tuple[str, ...]] = ("messages",)

    def parse(self, record: Record, row: int) -> Example:
        turns = record["messages"]
        if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
            raise Dropped("messages is no list of turns")
        said = {optional_text(turn, "role"): optional_text(turn, "content") for turn in turns}
        question, options = split_options(said.get("user", ""))
        explanation = said.get("assistant", "")
        answers = ANSWER.findall(explanation)
        if not question or len(options) < 2 or not all(options):
            raise Dropped("no question with (A) (B) ... options")
        if not answers:
            raise Dropped('no "the answer is (X)"')
        label = answers[-1].upper()
        if LETTERS.index(label) >= len(options):
            raise Dropped("the answer names no option")
        return Example(
            id=optional_text(record, "id") or f"medqa-cot-{row}",
            question=question,
            context=[],
            options=options,
            answer=options[LETTERS.index(label)],
            label=label,
            explanation=explanation,
        )

    def hub(self) -> dict[str, pa.Table]:
        records = self.hub_split(self.split, "MedQA-CoT")
        return {"train": self.parse_table(records, f"{self.dataset_id} MedQA-CoT")}


def split_options(content: str) -> tuple[str, list[str]]:
    """Split "stem? (A) one (B) two" into the stem and the option texts.

    Letters must follow each other, and the last such run counts: a stem may hold "(A)" itself.

    >>> split_options("Type (A) blood. Which? (A) one (B) two")
    ('Type (A) blood. Which?', ['one', 'two'])
    """
    starts = [m.start() for m in re.finditer(r"\(A\)\s", content)]
    if not starts:
        return content.strip(), []
    stem, rest = content[: starts[-1]], content[starts[-1] :]
    options = []
    for i, letter in enumerate(LETTERS):
        if not rest.startswith(f"({letter})"):
            break
        cut = rest.find(f"({LETTERS[i + 1]}) ") if i + 1 < len(LETTERS) else -1
        options.append(rest[3 : cut if cut >= 0 else None].strip())
        rest = rest[cut:] if cut >= 0 else ""
    return stem.strip(), options
