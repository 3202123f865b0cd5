"""Which rows are held out when the source does not say, and to which subgroup a row belongs."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from medgrpo.dataset.medqa import MedQA
from medgrpo.dataset.rows import schema
from medgrpo.dataset.splits import carve
from medgrpo.errors import UserError


def rows(n: int, prefix: str = "r") -> pa.Table:
    return pa.Table.from_pylist([{"id": f"{prefix}{i}"} for i in range(n)], schema())


def ids(found: pa.Table) -> list[str]:
    return found.column("id").to_pylist()


def sizes(splits: dict[str, pa.Table]) -> dict[str, int]:
    return {name: found.num_rows for name, found in splits.items()}


def test_without_any_split_5_percent_each_are_held_out() -> None:
    found = carve({"train": rows(200)})
    assert sizes(found) == {"train": 180, "validation": 10, "test": 10}
    assert len({identity for split in found.values() for identity in ids(split)}) == 200


def test_a_given_test_stays_and_validation_gets_its_size() -> None:
    test = rows(30, "t")
    found = carve({"train": rows(200), "test": test})
    assert sizes(found) == {"train": 170, "validation": 30, "test": 30}
    assert ids(found["test"]) == ids(test)


def test_validation_takes_at_most_half() -> None:
    assert sizes(carve({"train": rows(20), "test": rows(30)}))["validation"] == 10


def test_the_order_of_the_rows_does_not_matter() -> None:
    train = rows(200)
    before, after = carve({"train": train}), carve({"train": train.take(list(range(199, -1, -1)))})
    for split in ("validation", "test"):
        assert set(ids(before[split])) == set(ids(after[split]))


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(UserError, match="too few to carve"):
        carve({"train": rows(1)})


def test_a_row_knows_its_subgroup(tmp_path) -> None:
    record = {"options": {"A": "x", "B": "y"}, "answer_idx": "A"}
    steps = [{"meta_info": step} for step in ("step1", "step2&3")] * 10
    lines = [json.dumps({**record, **step, "question": f"{i}?"}) for i, step in enumerate(steps)]
    last = json.dumps({**record, "question": "Q?"})
    (tmp_path / "train.jsonl").write_text("\n".join([*lines, last]))
    given = {"answer_with": "", "primary_metric": "accuracy", "max_prompt_tokens": 9}
    data = MedQA(source="path", path=str(tmp_path), **given).load()
    groups = [group for split in data.values() for group in split["group"]]
    assert sorted(set(groups)) == ["", "step1", "step2&3"]
