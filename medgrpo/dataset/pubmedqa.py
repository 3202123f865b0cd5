"""PubMedQA: Jin et al. 2019, https://arxiv.org/abs/1909.06146.

One row of the original ori_pqal.json, an object keyed by PMID:

    "21645374": {"QUESTION": "Do mitochondria play a role in ... cell death?",
                 "CONTEXTS": ["Programmed cell death (PCD) is ...", ...], "LABELS": [...],
                 "final_decision": "yes", "LONG_ANSWER": "Results depicted ..."}

The hub's qiaojin/PubMedQA has the same in lower case, with the passages under `context`. Its
211,269 artificial rows are why tables in that schema are read by column: a third of a second,
where parsing them one by one takes many.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from medgrpo.dataset.base import MedicalDataset
from medgrpo.dataset.example import YES_NO_MAYBE, Example
from medgrpo.dataset.pubmedqa_table import COLUMNS, in_hub_schema, parse_columns
from medgrpo.dataset.read import read_json
from medgrpo.dataset.record import Dropped, Record, optional_text, text, texts
from medgrpo.dataset.rows import Rows
from medgrpo.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class PubMedQA(MedicalDataset):
    """An abstract and a research question; `label` is yes, no or maybe."""

    name: ClassVar[str] = "pubmedqa"
    fields: ClassVar[tuple[str, ...]] = ("QUESTION", "CONTEXTS", "final_decision")
    file_names: ClassVar[dict[str, str]] = {
        "train": r"(.*[_-])?train(_set)?|ori_pqaa",  # train_set.json: as split_dataset.py writes it
        "validation": r"(.*[_-])?(validation|valid|dev(_set)?)",
        "test": r"(.*[_-])?test(_set)?|ori_pqal",
    }

    test_ids: str | None = None  # the benchmark's test_ground_truth.json, {PMID: decision}

    def read(self, file: Path) -> Iterable[Record]:
        if file.suffix.lower() != ".json":
            return super().read(file)
        records = read_json(file)
        if not isinstance(records, dict) or not all(isinstance(r, dict) for r in records.values()):
            raise UserError(f"{file}: expected one JSON object that maps a PMID to each record")
        return ({"id": pmid, **record} for pmid, record in records.items())

    def parse(self, record: Record, row: int) -> Example:
        label = text(record, "final_decision").lower()
        if label not in YES_NO_MAYBE:
            raise Dropped(f"final_decision is none of {', '.join(YES_NO_MAYBE)}")
        return Example(
            id=optional_text(record, "id") or f"pubmedqa-{row}",
            question=text(record, "QUESTION"),
            context=texts(record, "CONTEXTS"),
            options=[],
            answer=label,
            label=label,
            explanation=optional_text(record, "LONG_ANSWER"),
        )

    def hub(self) -> dict[str, Rows]:
        """Train on pqa_artificial, test on the official half of pqa_labeled."""
        parts = {"train": (self.split, "pqa_artificial"), "test": ("train", "pqa_labeled")}
        splits = {
            name: self.parse_table(self.hub_split(*part), f"{self.dataset_id} {part[1]}")
            for name, part in parts.items()
        }
        if not self.test_ids:
            log.warning(
                "dataset.test_ids is not given: all %d labelled rows are the test split. Published "
                "accuracies are of 500 of them, those of the benchmark's test_ground_truth.json",
                splits["test"].size,
            )
        return self._official(splits)

    def files(self) -> dict[str, Rows]:
        return self._official(super().files())

    def original(self, record: Record) -> Record:
        if "QUESTION" in record or "question" not in record:
            return record
        context = record.get("context")
        return {
            "id": record.get("pubid"),
            "QUESTION": record["question"],
            "CONTEXTS": context.get("contexts") if isinstance(context, dict) else context,
            "LONG_ANSWER": record.get("long_answer"),
            "final_decision": record.get("final_decision"),
        }

    def parse_table(self, records: Dataset, where: str) -> Rows:
        """As `parse` does it, by column, when the table has the hub's schema."""
        if not in_hub_schema(records.data.schema):
            return super().parse_table(records, where)
        table = records.select_columns(COLUMNS).with_format("arrow")[:]
        rows, dropped = parse_columns(table, YES_NO_MAYBE)
        self.report(where, rows.size, dropped, records.column_names)
        return rows

    def _official(self, splits: dict[str, Rows]) -> dict[str, Rows]:
        """The test split restricted to `test_ids`; other labelled rows are for validation.

        Without a test split, `test_ids` are taken from train.
        """
        if not self.test_ids:
            return splits
        import numpy as np

        wanted = read_json(Path(self.test_ids))
        pool = "test" if "test" in splits else "train"
        ids = splits[pool].column("id").to_pylist()
        missing = set(map(str, wanted)) - set(ids)
        if missing or not wanted:
            raise UserError(
                f"dataset.test_ids: {len(missing)} of the {len(wanted)} ids of {self.test_ids} are "
                f"not among the {len(ids)} {pool} rows, for example {next(iter(missing), None)!r}"
            )
        official = np.isin(ids, [str(pmid) for pmid in wanted])
        inside, outside = splits[pool].select(official), splits[pool].select(~official)
        splits = {**splits, "test": inside}
        if outside.size and pool == "train":
            splits["train"] = outside
        elif outside.size:
            splits.setdefault("validation", outside)
        return splits
