"""The hub's schemas, without the hub: `datasets.load_dataset` is the one thing that is faked."""

from __future__ import annotations

import logging
from collections import Counter

import datasets
import pytest
from datasets import Dataset, DatasetDict
from hub_rows import corpus, meerkat, mini_bioasq, pubmedqa, usmle

from medgrpo.dataset.base import MedicalDataset
from medgrpo.dataset.bioasq import BioASQ
from medgrpo.dataset.medqa import MedQA
from medgrpo.dataset.medqa_cot import MedQACoT
from medgrpo.dataset.pubmedqa import PubMedQA
from medgrpo.dataset.table import Table
from medgrpo.errors import UserError

REPOSITORIES = {
    ("GBaker/MedQA-USMLE-4-options", None): {"train": usmle(60), "test": usmle(12, "other")},
    ("enelpol/rag-mini-bioasq", "question-answer-passages"): {
        "train": mini_bioasq(40),
        "test": mini_bioasq(10, 1000),
    },
    ("enelpol/rag-mini-bioasq", "text-corpus"): {"test": corpus(50)},
    ("qiaojin/PubMedQA", "pqa_artificial"): {"train": pubmedqa(80, 10_000, ["yes", "no"])},
    ("qiaojin/PubMedQA", "pqa_labeled"): {"train": pubmedqa(20, 500, ["yes", "no", "maybe"])},
    ("dmis-lab/meerkat-instructions", "MedQA-CoT"): {"train": meerkat(60)},
}
IDS = {
    MedQA: "GBaker/MedQA-USMLE-4-options",
    BioASQ: "enelpol/rag-mini-bioasq",
    PubMedQA: "qiaojin/PubMedQA",
    MedQACoT: "dmis-lab/meerkat-instructions",
}


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The revisions that were asked for; rows come from parquet, as the hub stores them."""
    revisions = []

    def load_dataset(path, name=None, *, split=None, revision=None):
        revisions.append(revision)
        parts = DatasetDict()
        for part, rows in REPOSITORIES[path, name].items():
            file = tmp_path / f"{path.replace('/', '-')}-{name}-{part}.parquet"
            Dataset.from_list(rows).to_parquet(file)
            parts[part] = Dataset.from_parquet(str(file), cache_dir=str(tmp_path / "cache"))
        if split is None:
            return parts
        if split == "train[:20]":
            return parts["train"].select(range(20))
        if split not in parts:
            raise ValueError(f'Unknown split "{split}". Should be one of {list(parts)}.')
        return parts[split]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return revisions


def load(kind: type[MedicalDataset], **more):
    common = {"answer_with": "", "primary_metric": "accuracy", "max_prompt_tokens": 9}
    return kind(source="hub", dataset_id=IDS[kind], revision="abc", **common, **more).load()


def sizes(data):
    return {split: len(rows) for split, rows in data.items()}


def test_medqa(asked):
    data = load(MedQA)
    assert sizes(data) == {"train": 48, "validation": 12, "test": 12}
    row = data["test"][3]
    assert row["question"] == usmle(4, "other")[3]["question"]
    assert (row["options"], row["label"]) == (["alpha", "beta", "gamma", "delta"], "D")
    assert set(asked) == {"abc"}


def test_a_part_of_a_split_can_be_trained_on(asked):
    assert sum(sizes(load(MedQA, split="train[:20]")).values()) == 20 + 12


def test_an_unknown_split_is_one_message(asked):
    with pytest.raises(UserError, match=r'dataset_id: cannot load .*Unknown split "dev"'):
        load(MedQA, split="dev")


def test_mini_bioasq_joins_its_passages(asked):
    data = load(BioASQ)
    assert sizes(data)["test"] == 10
    row = next(row for row in data["test"] if row["id"] == "1003")
    assert row["context"] == ["Passage 3.", "Passage 4."]
    assert row["answer"] == row["explanation"] == "Prose 3."
    assert row["label"] is None


def test_medqa_cot(asked):
    data = load(MedQACoT)
    assert sum(sizes(data).values()) == 60
    row = next(row for part in data.values() for row in part if row["id"] == "medqa-cot_5")
    assert row["options"] == ["one", "two", "three", "four"]
    assert row["explanation"].endswith("the answer is (B) two.")
    assert (row["answer"], row["label"]) == ("two", "B")


def test_pubmedqa_without_test_ids_tests_on_all_and_says_so(asked, caplog):
    data = load(PubMedQA, test_ids=None)
    assert sizes(data) == {"train": 60, "validation": 20, "test": 20}
    assert {row["id"] for row in data["test"]} == {str(i) for i in range(500, 520)}
    assert set(data["train"]["label"]) == {"yes", "no"}
    assert "test_ids=null: all 20 labelled rows are the test split" in caplog.text


def test_pubmedqa_with_the_official_ids(asked, caplog, tmp_path):
    file = tmp_path / "test_ground_truth.json"
    file.write_text('{"501": "no", "503": "yes", "504": "no"}')
    data = load(PubMedQA, test_ids=str(file))
    assert list(data["test"]["id"]) == ["501", "503", "504"]
    assert sizes(data)["validation"] == 17  # the other labelled rows
    assert sizes(data)["train"] == 80
    assert "labelled rows are the test split" not in caplog.text


def test_ids_of_another_benchmark_are_refused(asked, tmp_path):
    file = tmp_path / "ids.json"
    file.write_text('{"501": "no", "77": "yes"}')
    with pytest.raises(UserError, match=r"the 2 ids of .* 1 among test"):
        load(PubMedQA, test_ids=str(file))


DIRTY = [
    {"final_decision": " Yes "},
    {"final_decision": "unsure"},
    {"final_decision": None},
    {"question": None},
    {"question": "  Does it?\n"},
    {"long_answer": None},
    {"pubid": None},
    {"pubid": 10_001},  # an earlier row's
    {"context": {"contexts": [" padded ", " ", None, "plain"], "labels": [], "meshes": []}},
    {"context": {"contexts": [], "labels": [], "meshes": []}},
    {"context": {"contexts": None, "labels": None, "meshes": None}},
    {"context": None},
]


@pytest.mark.parametrize("dirty", [*([row] for row in DIRTY), DIRTY], ids=str)
def test_reading_columns_is_reading_rows(dirty, caplog):
    """211,269 rows are read by column; each becomes what `parse` makes of it."""
    rows = pubmedqa(40, 10_000, ["yes", "no"])
    for place, change in enumerate(dirty):
        rows[20 + place] |= change
    records = Dataset.from_list(rows)
    common = {"answer_with": "", "primary_metric": "accuracy", "max_prompt_tokens": 9}
    dataset = PubMedQA(source="hub", **common)
    by_column = dataset.parse_table(records, "x")
    by_row = dataset.parse_records(records.to_list(), "x")
    assert by_column.to_pylist() == by_row.to_pylist()
    said = [r.getMessage() for r in caplog.records]
    assert said[: len(said) // 2] == said[len(said) // 2 :]


def test_a_warm_run_reads_and_says_what_a_cold_one_does(monkeypatch, tmp_path, caplog):
    """Dropped, repeated and held-out rows are counted each time, however datasets caches."""
    parts = {
        "pqa_artificial": [*pubmedqa(60, 10_000, ["yes", "no"]), *pubmedqa(5, 500, ["no"])],
        "pqa_labeled": pubmedqa(20, 500, ["yes", "no", "maybe"]),
    }
    parts["pqa_artificial"][7]["final_decision"] = "unsure"
    parts["pqa_artificial"][8] |= {"question": " padded ", "pubid": None}
    parts["pqa_artificial"][9] = {**parts["pqa_artificial"][3], "pubid": 77}
    for name, rows in parts.items():
        Dataset.from_list(rows).to_parquet(tmp_path / f"{name}.parquet")

    def load_dataset(path, name, *, split, revision):
        file, cache = tmp_path / f"{name}.parquet", tmp_path / "cache"
        return Dataset.from_parquet(str(file), cache_dir=str(cache))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    caplog.set_level(logging.INFO, logger="medgrpo")
    runs = []
    for _ in range(2):
        caplog.clear()
        data = load(PubMedQA)
        said = [record.getMessage() for record in caplog.records]
        runs.append((said, {split: rows.to_list() for split, rows in data.items()}))
    assert runs[0] == runs[1]
    said = "\n".join(runs[1][0])
    for part in ("dropped 1 (final", "removed 1 of 64 rows", "removed 3 of 43 rows", "40 train"):
        assert part in said


def test_wrong_columns_are_one_message(asked, monkeypatch):
    wrong = {"train": [{"stem": "q", "choices": "c"}]}
    monkeypatch.setitem(REPOSITORIES, ("GBaker/MedQA-USMLE-4-options", None), wrong)
    with pytest.raises(UserError, match=r"expects question, options.*row 1 has stem, choices"):
        load(MedQA)


def test_several_configurations_are_one_benchmark(monkeypatch):
    """As MMLU's subjects are: no training split, and each its own numbers for rows."""
    asked_for = []

    def load_dataset(path, name=None, *, split=None, revision=None):
        asked_for.append(name)
        rows = [
            {"question": f"Which {name} is {i}?", "choices": ["a", "b", "c", "d"], "answer": i % 4}
            for i in range(25)
        ]
        test, validation = Dataset.from_list(rows[:20]), Dataset.from_list(rows[20:])
        parts = DatasetDict(test=test, validation=validation)
        return parts if split is None else parts[split]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    table = Table(
        source="hub", dataset_id="cais/mmlu", hub_config=["anatomy", "virology"],
        question="question", options="choices", answer="answer", answer_is="index",
        answer_with="", primary_metric="accuracy", max_prompt_tokens=9,
    )  # fmt: skip
    data = table.load()
    assert sizes(data) == {"train": 0, "validation": 10, "test": 40}
    assert Counter(data["test"]["group"]) == {"anatomy": 20, "virology": 20}
    assert len(set(data["test"]["id"])) == 40
    assert set(asked_for) == {"anatomy", "virology"}
