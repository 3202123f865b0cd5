"""A new benchmark needs YAML only: these are the whole of what a user writes."""

from __future__ import annotations

import json

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from medgrpo.cli import CONF
from medgrpo.config.validate import validate
from medgrpo.dataset.table import Table
from medgrpo.errors import UserError

MEDMCQA = """
defaults: [jsonl]
question: question
options: [opa, opb, opc, opd]
answer: cop
answer_is: index
explanation: exp
id: id
"""
MMLU = """
defaults: [jsonl]
columns: [question, A, B, C, D, answer]
options: [A, B, C, D]
answer: answer
answer_is: letter
"""


def load(tmp_path, yaml, **values):
    """What `dataset=mine dataset.path=...` loads, with mine.yaml in the user's own folder."""
    own = tmp_path / "conf" / "dataset" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(yaml)
    given = [f"dataset.{key}={value}" for key, value in values.items()]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(
            "config", [f"hydra.searchpath=[file://{own.parents[1]}]", "dataset=mine", *given]
        )
    assert validate(cfg) == []
    OmegaConf.resolve(cfg.dataset)
    return instantiate(cfg.dataset, _convert_="all").load()


def test_medmcqa_from_yaml_alone(tmp_path):
    rows = [
        {
            "id": f"m{i}",
            "question": f"Which vitamin is number {i}?",
            **dict(zip(["opa", "opb", "opc", "opd"], ["C", "B7", "B12", "D"], strict=True)),
            "cop": i % 4 if i else -1,
            "choice_type": "single",
            "exp": f"because of {i}",
            "subject_name": "Biochemistry",
        }
        for i in range(40)
    ]
    file = tmp_path / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = load(tmp_path, MEDMCQA, path=file)
    assert sum(map(len, data.values())) == 39  # cop -1, the hidden answer of its test split, is out
    row = next(row for part in data.values() for row in part if row["id"] == "m6")
    assert row == {
        "id": "m6",
        "question": "Which vitamin is number 6?",
        "context": [],
        "options": ["C", "B7", "B12", "D"],
        "answer": "B12",
        "label": "C",
        "explanation": "because of 6",
        "group": "",
    }


def test_mmlu_csv_without_header_from_yaml_alone(tmp_path):
    for split in ("dev", "test", "train"):
        lines = [
            f'"{split}: which is {i}, exactly?",one,two,three,four,{"ABCD"[i % 4]}'
            for i in range(8)
        ]
        (tmp_path / f"anatomy_{split}.csv").write_text("\n".join(lines) + "\n")
    data = load(tmp_path, MMLU, path=tmp_path)
    assert {split: len(rows) for split, rows in data.items()} == {
        "train": 8,
        "validation": 8,
        "test": 8,
    }
    assert data["test"][1]["question"] == "test: which is 1, exactly?"
    assert (data["test"][1]["answer"], data["test"][1]["label"]) == ("two", "B")


def parse(record, **mapping):
    given = {"question": "q", "answer": "a", "answer_is": "text", **mapping}
    common = {"answer_with": "", "primary_metric": "accuracy", "max_prompt_tokens": 9}
    return Table(source="path", **common, **given).parse({"q": "Which?", **record}, 1)


@pytest.mark.parametrize(
    ("record", "mapping"),
    [
        ({"o": ["x", "y"], "a": "B"}, {"options": "o", "answer_is": "letter"}),
        ({"o": ["x", "y"], "a": "(b)."}, {"options": "o", "answer_is": "letter"}),
        ({"o": ["x", "y"], "a": 1}, {"options": "o", "answer_is": "index"}),
        ({"o": ["x", "y"], "a": 1.0}, {"options": "o", "answer_is": "index"}),
        ({"o": ["x", "y"], "a": "2"}, {"options": "o", "answer_is": "number"}),
        ({"o": ["x", "y"], "a": " Y "}, {"options": "o"}),
        ({"o": {"B": "y", "A": "x", "E": None}, "a": "B"}, {"options": "o", "answer_is": "letter"}),
        ({"1": "x", "2": "y", "a": "y"}, {"options": ["1", "2"]}),
    ],
)
def test_every_way_to_say_the_second_option(record, mapping):
    row = parse(record, **mapping)
    assert (row["options"], row["answer"], row["label"]) == (["x", "y"], "y", "B")


