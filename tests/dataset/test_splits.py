"""Which rows are held out when the source does not say, and to which subgroup a row belongs."""

from __future__ import annotations

import json

import pytest
from datasets import Dataset

from medgrpo.dataset.base import carve
from medgrpo.dataset.medqa import MedQA
from medgrpo.errors import UserError


def rows(n: int, prefix: str = "r") -> Dataset:
    return Dataset.from_list([{"id": f"{prefix}{i}"} for i in range(n)])


def sizes(splits: dict[str, Dataset]) -> dict[str, int]:
    return {name: len(found) for name, found in splits.items()}


def test_without_any_split_5_percent_each_are_held_out() -> None:
    found = carve({"train": rows(200)})
    assert sizes(found) == {"train": 180, "validation": 10, "test": 10}
    ids = [identity for split in found.values() for identity in split["id"]]
    assert len(set(ids)) == 200


def test_a_given_test_stays_and_validation_gets_its_size() -> None:
    test = rows(30, "t")
    found = carve({"train": rows(200), "test": test})
    assert sizes(found) == {"train": 170, "validation": 30, "test": 30}
    assert found["test"]["id"] == test["id"]


def test_validation_takes_at_most_half() -> None:
    assert sizes(carve({"train": rows(20), "test": rows(30)}))["validation"] == 10


def test_the_order_of_the_rows_does_not_matter() -> None:
    before, after = carve({"train": rows(200)}), carve({"train": rows(200).shuffle(seed=1)})
    for split in ("validation", "test"):
        assert set(before[split]["id"]) == set(after[split]["id"])


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(UserError, match="too few to carve"):
        carve({"train": rows(1)})


def test_a_row_knows_its_subgroup(tmp_path) -> None:
    record = {"question": "Q?", "options": {"A": "x", "B": "y"}, "answer_idx": "A"}
    lines = [json.dumps({**record, "meta_info": step}) for step in ("step1", "step2&3")] * 10
    (tmp_path / "train.jsonl").write_text("\n".join([*lines, json.dumps(record)]))
    given = {"answer_with": "", "primary_metric": "accuracy", "max_prompt_tokens": 9}
    data = MedQA(source="path", path=str(tmp_path), **given).load()
    groups = [group for split in data.values() for group in split["group"]]
    assert sorted(set(groups)) == ["", "step1", "step2&3"]
