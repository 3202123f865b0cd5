"""PubMedQA: Jin et al. 2019, https://arxiv.org/abs/1909.06146.

One row of the original ori_pqal.json, an object keyed by PMID:

    "21645374": {"QUESTION": "Do mitochondria play a role in ... cell death?",
                 "CONTEXTS": ["Programmed cell death (PCD) is ...", ...], "LABELS": [...],
                 "final_decision": "yes", "LONG_ANSWER": "Results depicted ..."}

The hub's qiaojin/PubMedQA has the same in lower case, with the passages under `context`. Its
211,269 artificial rows are why rows of such a table that are in order are taken as they stand: a
third of a second, where parsing them one by one takes three.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from medgrpo.dataset.base import MedicalDataset
from medgrpo.dataset.example import YES_NO_MAYBE, Example
from medgrpo.dataset.read import read_json
from medgrpo.dataset.record import Batch, Dropped, Record, optional_text, text, texts
from medgrpo.dataset.rows import OPTIONAL, schema, select
from medgrpo.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

log = logging.getLogger(__name__)

OFFICIAL = "official"  # the keys of test_ground_truth.json (github pubmedqa/pubmedqa 1cbae8e)


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

    test_ids: str | None = OFFICIAL  # or a FILE as test_ground_truth.json, {PMID: decision}

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

    def hub(self) -> dict[str, pa.Table]:
        """Train on pqa_artificial, test on the official half of pqa_labeled."""
        parts = {"train": (self.split, "pqa_artificial"), "test": ("train", "pqa_labeled")}
        splits = {
            name: self.parse_table(self.hub_split(*part), f"{self.dataset_id} {part[1]}")
            for name, part in parts.items()
        }
        if not self.test_ids:
            log.warning(
                "dataset.test_ids=null: all %d labelled rows are the test split. Published "
                "accuracies are of 500 of them, dataset.test_ids=official",
                splits["test"].num_rows,
            )
        return self._official(splits)

    def files(self) -> dict[str, pa.Table]:
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

    def parse_batch(self, batch: Batch, numbers: Sequence[int]) -> pa.Table:
        """As `parse` does it; hub rows that it would leave as they are stay where they are."""
        import numpy as np
        import pyarrow as pa

        if isinstance(batch, list) or not in_hub_schema(batch.schema):
            return super().parse_batch(batch, numbers)
        table, in_order = as_they_stand(batch)
        rest = np.flatnonzero(~in_order)
        if not len(rest):
            return table
        parsed = super().parse_batch(
            batch.take(pa.array(rest)), [numbers[i] for i in rest.tolist()]
        )
        places = np.arange(len(batch))
        places[rest] = len(batch) + np.arange(len(rest))
        return pa.concat_tables([table, parsed]).take(places)

    def _official(self, splits: dict[str, pa.Table]) -> dict[str, pa.Table]:
        """The test split restricted to `test_ids`; other labelled rows are for validation.

        Without a test split, `test_ids` are taken from train. Where none of the official ones is
        here (the sample, folds of the other 500 rows), the splits stay as they are.
        """
        if not self.test_ids:
            return splits
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        ids = self._test_ids()
        pool = "test" if "test" in splits else "train"
        among = {
            split: np.asarray(pc.is_in(rows.column("id"), value_set=pa.array(ids, pa.string())))
            for split, rows in splits.items()
        }
        there = {split: int(found.sum()) for split, found in among.items() if found.any()}
        if self.test_ids == OFFICIAL and not there:
            log.info("dataset: none of these rows is of PubMedQA's official test")
            return splits
        if not ids or there != {pool: len(ids)}:
            found = ", ".join(f"{n} among {split}" for split, n in there.items()) or "none is here"
            raise UserError(
                f"dataset.test_ids: the {len(ids)} ids of {self.test_ids} should be among the "
                f"{pool} rows: {found}; give all of these rows, or dataset.test_ids=null to take "
                "the splits as they are"
            )
        parts = (among[pool], ~among[pool])
        inside, outside = (select(splits[pool], np.flatnonzero(part)) for part in parts)
        splits = {**splits, "test": inside}
        if outside.num_rows and pool == "train":
            splits["train"] = outside
        elif outside.num_rows:
            splits.setdefault("validation", outside)
        return splits

    def _test_ids(self) -> list[str]:
        if self.test_ids == OFFICIAL:
            return Path(__file__).with_name("pubmedqa_test_ids.txt").read_text("utf-8").split()
        return [str(pmid) for pmid in read_json(Path(str(self.test_ids)))]


def in_hub_schema(found: pa.Schema) -> bool:
    """Whether a table has the hub's columns in the hub's types."""
    import pyarrow as pa

    types = defaultdict(pa.null, zip(found.names, found.types, strict=True))
    return (
        {types[name] for name in ("question", "long_answer", "final_decision")} == {pa.string()}
        and pa.types.is_integer(types["pubid"])
        and pa.types.is_struct(types["context"])
        and pa.field("contexts", pa.list_(pa.string())) in list(types["context"])
    )


def as_they_stand(batch: pa.RecordBatch) -> tuple[pa.Table, np.ndarray[Any, Any]]:
    """The hub's columns as those of parsed rows, and which rows [n] `parse` would leave so."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    contexts = pc.struct_field(batch["context"], "contexts")
    faults = np.concatenate([[0], np.cumsum(~_in_order(contexts.flatten()))])
    lengths = np.asarray(pc.fill_null(pc.list_value_length(contexts), 0))
    ends = np.cumsum(lengths)
    in_order = (
        _in_order(batch["question"])
        & _in_order(batch["long_answer"])
        & np.asarray(pc.is_in(batch["final_decision"], value_set=pa.array(YES_NO_MAYBE)))
        & np.asarray(pc.and_(batch["pubid"].is_valid(), contexts.is_valid()))
        & (faults[ends] == faults[ends - lengths])
    )
    columns = {
        "id": batch["pubid"].cast(pa.string()),
        "question": batch["question"],
        "context": contexts,
        "options": pa.array([[]] * len(batch), pa.list_(pa.string())),
        "answer": batch["final_decision"],
        "label": batch["final_decision"],
        "explanation": batch["long_answer"],
        "group": pa.repeat("", len(batch)),
        **{name: pa.nulls(len(batch), pa.string()) for name in OPTIONAL},
        "dropped": pa.nulls(len(batch), pa.string()),
    }
    return pa.table(columns, schema()), in_order


def _in_order(texts: pa.StringArray) -> np.ndarray[Any, Any]:
    """Which texts [n] are there, with no blanks around them and not empty."""
    import numpy as np
    import pyarrow.compute as pc

    length, clean = (pc.binary_length(kind) for kind in (texts, pc.utf8_trim_whitespace(texts)))
    same = pc.and_(pc.equal(length, clean), pc.greater(length, 0))
    return np.asarray(pc.fill_null(same, False))