def test_answers_without_options_are_labels_or_free_text():
    assert parse({"a": "YES"}, labels=["yes", "no"])["label"] == "yes"
    assert parse({"a": 1}, labels=["yes", "no"], answer_is="index")["answer"] == "no"
    free = parse({"a": "thiamine", "c": "A passage."}, context="c")
    assert (free["answer"], free["label"], free["context"]) == ("thiamine", None, ["A passage."])


def test_an_index_without_choices_is_refused():
    with pytest.raises(UserError, match="answer_is"):
        parse({"a": 1}, answer_is="index")


def counted(tmp_path, answers, answer_is):
    """The labels of as many questions of four options whose answers are given by numbers."""
    options = dict(
        zip(["opa", "opb", "opc", "opd"], ["iron", "zinc", "iodine", "lead"], strict=True)
    )
    rows = [{"id": i, "question": f"Which is {i}?", **options, "cop": n, "exp": ""}
            for i, n in enumerate(answers)]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    yaml = MEDMCQA.replace("index", answer_is)
    splits = load(tmp_path, yaml, path=tmp_path / "rows.jsonl").values()
    found = {row["id"]: row["label"] for rows in splits for row in rows}
    return "".join(found[str(i)] for i in range(len(answers)))


@pytest.mark.parametrize(
    ("answers", "answer_is"),
    [([1, 2, 3, 4] * 5, "number"), ([0, 1, 2, 3] * 5, "index"), ([1, 2] * 9, "index_from_0")],
)
def test_what_an_index_counts_from_is_read(tmp_path, answers, answer_is):
    first = answer_is == "number"
    assert counted(tmp_path, answers, answer_is) == "".join("ABCD"[n - first] for n in answers)


@pytest.mark.parametrize(
    ("answers", "answer_is", "advice"),
    [
        ([1, 2, 3, 4] * 5, "index", "write answer_is: number"),
        ([1, 2, 3, 4, 3, 2, 1, 3, 1] * 5, "index_from_0", "write answer_is: number"),
        ([0, 1, 2, 3] * 5, "number", "write answer_is: index"),
        ([1, 2, 3] * 5, "number", "write answer_is: index_from_0, or index_from_1"),
        ([1, 2, 3] * 5, "index", "write answer_is: index_from_0, or index_from_1"),
        ([0, 1, 2, 3, 4, 1, 2, 3] * 5, "index", "write answer_is: index_from_0, or index_from_1"),
    ],
)
def test_an_index_that_counts_from_elsewhere_is_refused(tmp_path, answers, answer_is, advice):
    with pytest.raises(UserError, match="column cop") as refusal:
        counted(tmp_path, answers, answer_is)
    assert advice in str(refusal.value)


