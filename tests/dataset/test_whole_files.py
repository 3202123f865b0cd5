"""Where nothing is trained, all rows of a file are tested, unless they were trained on."""

from __future__ import annotations

import json

from datasets import Dataset

from medgrpo.dataset.base import for_testing, trained_files
from medgrpo.dataset.hygiene import count_shared
from medgrpo.dataset.medqa import MedQA
from medgrpo.rundir import RunFolder


def medqa(tmp_path, rows=60, **more):
    lines = [
        {"question": f"Which drug helps in case {i}?", "answer_idx": "AB"[i % 2]}
        | {"options": {"A": "aspirin", "B": "heparin"}}
        for i in range(rows)
    ]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, lines)))
    common = {"answer_with": "", "primary_metric": "accuracy", "max_prompt_tokens": 99}
    return MedQA(source="path", path=str(tmp_path / "mine.jsonl"), **common, **more)


def sizes(data):
    return [len(data[split]) for split in ("train", "validation", "test")]


def test_all_rows_of_a_file_are_tested_but_not_of_one_that_was_trained_on(tmp_path):
    benchmark = medqa(tmp_path)
    assert sizes(benchmark.load()) == [54, 3, 3]
    assert sizes(for_testing(benchmark, set()).load()) == [0, 0, 60]
    assert sizes(for_testing(benchmark, {"other.jsonl"}).load()) == [0, 0, 60]
    assert sizes(for_testing(benchmark, {"mine.jsonl"}).load()) == [54, 3, 3]


def test_named_splits_and_samples_stay_what_they_are(tmp_path):
    named = medqa(tmp_path, splits={"train": str(tmp_path / "mine.jsonl")})
    assert sizes(for_testing(named, set()).load()) == [54, 3, 3]
    common = {"answer_with": "", "primary_metric": "accuracy", "max_prompt_tokens": 99}
    sample = MedQA(source="sample", **common)
    assert sizes(for_testing(sample, set()).load()) == sizes(sample.load())


def test_a_run_says_which_file_its_adapter_was_trained_on(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.write_json(folder.passport, {"config": {"dataset.path": "data/mine.jsonl"}})
    for place in ("run", "run/adapter", "run/checkpoints/checkpoint-8"):
        assert trained_files(str(tmp_path / place)) == {"mine.jsonl"}
    assert trained_files(None) == trained_files(str(tmp_path / "elsewhere")) == set()


def test_rows_in_both_are_counted(tmp_path):
    data = medqa(tmp_path).load()
    again = Dataset.from_list([*data["train"].select(range(7)).to_list(), *data["test"].to_list()])
    assert count_shared(data["train"], again) == 7
    assert count_shared(None, again) == 0
