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
