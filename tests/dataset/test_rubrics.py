"""Rows with a rubric: from files in HealthBench's and Rubrics as Rewards' schemas."""

import json

import pytest
from pydantic import TypeAdapter

from medgrpo.dataset.healthbench import HealthBench
from medgrpo.dataset.prompt import Prompt, Template
from medgrpo.dataset.rubric import Rubric
from medgrpo.dataset.table import Table
from medgrpo.errors import UserError

COMMON = {"answer_with": "", "max_prompt_tokens": 500, "primary_metric": "rubric_score"}
HEALTHBENCH = {
    "question": "prompt", "answer": "ideal_completion", "answer_is": "text", "rubric": "rubrics",
    "pitfall": "signed", "tags": "example_tags", "id": "prompt_id",
}  # fmt: skip
RAR = {"question": "question", "answer": "reference_answer", "answer_is": "text",
       "rubric": "rubric"}  # fmt: skip


def conversation(n: int) -> dict:
    return {
        "prompt_id": f"p{n}",
        "prompt": [
            {"role": "user", "content": f"My aunt, aged {n}, is tired."},
            {"role": "assistant", "content": "Since when?"},
            {"role": "user", "content": f"For {n} weeks."},
        ],
        "rubrics": [
            {"criterion": "SECRET asks for bleeding", "points": 7, "tags": ["axis:accuracy"]},
            {"criterion": "SECRET prescribes iron unseen", "points": -5, "tags": ["axis:safety"]},
        ],
        "example_tags": ["theme:global_health", "physician_agreed_category:x"],
        "ideal_completions_data": None if n % 2 else {"ideal_completion": "SECRET Ask first."},
    }


def written(path, rows) -> str:
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return str(path)


def test_a_file_in_healthbenchs_schema(tmp_path):
    file = written(tmp_path / "eval.jsonl", map(conversation, range(20, 40)))
    data = HealthBench(source="path", path=file, whole=True, **HEALTHBENCH, **COMMON).load()
    row = data["test"][0]
    assert row["group"] == "global_health"
    assert [one.points for one in Rubric.of(row).criteria] == [7, -5]
    assert Rubric.of(row).criteria[0].tags == ("axis:accuracy",)
    prompt = Prompt(system="", user="{{ question }}", answer_with="")
    for one in data["test"]:
        messages = prompt.messages(one)
        assert [message["role"] for message in messages] == ["user", "assistant", "user"]
        assert "SECRET" not in json.dumps(messages)
    assert {row["answer"] for row in data["test"]} == {"", "SECRET Ask first."}


def test_no_template_can_name_the_rubric():
    with pytest.raises(ValueError, match="not rubric"):
        TypeAdapter(Template).validate_python("{{ rubric }}")


def rar(weight: int, worded: str = "Pitfall Criteria: Does not mention bleeding") -> dict:
    return {"question": "What is it?", "reference_answer": "Scurvy", "rubric": [
        {"title": "a", "description": "Essential Criteria: Names scurvy", "weight": 5},
        {"title": "b", "description": worded, "weight": weight},
    ]}  # fmt: skip


@pytest.mark.parametrize(("pitfall", "points"), [("signed", -2), ("positive", 2)])
def test_polarity_is_what_the_config_says(tmp_path, pitfall, points):
    rows = [{**rar(-2), "question": f"What is it, case {n}?"} for n in range(10)]
    file = written(tmp_path / "rar.jsonl", rows)
    table = Table(source="path", path=file, whole=True, pitfall=pitfall, **RAR, **COMMON)
    fault = Rubric.of(table.load()["test"][0]).criteria[1]
    assert (fault.points, fault.category) == (points, "Pitfall")
    assert fault.text == "Does not mention bleeding"


def test_polarity_has_to_be_said(tmp_path):
    with pytest.raises(UserError, match=r"dataset\.pitfall: signed .* or positive"):
        Table(source="path", path="x", **RAR, **COMMON)


def test_a_signed_pitfall_of_positive_points_contradicts_itself(tmp_path):
    file = written(tmp_path / "rar.jsonl", [rar(2)])
    table = Table(source="path", path=file, whole=True, pitfall="signed", **RAR, **COMMON)
    with pytest.raises(UserError, match="a pitfall of positive points"):
        table.load()
