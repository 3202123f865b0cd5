"""The benchmarks that are YAML alone, from rows in the schema of their cards; texts are made up."""

from __future__ import annotations

import json

import datasets
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from medgrpo.cli import CONF

SUBJECTS = [
    "anatomy", "clinical_knowledge", "college_biology", "college_medicine", "medical_genetics",
    "professional_medicine",
]  # fmt: skip


def medmcqa(n, hidden=False):
    return [
        {"id": f"{hidden}{n}-{i}", "question": f"What is lacking in case {i} of {n}?"}
        | {f"op{letter}": f"substance {letter}{i}" for letter in "abcd"}
        | {"cop": -1 if hidden else i % 4, "choice_type": "single", "exp": None}
        | {"subject_name": "Dental" if i % 2 else "Medicine", "topic_name": None}
        for i in range(n)
    ]


def mmlu(n):
    features = Features(
        {"question": Value("string"), "subject": Value("string")}
        | {"choices": datasets.List(Value("string")), "answer": ClassLabel(names=list("ABCD"))}
    )
    rows = [
        {"question": f"What is {i}?", "subject": "x", "choices": [f"{c}{i}" for c in "wxyz"]}
        | {"answer": i % 4}
        for i in range(n)
    ]
    return Dataset.from_list(rows, features)


def mmlu_pro(n):
    return [
        {
            "question_id": i,
            "question": f"Which is {i}?",
            "options": [f"{c}{i}" for c in "abcdefghij"],
        }
        | {"answer": "ABCDEFGHIJ"[i % 10], "answer_index": i % 10, "cot_content": "", "src": "x"}
        | {"category": "health" if i % 3 == 0 else "law"}
        for i in range(n)
    ]


def metamedqa(n):
    options = {"A": "rest", "B": "drug", "C": "knife", "D": "ray", "E": "None of these"}
    options["F"] = "I don't know or cannot answer"
    return [
        {"question": f"How is {i} treated?", "options": options, "answer_idx": "ABCDEF"[i % 6]}
        | {"answer": "x", "kind": "Fictional" if i % 2 else "Real", "meta_info": "step1"}
        for i in range(n)
    ]


def careqa(n):
    return [
        {"exam_id": 1, "unique_id": f"u{i}", "question": f"Which is {i}?" if i else None}
        | {f"op{k}": f"{k} of {i}" for k in range(1, 5)}
        | {"cop": i % 4 + 1, "year": 2024, "category": "Nursing" if i % 2 else "Medicine"}
        for i in range(n)
    ]


def parts(**splits):
    kept = {k: v if isinstance(v, Dataset) else Dataset.from_list(v) for k, v in splits.items()}
    return DatasetDict(kept)


HUB = {
    ("openlifescienceai/medmcqa", None): lambda: parts(
        train=medmcqa(120), validation=medmcqa(20), test=medmcqa(30, hidden=True)
    ),
    **{("cais/mmlu", name): lambda: parts(test=mmlu(20), validation=mmlu(8)) for name in SUBJECTS},
    ("TIGER-Lab/MMLU-Pro", None): lambda: parts(test=mmlu_pro(90), validation=mmlu_pro(12)),
    ("maximegmd/MetaMedQA", None): lambda: parts(test=metamedqa(30)),
    ("HPAI-BSC/CareQA", "CareQA_en"): lambda: parts(test=careqa(40)),
}


@pytest.fixture(autouse=True)
def hub(monkeypatch):
    def load_dataset(path, name=None, *, split=None, revision=None):
        found = HUB[path, name]()
        return found if split is None else found[split]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)


def load(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", list(overrides))
    OmegaConf.resolve(cfg.dataset)
    return instantiate(cfg.dataset, _convert_="all").load()


@pytest.mark.parametrize(
    ("name", "sizes", "labels", "groups"),
    [
        ("medmcqa", (100, 20, 20), "ABCD", {"Dental", "Medicine"}),
        ("mmlu_medical", (0, 48, 120), "ABCD", set(SUBJECTS)),
        ("mmlu_pro_health", (0, 4, 30), "ADGJBEHCFI", {""}),
        ("metamedqa", (0, 0, 30), "ABCDEF", {"Fictional", "Real"}),
        ("careqa", (0, 0, 39), "ABCD", {"Nursing", "Medicine"}),
    ],
)
def test_a_benchmark_from_its_hub_schema(name, sizes, labels, groups):
    data = load(f"dataset={name}")
    assert tuple(len(data[split]) for split in ("train", "validation", "test")) == sizes
    test = data["test"]
    assert set(test["label"]) == set(labels)
    assert set(test["group"]) == groups
    assert len(set(test["id"])) == sizes[2]
    for row in test:
        assert row["options"]["ABCDEFGHIJ".index(row["label"])] == row["answer"]


def test_the_labels_are_the_rows_own():
    first = load("dataset=careqa")["test"][0]  # number 0 has no question
    assert (first["id"], first["label"], first["answer"]) == ("u1", "B", "2 of 1")
    last = load("dataset=metamedqa")["test"][5]
    assert last["answer"] == "I don't know or cannot answer"


def test_medmcqa_in_its_authors_files_counts_from_one(tmp_path):
    for name, count in {"train": 120, "dev": 20}.items():
        rows = [{**row, "cop": row["cop"] + 1} for row in medmcqa(count)]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    data = load(
        "dataset=medmcqa", "dataset.source=path", f"dataset.path={tmp_path}",
        "dataset.answer_is=number", "dataset.splits={train: train.json, test: dev.json}",
    )  # fmt: skip
    assert data["test"][1]["answer"] == "substance b1"
    assert len(data["test"]) == 20
