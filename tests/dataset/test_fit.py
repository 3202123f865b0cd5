"""Prompts fit their budget by losing passages, and are made when a row is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict, Features, List, Value

import medgrpo.model.tiny
from medgrpo.dataset.example import Example
from medgrpo.dataset.fit import add_prompts, fingerprint
from medgrpo.dataset.prompt import Prompt
from medgrpo.errors import UserError

WEIGHTS = Path(medgrpo.model.tiny.__file__).parent / "weights"
PROMPT = Prompt(
    "Answer with {{ answer_with }}.",
    "{% for p in context %}{{ p }}\n{% endfor %}\n"
    "{{ question }}\n{% for o in options %}{{ o }}\n{% endfor %}",
    "yes or no",
)
PASSAGE = "The trial had one hundred patients with heart failure."
LIMIT = 120
LISTS = {"context": List(Value("string")), "options": List(Value("string"))}
FEATURES = Features(dict.fromkeys(Example.__annotations__, Value("string")) | LISTS)


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(WEIGHTS)


def row(identity, question="Does it help?", passages=0, options=()):
    context = [f"{PASSAGE} {i}" for i in range(passages)]
    return Example(
        id=str(identity),
        question=question,
        context=context,
        options=list(options),
        answer="yes",
        label="yes",
        explanation="",
    )


def splits(*train, test=()):
    parts = {"train": train, "validation": [row("v")], "test": test or [row("t")]}
    return DatasetDict(
        {name: Dataset.from_list(list(part), features=FEATURES) for name, part in parts.items()}
    )


def length(tokenizer, messages):
    return len(
        tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True)[
            "input_ids"
        ]
    )


LONG = "Does it help? " * 60
ROWS = [row("short"), row("cut", passages=9), row("long", LONG, 2), row("fits", passages=1)]


def test_the_last_passages_go_and_the_question_stays(tokenizer, caplog):
    data = add_prompts(splits(*ROWS), PROMPT, tokenizer, LIMIT)["train"]
    assert [r["id"] for r in data] == ["short", "cut", "fits"]
    cut = data[1]
    assert 0 < len(cut["context"]) < 9
    assert cut["context"] == ROWS[1]["context"][: len(cut["context"])]
    assert cut["prompt"] == PROMPT.messages({**ROWS[1], "context": cut["context"]})
    assert length(tokenizer, cut["prompt"]) <= LIMIT
    longer = PROMPT.messages({**ROWS[1], "context": ROWS[1]["context"][: len(cut["context"]) + 1]})
    assert length(tokenizer, longer) > LIMIT
    assert data[2]["context"] == ROWS[3]["context"]
    assert f"1 train rows over {LIMIT} tokens, left out" in caplog.text
    assert "1 of 3 train rows lose passages" in caplog.text


def test_rows_are_found_in_a_selection(tokenizer):
    """Of a dataset of one's own, which may hold its rows in another order than it shows them."""
    mixed = Dataset.from_list([*ROWS, row("no")], features=FEATURES).select([3, 0, 2, 1])
    data = add_prompts(splits(row("x")) | {"train": mixed}, PROMPT, tokenizer, LIMIT)
    assert [r["id"] for r in data["train"]] == ["fits", "short", "cut"]


def test_a_held_out_row_is_kept_however_long(tokenizer, caplog):
    data = add_prompts(splits(row("a"), test=ROWS), PROMPT, tokenizer, LIMIT)["test"]
    assert [r["id"] for r in data] == [r["id"] for r in ROWS]
    assert data[2]["context"] == []
    assert f"1 test rows over {LIMIT} tokens, kept" in caplog.text


def test_held_out_rows_have_a_budget_of_their_own(tokenizer):
    data = add_prompts(
        splits(*ROWS, test=ROWS), PROMPT, tokenizer, LIMIT, held_out_tokens=100 * LIMIT
    )
    assert [row["passages_left_out"] > 0 for row in data["train"]] == [False, True, False]
    assert [row["passages_left_out"] for row in data["test"]] == [0] * 4
    assert [len(row["context"]) for row in data["test"]] == [len(r["context"]) for r in ROWS]


