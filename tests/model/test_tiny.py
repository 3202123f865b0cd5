"""The embedded model loads anywhere, speaks the project's prompts, and has habits to unlearn."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

torch = pytest.importorskip("torch")

from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from medgrpo.answers.parse import predict  # noqa: E402
from medgrpo.answers.tags import parse_tags  # noqa: E402
from medgrpo.dataset.samples import generate  # noqa: E402
from medgrpo.model.tiny import build, exam, lessons  # noqa: E402

TEXTS = [
    "",
    "A 54-year-old man takes lisinopril.\nWhich class?\n\nA) ACE inhibitor\nB) statin",
    "Ärzte, naïve café, 血压, Ελληνικά, 👩‍⚕️, µg/m², −3 °C\t\ttabs  two  spaces \r\n",
    "<answer>\nyes\n</answer> <|not a token|> {{ braces }} \\n \x00\x1b[0m",
    "p=0.03, p<0.001, 12% vs 3.5%, 5-HT3, -pril, (A) x (B) y: end.",
]


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(build.WEIGHTS)


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(build.WEIGHTS, dtype=torch.float32)


def ask(model, tokenizer, name: str) -> tuple[list, list[str], list[str | None]]:
    """60 held-out items of a dataset, the model's greedy responses, the answers read from them."""
    items = generate.splits(name)["test"][:60]
    rows = [lessons.example(name, item) for item in items]
    said = exam.greedy(model, tokenizer, [lessons.prompt(name).messages(row) for row in rows])
    return items, said, [predict(s, r, "reasoning") for s, r in zip(said, rows, strict=True)]


def test_folder_is_small():
    sizes = {file.name: file.stat().st_size for file in Path(build.WEIGHTS).iterdir()}
    assert sizes.pop("model.safetensors") <= 4e6
    assert sum(sizes.values()) <= 0.5e6


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_real_prompts_fit_the_context(model, tokenizer):
    words = "The patient, a retired electrician, reports progressive exertional dyspnoea. " * 12
    assert len(tokenizer(words)["input_ids"]) < 1024
    assert model.config.max_position_embeddings >= 2048


def test_chat_template_renders_every_role(tokenizer):
    turns = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "U"},
        {"role": "assistant", "content": "A"},
    ]
    rendered = tokenizer.apply_chat_template(turns, tokenize=False)
    assert rendered == "<|system|>S<|user|>U<|assistant|>A<|end|>"
    prompt = tokenizer.apply_chat_template(turns[1:2], tokenize=False, add_generation_prompt=True)
    assert prompt == "<|user|>U<|assistant|>"


def test_generation_stops_and_pads_on_the_left(model, tokenizer):
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id
    assert tokenizer.padding_side == "left"


@pytest.mark.parametrize("name", lessons.NAMES)
def test_prompts_are_those_it_was_taught(tokenizer, name):
    """A system message that is edited in conf/ is no longer one token: build the model again."""
    row = lessons.example(name, generate.splits(name)["test"][0])
    styles = ["reasoning", "choice_cot"] if name.startswith("medqa") else ["reasoning"]
    for style in styles:
        system, _ = lessons.prompt(name, style).messages(row)
        assert len(tokenizer(system["content"])["input_ids"]) == 1


@pytest.mark.parametrize(("name", "chance"), [("medqa", 0.25), ("pubmedqa", 0.33)])
def test_it_knows_more_than_chance_and_has_habits_to_unlearn(model, tokenizer, name, chance):
    items, said, answers = ask(model, tokenizer, name)
    gold = [lessons.answer_line(item).partition(")")[0] for item in items]
    given = [a == g for a, g in zip(answers, gold, strict=True) if a]
    assert sum(given) / len(given) > chance + 0.1
    assert sum(given) / len(items) < 0.7
    assert 0.4 < sum(parse_tags(s) is not None for s in said) / len(said) < 0.95


def test_planted_neighbours_are_what_it_gets_wrong(model, tokenizer):
    items, _, answers = ask(model, tokenizer, "medqa")
    fell = {True: [], False: []}
    for item, answer in zip(items, answers, strict=True):
        if answer:
            near = lessons.answer_line(item, answer=item.near)
            fell[lessons.misled(item)].append(near.startswith(answer))
    assert sum(fell[True]) / len(fell[True]) > 0.6
    assert sum(fell[False]) / len(fell[False]) < 0.2


def test_responses_are_short(model, tokenizer):
    _, said, _ = ask(model, tokenizer, "bioasq")  # lists: the longest answers
    assert max(len(ids) for ids in tokenizer(said)["input_ids"]) <= 48


def test_lessons_never_ask_what_a_held_out_row_asks():
    for name in lessons.NAMES:
        rng = Random(0)
        keys = {generate.key(lessons.draw(name, rng)) for _ in range(300)}
        assert not keys & lessons.held_out(name)