def test_a_file_that_loses_a_quarter_of_its_rows_is_refused(tmp_path):
    options = {"A": "1", "B": "2", "C": "3", "D": "4"}
    rows = [{"question": f"Q{i}?", **options, "answer": "AAAE"[i % 4]} for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    yaml = MMLU.replace("columns: [question, A, B, C, D, answer]", "question: question")
    with pytest.raises(
        UserError, match=r"10 of 40 rows cannot be used.*answer names none.*drop_limit=1"
    ):
        load(tmp_path / "1", yaml, path=tmp_path / "rows.jsonl")
    data = load(tmp_path / "2", yaml, path=tmp_path / "rows.jsonl", drop_limit=1)
    assert sum(map(len, data.values())) == 30


def test_rows_are_shown_as_they_were_read(tmp_path, caplog):
    caplog.set_level("INFO")
    counted(tmp_path, [1, 2, 3, 4] * 10, "number")
    assert caplog.text.count("dataset: row ") == 3
    first = caplog.text.partition("dataset: row ")[2].splitlines()[:7]
    assert first[2:6] == ["    A) iron", "    B) zinc", "    C) iodine", "    D) lead"]
    assert first[6].startswith("    gold: ")


def asked(n, **more):
    """Questions with four options, as MedMCQA's columns have them; the answer counts from 0."""
    return [
        {"question": f"Which is {i}, the one of {n}?", "cop": i % 4}
        | {f"op{letter}": f"{letter}{i}" for letter in "abcd"}
        | more
        for i in range(n)
    ]


def folder(tmp_path, **files):
    place = tmp_path / "data"
    place.mkdir()
    for name, rows in files.items():
        text = "\n".join(map(json.dumps, rows))
        (place / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return place


PLAIN = MEDMCQA.replace("explanation: exp\nid: id\n", "")


def test_a_split_whose_answers_are_hidden_is_set_aside(tmp_path, caplog):
    place = folder(tmp_path, train=asked(40), dev=asked(8), test=asked(12, cop=-1))
    data = load(tmp_path, PLAIN, path=place)
    assert {split: len(data[split]) for split in data} == {"train": 40, "validation": 8, "test": 0}
    assert "test.jsonl: no row has a gold answer: set aside" in caplog.text


def test_hidden_answers_of_what_is_trained_on_are_refused(tmp_path):
    place = folder(tmp_path, train=asked(40, cop=-1), test=asked(12))
    with pytest.raises(UserError, match="no usable row"):
        load(tmp_path, PLAIN, path=place)


def test_files_can_be_named(tmp_path):
    place = folder(tmp_path, anatomy_dev=asked(5), anatomy_val=asked(9), op4_test=asked(20),
                   more=asked(30))  # fmt: skip
    data = load(
        tmp_path, PLAIN, path=place,
        splits="{train: more.jsonl, validation: anatomy_val.jsonl, "
        "test: [op4_test.jsonl]}",
    )  # fmt: skip
    assert [len(data[split]) for split in ("validation", "test")] == [9, 20]
    with pytest.raises(UserError, match=r"dataset.splits.test: there is no file .*nothing.jsonl"):
        Table(**{**FIELDS, "path": str(place), "splits": {"test": "nothing.jsonl"}}).load()


def test_a_file_can_be_tested_on_as_a_whole(tmp_path, caplog):
    place = folder(tmp_path, mine=asked(60))
    data = load(tmp_path, PLAIN, splits=f"{{test: {place / 'mine.jsonl'}}}")
    assert {split: len(data[split]) for split in data} == {"train": 0, "validation": 0, "test": 60}
    assert "no training rows" in caplog.text


def test_rows_can_be_chosen_and_grouped_by_column(tmp_path, caplog):
    rows = [
        *asked(30, category="health", subject="anatomy"),
        *asked(50, category="law", subject=""),
    ]
    rows = [{**row, "question": f"{row['question']} {row['category']}"} for row in rows]
    place = folder(tmp_path, train=rows, test=rows[:8])
    data = load(tmp_path, PLAIN, path=place, where="{category: [health, biology]}",
                subgroup="subject")  # fmt: skip
    assert (len(data["test"]), set(data["test"]["group"])) == (8, {"anatomy"})
    assert "dropped 50 (left out by dataset.where" in caplog.text


def test_several_right_answers_are_told(tmp_path):
    for wrong in ("AC", ["A", "C"]):
        rows = [{"q": f"Which of {i}?", "o": ["x", "y", "z"], "a": wrong} for i in range(9)]
        place = folder(tmp_path, train=rows)
        with pytest.raises(UserError, match="a has several answers"):
            Table(**{**FIELDS, "path": str(place), **LISTS}).load()
        (place / "train.jsonl").unlink()
        place.rmdir()


def test_blank_cells_of_the_last_option_are_no_option(tmp_path):
    rows = asked(40)
    rows[0]["opd"] = rows[4]["opd"] = ""
    place = folder(tmp_path, train=rows, test=rows[:6])
    data = load(tmp_path, PLAIN, path=place)
    assert [len(options) for options in data["test"]["options"]] == [3, 4, 4, 4, 3, 4]


def test_columns_may_be_separated_by_semicolons(tmp_path, caplog):
    lines = ["q;A;B;a", *(f"¿Cuál es {i}, o no?;sí {i};no {i};B" for i in range(40))]
    place = tmp_path / "data"
    place.mkdir()
    (place / "train.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    with caplog.at_level("INFO"):
        data = Table(**{**FIELDS, "path": str(place), **LISTS, "options": ["A", "B"]}).load()
    assert data["test"][0]["answer"].startswith("no")
    assert "separated by ';'" in caplog.text


FIELDS = {
    "source": "path", "answer_with": "x", "primary_metric": "accuracy", "max_prompt_tokens": 512,
    "question": "question", "options": ["opa", "opb", "opc", "opd"], "answer": "cop",
    "answer_is": "index",
}  # fmt: skip
LISTS = {"question": "q", "options": "o", "answer": "a", "answer_is": "letter"}