def test_rows_over_the_budget_can_be_dropped_instead(tokenizer):
    data = add_prompts(splits(*ROWS, test=ROWS), PROMPT, tokenizer, LIMIT, "drop")
    assert [r["id"] for r in data["train"]] == ["short", "fits"]
    assert len(data["test"]) == len(ROWS)


def test_nothing_left_is_an_error(tokenizer):
    with pytest.raises(UserError, match="max_prompt_tokens"):
        add_prompts(splits(row("long", LONG)), PROMPT, tokenizer, LIMIT)


def test_every_row_that_is_too_long_is_found(tokenizer):
    """Among many short ones, whether question or options make it long, in any script."""
    train = [row(i) for i in range(1200)]
    train[7] = row("question", LONG)
    train[700] = row("options", options=["heart failure " * 20] * 4)
    train[1100] = row("script", "心不全" * 60)
    data = add_prompts(splits(*train), PROMPT, tokenizer, LIMIT)["train"]
    measured = {r["id"] for r in train if length(tokenizer, PROMPT.messages(r)) > LIMIT}
    assert measured == {"question", "options", "script"}
    assert {r["id"] for r in train} - {r["id"] for r in data} == measured


def test_columns_can_be_read_alone_and_rows_selected(tokenizer):
    data = add_prompts(splits(*ROWS), PROMPT, tokenizer, LIMIT)["train"]
    assert data[:]["label"] == ["yes"] * 3
    assert list(data["id"]) == ["short", "cut", "fits"]
    part = data.select([2, 0])
    assert [r["prompt"] for r in part] == [data[2]["prompt"], data[0]["prompt"]]


def test_trl_trains_on_rows_made_when_read_as_on_stored_ones(tokenizer, tmp_path):
    from transformers import AutoModelForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    lazy = add_prompts(splits(*ROWS), PROMPT, tokenizer, LIMIT)["train"]
    stored = Dataset.from_list(list(lazy))
    args = GRPOConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        report_to="none",
        per_device_train_batch_size=6,
        num_generations=2,
        max_completion_length=4,
        max_steps=1,
        learning_rate=1e-3,
        disable_tqdm=True,
    )
    seen = []

    def reward(prompts, completions, **columns):
        seen.append((prompts, columns["id"], columns["context"], completions))
        return [float(len(completion[0]["content"])) for completion in completions]

    for rows in (lazy, stored):
        trainer = GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(WEIGHTS),
            reward_funcs=reward,
            args=args,
            train_dataset=rows,
            processing_class=tokenizer,
        )
        trainer.train()
    assert seen[0] == seen[1]
    assert sorted(seen[0][1]) == sorted(["short", "cut", "fits"] * 2)


def test_the_fingerprint_is_of_the_content_alone(tokenizer):
    examples = [row(i, f"Does {i} help?", passages=i % 3) for i in range(20)]
    examples[3]["label"] = None
    data = splits(*examples)
    prints = fingerprint(data)
    assert prints["train"]["rows"] == 20
    back = Dataset.from_list([*examples, *reversed(examples)], features=FEATURES)
    for places in (range(20), range(39, 19, -1)):
        assert fingerprint(DatasetDict(train=back.select(places)))["train"] == prints["train"]
    fitted = add_prompts(data, PROMPT, tokenizer, 10_000)
    assert fingerprint(fitted) == prints


@pytest.mark.parametrize(
    "change",
    [
        {"label": "no"},
        {"label": ""},
        {"context": []},
        {"context": ["The trial", "had one"]},
        {"context": ["The trialhad", " one"]},
        {"question": "Does it help"},
        {"options": ["a"]},
    ],
)
def test_any_change_of_a_row_changes_the_fingerprint(change):
    base = {**row("a"), "label": None, "context": ["The trial", "had", " one"]}
    prints = [fingerprint(splits(Example(**r)))["train"] for r in (base, {**base, **change})]
    assert prints[0] != prints[1]


def test_the_order_of_rows_is_part_of_the_fingerprint():
    forth, back = splits(row("a"), row("b")), splits(row("b"), row("a"))
    assert fingerprint(forth)["train"] != fingerprint(back)["train"]
