"""A question may be a conversation; and a column of another kind is named, not called missing."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from medgrpo.cli import CONF
from medgrpo.dataset.prompt import Prompt
from medgrpo.errors import UserError

PROMPT = Prompt(system="Answer with {{ answer_with }}.", user="Q: {{ question }}", answer_with="x")


def said(*contents: str, first: str = "user") -> list[dict[str, Any]]:
    roles = ["user", "assistant"] if first == "user" else ["assistant", "user"]
    return [{"role": roles[i % 2], "content": one, "name": None} for i, one in enumerate(contents)]


def load(tmp_path, rows, *overrides):
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with initialize_config_dir(str(CONF), version_base="1.3"):
        keys = ["question=prompt", "options=null", "answer=ideal", "answer_is=text"]
        typed = [f"dataset.{key}" for key in keys]
        cfg = compose(
            "config",
            ["dataset=jsonl", f"dataset.path={tmp_path}", *typed,
             "dataset.primary_metric=token_f1", *overrides],
        )  # fmt: skip
    OmegaConf.resolve(cfg.dataset)
    return instantiate(cfg.dataset, _convert_="all").load()["test"]


def test_its_messages_reach_the_model_as_they_are(tmp_path):
    asked = said("My aunt has scurvy.", "I am sorry to hear it.", "What should she eat?")
    rules = {"role": "system", "content": "Be kind."}
    rows = load(tmp_path, [{"prompt": [rules, *asked], "ideal": "oranges"}])
    assert PROMPT.messages(rows[0]) == [
        {"role": "system", "content": "Answer with x.\n\nBe kind."},
        {"role": "user", "content": "My aunt has scurvy."},
        {"role": "assistant", "content": "I am sorry to hear it."},
        {"role": "user", "content": "Q: What should she eat?"},
    ]
    assert rows[0]["question"].splitlines()[-1] == "user: What should she eat?"  # for judges


def test_conversations_and_plain_questions_may_stand_side_by_side(tmp_path):
    rows = [{"prompt": "What is scurvy?", "ideal": "a disease"}]
    rows += [{"prompt": said(f"What is {i}?"), "ideal": f"a number {i}"} for i in range(3)]
    found = load(tmp_path, rows)
    assert [PROMPT.messages(row)[-1]["content"] for row in found] == [
        "Q: What is scurvy?", "Q: What is 0?", "Q: What is 1?", "Q: What is 2?",
    ]  # fmt: skip


def test_a_table_without_conversations_is_as_it_was(tmp_path):
    rows = load(tmp_path, [{"prompt": f"What is {i}?", "ideal": "a number"} for i in range(3)])
    assert "turns" not in rows.column_names


@pytest.mark.parametrize(
    ("prompt", "why"),
    [
        (said("Hello.", "What ails you?"), "the last message of prompt is not the user's"),
        ([], "the last message of prompt is not the user's"),
        (["What is scurvy?"], "prompt is a list, and none of messages with role and content"),
        ([{"role": "user", "content": None}], "no content"),
        ({"text": "What is scurvy?"}, "prompt is an object, where a text belongs"),
    ],
)
def test_what_is_none_says_why(tmp_path, prompt, why):
    with pytest.raises(UserError, match=re.escape(why)):
        load(tmp_path, [{"prompt": prompt, "ideal": "a disease"}])


def test_an_answer_that_is_a_list_is_not_called_missing(tmp_path):
    rubrics = [{"criterion": "Names vitamin C", "points": 7}, {"criterion": "Kind", "points": 1}]
    with pytest.raises(UserError, match="ideal is a list, where a text belongs"):
        load(tmp_path, [{"prompt": said("What is scurvy?"), "ideal": rubrics}])
