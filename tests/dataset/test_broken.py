"""Broken files: each loads with counted drops, or fails with the file, the row and the reason."""

from __future__ import annotations

import json
import logging
import os
import re
from pathlib import Path

import pytest

from medgrpo.dataset.bioasq import BioASQ
from medgrpo.dataset.medqa import MedQA
from medgrpo.dataset.medqa_cot import MedQACoT
from medgrpo.dataset.pubmedqa import PubMedQA
from medgrpo.dataset.table import Table
from medgrpo.errors import UserError

GOOD = 30
OPTIONS = {"A": "alpha", "B": "beta"}


def question(i, **changes):
    row = {"question": f"Which is {i}?", "options": OPTIONS, "answer_idx": "B", **changes}
    return {key: value for key, value in row.items() if value is not KeyError}


def lines(*rows, good=GOOD):
    rows = [question(i) for i in range(good)] + list(rows)
    return "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows)


def golden(*rows):
    good = [
        {
            "id": f"g{i}",
            "body": f"Which is {i}?",
            "type": "factoid",
            "snippets": [],
            "exact_answer": "x",
        }
        for i in range(GOOD)
    ]
    return json.dumps({"questions": [*good, *rows]})


def abstracts(*rows):
    good = [
        {"QUESTION": f"Does {i}?", "CONTEXTS": ["c"], "final_decision": "yes"} for i in range(GOOD)
    ]
    return json.dumps({str(i): row for i, row in enumerate([*good, *rows])})


