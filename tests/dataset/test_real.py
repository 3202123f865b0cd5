"""The benchmarks' own files: excerpts in their schemas here, and the real ones where they lie."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from hub_rows import meerkat, usmle

from medgrpo.dataset import pubmedqa
from medgrpo.dataset.bioasq import BioASQ
from medgrpo.dataset.medqa import MedQA
from medgrpo.dataset.medqa_cot import MedQACoT
from medgrpo.dataset.pubmedqa import PubMedQA
from medgrpo.errors import UserError

REAL = Path(__file__).parents[3] / "shared" / "data"
real = pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data is not here")
COMMON = {"answer_with": "", "primary_metric": "accuracy", "max_prompt_tokens": 9}


def load(kind, path, **more):
    return kind(source="path", path=str(path), **COMMON, **more).load()


def every(data):
    return [row for part in data.values() for row in part]


def copied(folder: Path, **files: str) -> Path:
    for name, file in files.items():
        (folder / name.replace("__", ".")).symlink_to(REAL / file)
    return folder


@real
def test_medqa(tmp_path):
    dev, test = "medqa/medqa_us_4options_dev.jsonl", "medqa/medqa_us_4options_test_first300.jsonl"
    folder = copied(
        tmp_path, phrases_no_exclude_train__jsonl=dev, phrases_no_exclude_test__jsonl=test
    )
    data = load(MedQA, folder)
    assert {split: len(rows) for split, rows in data.items()} == {
        "train": 972,
        "validation": 300,
        "test": 300,
    }
    assert Counter(data["test"]["label"]) == {"A": 85, "C": 82, "D": 67, "B": 66}
    first = data["test"][0]
    assert first["question"].startswith("A junior orthopaedic surgery resident")
    assert first["answer"] == first["options"][1]
    assert first["answer"].startswith("Tell the attending that he cannot fail to disclose")


@real
def test_pubmedqa():
    rows = every(load(PubMedQA, REAL / "pubmedqa" / "ori_pqal_nontest500.json"))
    assert len(rows) == 500
    assert Counter(row["label"] for row in rows) == {"yes": 276, "no": 169, "maybe": 55}
    [row] = [row for row in rows if row["id"] == "10808977"]
    assert row["question"].startswith("Can tailored interventions increase mammography use")
    assert len(row["context"]) == 6
    assert row["explanation"].startswith("The effects of the intervention")


@real
def test_bioasq(tmp_path):
    folder = copied(
        tmp_path,
        training__json="bioasq/7B1_golden.json",
        **{"8B2_golden__json": "bioasq/8B2_golden.json"},
    )
    data = load(BioASQ, folder)
    assert len(data["test"]) == 100
    assert len(data["train"]) + len(data["validation"]) == 100
    assert Counter(data["test"]["label"]) == {None: 64, "yes": 27, "no": 9}
    groups = {"yesno": 36, "factoid": 25, "summary": 25, "list": 14}
    assert Counter(data["test"]["group"]) == groups
    answers = {row["answer"] for row in every(data)}
    assert "rituximab; cyclophosphamide" in answers
    assert "cell respiratory burst | oxidative burst" in answers
    assert all(row["context"] and row["question"] for row in data["test"])


@real
def test_meerkat():
    [record] = map(json.loads, (REAL / "medqa_cot").glob("*.jsonl").__next__().open())
    row = MedQACoT(source="path", **COMMON).parse(record, 1)
    assert row["question"].endswith("topical nasal decongestants?")
    assert (row["options"][3], row["label"]) == ("Epistaxis", "A")
    assert row["answer"] == "Persistent congestion"
    assert row["explanation"].endswith("the answer is (A) Persistent congestion.")


def write(folder, name, value):
    text = "".join(json.dumps(row) + "\n" for row in value) if name.endswith("l") else None
    (folder / name).write_text(text or json.dumps(value))


def test_medqa_folder_as_it_is_published(tmp_path):
    for split, rows in {"train": 40, "dev": 8, "test": 6}.items():
        write(tmp_path, f"phrases_no_exclude_{split}.jsonl", usmle(rows, split))
    write(tmp_path, "US_qbank.jsonl", [{"not": "ours"}])
    data = load(MedQA, tmp_path)
    assert [len(part) for part in data.values()] == [40, 8, 6]
    assert data["test"][5]["question"] == usmle(6, "test")[5]["question"]


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "json"])
def test_hub_schema_in_files(tmp_path, suffix):
    from datasets import Dataset

    rows = usmle(40)
    if suffix == "parquet":
        for shard in range(2):
            part = Dataset.from_list(rows[shard::2])
            part.to_parquet(tmp_path / f"train-0000{shard}-of-00002.parquet")
    else:
        write(tmp_path, f"train.{suffix}", rows)
    found = every(load(MedQA, tmp_path))
    assert {row["question"] for row in found} == {row["question"] for row in rows}


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_a_changed_file_is_read_anew(tmp_path, monkeypatch, suffix):
    """Even where neither its size nor its time tells (as in an image); no copy is kept anywhere."""
    import datasets

    cache = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    file = tmp_path / f"train.{suffix}"
    for word in ("before", "behind"):
        rows = datasets.Dataset.from_list(usmle(40, word))
        rows.to_parquet(file) if suffix == "parquet" else rows.to_json(file)
        os.utime(file, (1, 1))
        assert all(f"A {word}" in row["question"] for row in every(load(MedQA, tmp_path)))
    assert not cache.exists()


def test_meerkat_jsonl(tmp_path):
    write(tmp_path, "train.jsonl", meerkat(30))
    found = every(load(MedQACoT, tmp_path))
    assert len(found) == 30
    assert {row["question"] for row in found} >= {"A man has sign 7. Type (A) blood. Which?"}


def test_pubmedqa_object_with_official_ids(tmp_path):
    records = {
        str(i): {
            "QUESTION": f"Does {i}?",
            "CONTEXTS": [f"One {i}.", " "],
            "LABELS": [],
            "final_decision": "Yes",
            "LONG_ANSWER": "So it is.",
        }
        for i in range(40)
    }
    write(tmp_path, "ori_pqal.json", records)
    write(tmp_path, "test_ground_truth.json", {"3": "yes", "5": "yes"})
    ids = str(tmp_path / "test_ground_truth.json")
    data = load(PubMedQA, tmp_path / "ori_pqal.json", test_ids=ids)
    assert list(data["test"]["id"]) == ["3", "5"]
    assert len(every(data)) == 40
    assert data["test"][0] == {
        "id": "3",
        "question": "Does 3?",
        "context": ["One 3."],
        "options": [],
        "answer": "yes",
        "label": "yes",
        "explanation": "So it is.",
        "group": "",
    }


@pytest.mark.parametrize(
    ("kind", "exact", "answer", "label"),
    [
        ("yesno", "Yes", "yes", "yes"),
        ("yesno", ["no"], "no", "no"),
        (
            "factoid",
            [["MRI", "magnetic resonance imaging"]],
            "MRI | magnetic resonance imaging",
            None,
        ),
        (
            "factoid",
            ["MRI", "magnetic resonance imaging"],
            "MRI | magnetic resonance imaging",
            None,
        ),
        ("factoid", "MRI", "MRI", None),
        ("factoid", [[2500]], "2500", None),
        ("list", [["TNF", "cachexin", ""], ["IL6"], []], "TNF | cachexin; IL6", None),
        ("list", ["TNF", "IL6"], "TNF; IL6", None),
        ("list", [["a; b"], ["c | d"]], "a, b; c / d", None),
        ("summary", None, "The prose; all of it.", None),
        ("summary", [], "The prose; all of it.", None),
    ],
)
def test_bioasq_answers_of_each_type(kind, exact, answer, label):
    record = {"id": "1", "body": "Which?", "type": kind, "snippets": [{"text": "A passage."}]}
    record |= {"ideal_answer": ["The prose; all of it."], "exact_answer": exact}
    row = BioASQ(source="path", **COMMON).parse(record, 1)
    assert (row["answer"], row["label"]) == (answer, label)
    assert (row["context"], row["explanation"]) == (["A passage."], "The prose; all of it.")


def test_bioasq_folder_as_it_is_published(tmp_path):
    def questions(first, rows):
        record = {"type": "factoid", "snippets": [], "exact_answer": ["x"]}
        return [
            {**record, "id": f"{i}", "body": f"Which is {i}?"} for i in range(first, first + rows)
        ]

    write(tmp_path, "training11b.json", {"questions": questions(0, 40)})
    write(tmp_path, "11B1_golden.json", {"questions": questions(100, 4)})
    write(tmp_path, "11B2_golden.json", {"questions": questions(200, 5)})
    data = load(BioASQ, tmp_path)
    assert len(data["test"]) == 9
    assert len(data["train"]) + len(data["validation"]) == 40


OFFICIAL = (Path(pubmedqa.__file__).with_name("pubmedqa_test_ids.txt")).read_text().split()


def labelled(*ids: str) -> dict:
    """As ori_pqal.json."""
    record = {"CONTEXTS": ["One."], "final_decision": "no", "LONG_ANSWER": "So it is."}
    return {pmid: {"QUESTION": f"Does {pmid}?", **record} for pmid in ids}


OTHERS = [str(i) for i in range(60)]


def test_the_official_rows_are_the_test_split(tmp_path):
    write(tmp_path, "ori_pqal.json", labelled(*OFFICIAL, *OTHERS))
    data = load(PubMedQA, tmp_path / "ori_pqal.json")
    assert {row["id"] for row in data["test"]} == {*OFFICIAL}
    assert {row["id"] for split in ("train", "validation") for row in data[split]} == {*OTHERS}


def test_rows_of_another_split_stay_as_they_are(tmp_path, caplog):
    caplog.set_level("INFO")
    write(tmp_path, "train.json", labelled(*OTHERS))
    assert sum(map(len, load(PubMedQA, tmp_path).values())) == 60
    assert "none of these rows is of PubMedQA's official test" in caplog.text


@pytest.mark.parametrize(
    ("train", "test", "found"),
    [
        ([*OFFICIAL[:499], *OTHERS], None, "499 among train"),
        ([*OFFICIAL, *OTHERS[:30]], OTHERS[30:], "500 among train"),
        ([*OFFICIAL[:250], *OTHERS], OFFICIAL[250:], "250 among train, 250 among test"),
    ],
)
def test_some_official_rows_are_refused(tmp_path, train, test, found):
    write(tmp_path, "train.json", labelled(*train))
    if test:
        write(tmp_path, "test.json", labelled(*test))
    with pytest.raises(UserError, match=rf"official should be among .*: {found}; give all"):
        load(PubMedQA, tmp_path)
    assert sum(map(len, load(PubMedQA, tmp_path, test_ids=None).values())) == len(
        train + (test or [])
    )
