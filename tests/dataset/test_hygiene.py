"""Nothing is trained on twice, nothing is trained on that is tested, and all of it is counted."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from medgrpo.dataset.example import Example
from medgrpo.dataset.hygiene import (
    balance_line,
    balanced,
    with_words,
    without_overlap,
    without_repeats,
)
from medgrpo.dataset.medqa import MedQA
from medgrpo.dataset.rows import schema, select
from medgrpo.errors import UserError

VIGNETTE = (
    "A 54-year-old man comes to the physician because of increasing fatigue over the past three "
    "months, a dry cough at night and swelling of both ankles that is worse in the evening. "
)
NEXT_STEP = (
    "Which of the following is the most appropriate next step in the management of this patient "
    "at this time according to the current guidelines?"
)
OTHER = (
    "A newborn girl is examined two hours after delivery and is found to have a harsh systolic "
    "murmur, a bluish tint of lips and fingers, and a weak cry when she is handled by the nurse. "
)


def row(question, identity="", *, options=(), context=(), label="yes"):
    return Example(
        id=identity or question,
        question=question,
        context=list(context),
        options=list(options),
        answer=label or "",
        label=label,
        explanation="",
    )


def rows(*examples):
    return with_words(pa.Table.from_pylist(list(examples), schema()))


def questions(part):
    return part.column("question").to_pylist()


def labels(part):
    return part.column("label").to_pylist()


def kept(train, test, validation=()):
    splits = {"train": train, "test": rows(*test), "validation": rows(*validation)}
    return questions(without_overlap({**splits, "train": rows(*train)})["train"])


def test_case_and_punctuation_do_not_hide_a_test_question(caplog):
    train = [row("Does  ASPIRIN help??"), row("Does heparin help?"), row("Помогает ли?")]
    assert kept(train, [row("does aspirin help")], [row("помогает  ли")]) == ["Does heparin help?"]
    assert "removed 1 of 3 rows from train: also in test" in caplog.text
    assert "removed 1 of 3 rows from train: also in validation" in caplog.text


def test_validation_does_not_choose_by_test_rows(caplog):
    """Also where it was carved from a training file that repeats them."""
    validation = rows(
        row("Does it help?", "1"), row("Is it safe?", "2"), row(VIGNETTE + "Why?", "3")
    )
    test = rows(row("is it safe", "9"), row(VIGNETTE + "What is it?", "8"))
    splits = {"train": rows(row("Is it new?")), "validation": validation, "test": test}
    found = without_overlap(splits)
    assert questions(found["validation"]) == ["Does it help?"]
    assert questions(found["test"]) == questions(test)
    assert "removed 1 of 3 rows from validation: also in test" in caplog.text
    assert "removed 1 of 3 rows from validation: nearly the same as a test question" in caplog.text


def test_a_question_is_another_with_other_options_or_passages():
    train = [row("Which?", "1", options=["a", "b"]), row("Is it?", "2", context=["One."])]
    test = [row("Which?", "3", options=["a", "c"]), row("Is it?", "4", context=["Two."])]
    assert kept(train, test) == ["Which?", "Is it?"]


def test_a_long_question_asked_in_other_words_is_removed(caplog):
    train = [row(VIGNETTE + "What is the most likely diagnosis?"), row("Does it help?")]
    assert kept(train, [row(VIGNETTE + "Which drug?")]) == ["Does it help?"]
    assert "nearly the same as a test question" in caplog.text


def test_a_shared_closing_sentence_is_no_overlap():
    assert len(kept([row(VIGNETTE + NEXT_STEP)], [row(OTHER + NEXT_STEP)])) == 1


def test_signs_without_words_are_not_all_the_same():
    assert kept([row("???")], [row("!!!")]) == ["???"]


def test_nothing_left_to_train_on_is_an_error():
    with pytest.raises(UserError, match="every training row is also held out"):
        kept([row("Does it help?")], [row("Does it help?")])


def test_repeats_are_removed_from_train_whatever_their_ids(caplog):
    train = rows(row("Is it?", "1"), row("is it", "2"), row("Is it?", "3", context=["One."]))
    assert select(train, [0, 2]).column("id") == without_repeats(train).column("id")
    assert "removed 1 of 3 rows" in caplog.text


def test_a_limit_leaves_labels_balanced():
    """Of a file that is sorted by label, the first rows would have one alone."""
    train = rows(*(row(f"q{i}", label="no" if i >= 150 else "yes") for i in range(200)))
    counts = [labels(balanced(train, 30)).count(label) for label in ("yes", "no")]
    assert counts == [15, 15]
    assert len(balanced(train, 500)) == 100
    assert len(balanced(train, 1)) == 2


def test_balancing_is_the_same_each_time_and_keeps_the_rare_label():
    train = rows(*(row(f"q{i}", label="no" if i % 10 == 0 else "yes") for i in range(200)))
    once, again = balanced(train), balanced(train)
    assert (labels(once).count("yes"), labels(once).count("no")) == (20, 20)
    assert questions(once) == questions(again)
    assert questions(once) != questions(train)[:40]


def test_balancing_nothing_is_an_error():
    with pytest.raises(UserError, match=r"dataset\.balance"):
        balanced(rows(row("q", label=None)))


def test_the_constant_answer_is_trains_commonest_on_test():
    train = rows(*(row(f"q{i}", label="yes" if i else "no") for i in range(4)))
    test = rows(*(row(f"t{i}", label="no" if i else "yes") for i in range(5)))
    assert balance_line(train, test) == (
        "train labels no 25.0%, yes 75.0%\n"
        "  test labels no 80.0%, yes 20.0%\n"
        '  always answering "yes" scores 20.0% on test'
    )
    assert balance_line(train, rows(row("a; b", label=None))) is None


def load(tmp_path, **more):
    """200 questions, of which every fourth answer is A and every other B."""
    records = [
        {"question": f"Which is {i}?", "options": {"A": "x", "B": "y"}, "answer_idx": "ABBB"[i % 4]}
        for i in range(200)
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    common = {"answer_with": "", "primary_metric": "accuracy", "max_prompt_tokens": 9}
    return MedQA(source="path", path=str(tmp_path), **common, **more).load()


def test_limit_shuffle_and_balance_concern_train_alone(tmp_path):
    plain, shuffled = load(tmp_path), load(tmp_path, shuffle=True)
    limited = load(tmp_path, limit=30, shuffle=True)
    assert sorted(plain["train"]["id"]) == sorted(shuffled["train"]["id"])
    assert list(plain["train"]["id"]) != list(shuffled["train"]["id"])
    assert list(limited["train"]["id"]) == list(shuffled["train"]["id"])[:30]
    chosen = list(load(tmp_path, balance=True)["train"]["label"])
    assert chosen.count("A") == chosen.count("B") > 30
    for data in (shuffled, limited):
        assert list(data["test"]["id"]) == list(plain["test"]["id"])