def chat(user, assistant):
    turns = [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    return {"messages": turns}


def chats(*rows):
    good = [chat(f"Is it {i}? (A) yes (B) no", "So the answer is (A) yes.") for i in range(GOOD)]
    return "".join(json.dumps(row) + "\n" for row in [*good, *rows])


def load(kind, path, **more):
    common = {"answer_with": "", "primary_metric": "accuracy", "max_prompt_tokens": 9}
    return kind(source="path", path=str(path), **common, **more).load()


DROPS = [  # loader, file name, content, reason of the one row dropped
    (MedQA, "f.jsonl", lines(question(99, question=KeyError)), "no question"),
    (MedQA, "f.jsonl", lines(question(99, question="  ")), "no question"),
    (MedQA, "f.jsonl", lines(question(99, question=None)), "no question"),
    (MedQA, "f.jsonl", lines(question(99, question=["a"])), "question is a list"),
    (MedQA, "f.jsonl", lines(question(99, answer_idx=None)), "no answer_idx"),
    (MedQA, "f.jsonl", lines(question(99, answer_idx="E")), "answer_idx names no option"),
    (MedQA, "f.jsonl", lines(question(99, answer_idx=["B"])), "answer_idx is a list"),
    (MedQA, "f.jsonl", lines(question(99, options=["a", "b"])), "options are not lettered"),
    (
        MedQA,
        "f.jsonl",
        lines(question(99, options={"A": "a", "C": "c"})),
        "options are not lettered",
    ),
    (MedQA, "f.jsonl", lines(question(99, options={"A": None, "B": "b"})), "no A"),
    (MedQA, "f.jsonl", lines(question(99, options={"A": {}, "B": "b"})), "A is an object"),
    (
        MedQA,
        "f.jsonl",
        lines('{"question": NaN, "options": {}, "answer_idx": "A"}'),
        "no question|no option",
    ),
    (MedQA, "f.jsonl", lines(question(99, question="\ud800?")), "not valid Unicode"),
    (BioASQ, "f.json", golden({"body": "q", "snippets": "text", "exact_answer": "x"}), "snippets"),
    (
        BioASQ,
        "f.json",
        golden({"body": "q", "snippets": ["text"], "exact_answer": "x"}),
        "snippets",
    ),
    (BioASQ, "f.json", golden({"body": "q", "snippets": [], "type": "summary"}), "no exact_answer"),
    (BioASQ, "f.json", golden({"body": "q", "snippets": [], "exact_answer": [[["x"]]]}), "nested"),
    (
        BioASQ,
        "f.json",
        golden({"body": "q", "snippets": [], "type": "yesno", "exact_answer": "perhaps"}),
        "neither yes nor no",
    ),
    (
        BioASQ,
        "f.json",
        golden({"id": "g0", "body": "q", "snippets": [], "exact_answer": "x"}),
        "the id of",
    ),
    (BioASQ, "f.json", golden("a text"), "a str where an object belongs"),
    (
        PubMedQA,
        "f.json",
        abstracts({"QUESTION": "q", "CONTEXTS": [], "final_decision": "unsure"}),
        "none of",
    ),
    (
        PubMedQA,
        "f.json",
        abstracts({"QUESTION": "q", "CONTEXTS": [1], "final_decision": "no"}),
        "list of texts",
    ),
    (
        PubMedQA,
        "f.json",
        abstracts({"QUESTION": "q", "CONTEXTS": {}, "final_decision": True}),
        "no final_dec",
    ),
    (MedQACoT, "f.jsonl", chats({"messages": None}), "no list of turns"),
    (MedQACoT, "f.jsonl", chats({"messages": ["hello"]}), "no list of turns"),
    (MedQACoT, "f.jsonl", chats(chat("No options?", "the answer is (A) x")), "options"),
    (MedQACoT, "f.jsonl", chats(chat("Which? (A) x (B) y", "I do not know.")), "the answer is"),
    (
        MedQACoT,
        "f.jsonl",
        chats(chat("Which? (A) x (B) y", "the answer is (C) z")),
        "names no option",
    ),
]


@pytest.mark.parametrize("case", DROPS, ids=lambda case: f"{case[0].__name__}: {case[3]}")
def test_one_bad_row_is_dropped_and_counted(tmp_path, caplog, case):
    kind, name, content, reason = case
    caplog.set_level(logging.WARNING)
    file = tmp_path / name
    file.write_text(content)
    data = load(kind, file)
    assert sum(map(len, data.values())) == GOOD
    [message] = [r.getMessage() for r in caplog.records if "dropped" in r.getMessage()]
    assert f"{file}: dropped 1 (" in message
    assert f"first: row {GOOD + 1}" in message
    assert re.search(reason, message)


FATAL = [  # loader, file name, bytes, what the message says beside the file
    (MedQA, "f.jsonl", b"", "there are no rows"),
    (MedQA, "f.jsonl", b"\n\n \n", "there are no rows"),
    (MedQA, "f.json", b"", "not valid JSON"),
    (MedQA, "f.json", b"[]", "there are no rows"),
    (MedQA, "f.json", b'{"a": 1}', "expected a list of objects, found dict"),
    (MedQA, "f.jsonl", lines()[:-9].encode(), "line 30: not valid JSON"),
    (MedQA, "f.jsonl", lines("{'question': 1}").encode(), "line 31: not valid JSON"),
    (MedQA, "f.jsonl", lines('"text"').encode(), "line 31: expected a JSON object, found str"),
    (MedQA, "f.jsonl", lines("[" * 100_000).encode(), "line 31: not valid JSON"),
    (MedQA, "f.jsonl", lines("9" * 5000).encode(), "line 31: not valid JSON"),
    (
        MedQA,
        "f.jsonl",
        lines('{"question": "a", "question": "b"}').encode(),
        "line 31.*'question' occurs twice",
    ),
    (MedQA, "f.jsonl", lines().encode("utf-16"), "line 1: not UTF-8"),
    (
        MedQA,
        "f.jsonl",
        lines().encode() + '{"question": "caf\xe9"}'.encode("latin-1"),
        "line 31: not UTF-8",
    ),
    (
        MedQA,
        "f.jsonl",
        b'{"stem": "q", "choices": []}\n',
        "expects question, options, answer_idx; row 1 has stem, choices",
    ),
    (
        MedQA,
        "f.csv",
        b"stem,choices\na,b\n",
        "expects question, options, answer_idx; row 1 has stem, choices",
    ),
    (MedQA, "f.csv", b'question,options\n"open', "line 2: not valid CSV"),
    (MedQA, "f.csv", b"question,question\na,b\n", "a column name occurs twice"),
    (MedQA, "f.csv", b"question\n" + b"x" * 200_000 + b"\n", "line 2: not valid CSV"),
    (MedQA, "f.parquet", b"PAR1 is not enough", "cannot read"),
    (MedQA, "f.parquet", b"", "cannot read"),
    (MedQA, "f.txt", b"hello", "none of .jsonl, .json"),
    (PubMedQA, "f.json", b'{"1": [1]}', "maps a PMID to each record"),
    (PubMedQA, "f.json", b'{"1": {"q": 1}, "1": {"q": 2}}', "'1' occurs twice"),
    (PubMedQA, "f.json", b"[]", "maps a PMID to each record"),
    (
        PubMedQA,
        "f.json",
        b'{"1": {"QUESTION": "q"}}',
        "expects QUESTION, CONTEXTS, final_decision; row 1 has id, QUESTION",
    ),
    (BioASQ, "f.json", b'{"questions": {}}', 'a list under "questions"'),
    (BioASQ, "f.json", golden()[:1000].encode(), "not valid JSON"),
    (MedQA, "f.jsonl", lines(good=2).encode(), "too few to carve"),
]


@pytest.mark.parametrize(("kind", "name", "content", "said"), FATAL)
def test_a_bad_file_is_one_message(tmp_path, kind, name, content, said):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        load(kind, file)
    assert "too few" in said or str(file) in str(caught.value)


def test_a_byte_order_mark_and_windows_lines_are_harmless(tmp_path):
    file = tmp_path / "f.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + lines().replace("\n", "\r\n").encode())
    assert sum(map(len, load(MedQA, file).values())) == GOOD


def test_ten_megabytes_on_one_line(tmp_path):
    file = tmp_path / "f.jsonl"
    file.write_text(lines(question(99, question="long " * 2_000_000)))
    assert sum(map(len, load(MedQA, file).values())) == GOOD + 1


def test_ragged_csv_rows_are_counted(tmp_path, caplog):
    good = [f"Which is {i}?,alpha,beta,B" for i in range(GOOD)]
    file = tmp_path / "f.csv"
    file.write_text("\n".join(["q,A,B,a", *good, "too,many,values,B,here", "too few,alpha"]))
    data = load(Table, file, question="q", options=["A", "B"], answer="a", answer_is="letter")
    assert sum(map(len, data.values())) == GOOD
    assert "more values than columns; first: row 31" in caplog.text
    assert "1 options, where 2 to 10 can be lettered; first: row 32" in caplog.text


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "no training file"),
        (["dev.jsonl"], "no training file.*it has dev.jsonl. Say which is which"),
        (["train.jsonl", "train.json"], "several train files: train.json, train.jsonl"),
        (["old_train.jsonl", "new_train.jsonl"], "several train files"),
    ],
)
def test_a_folder_that_does_not_say_what_to_train_on(tmp_path, names, said):
    for name in names:
        (tmp_path / name).write_text(lines())
    with pytest.raises(UserError, match=said):
        load(MedQA, tmp_path)


def test_a_split_without_usable_rows_is_not_replaced(tmp_path):
    (tmp_path / "train.jsonl").write_text(lines())
    (tmp_path / "test.jsonl").write_text(json.dumps(question(1, answer_idx="Z")))
    with pytest.raises(UserError, match=r"test.jsonl: no usable row.*names no option"):
        load(MedQA, tmp_path)


def test_no_such_path_and_a_pipe_do_not_hang(tmp_path):
    os.mkfifo(tmp_path / "train.jsonl")
    for path in (tmp_path / "absent", tmp_path / "train.jsonl", tmp_path):
        with pytest.raises(UserError, match=r"no file or folder|no training file"):
            load(MedQA, path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    file = tmp_path / "f.jsonl"
    file.write_text(lines())
    Path(file).chmod(0)
    with pytest.raises(UserError, match="cannot read"):
        load(MedQA, file)
