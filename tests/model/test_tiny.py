"""The embedded model loads anywhere, speaks the project's prompts, and has habits to unlearn."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from medgrpo.dataset.samples import generate  # noqa: E402
from medgrpo.model.tiny import build, exam, lessons  # noqa: E402
from medgrpo.rewards.tags import extract_answer, parse_tags  # noqa: E402

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


def ask(model, tokenizer, name: str, rows: int) -> tuple[list, list[str]]:
    """The first held-out items of a dataset and the model's greedy responses."""
    items = generate.splits(name)["test"][:rows]
    prompt = lessons.prompt(name)
    messages = [prompt.messages(lessons.example(name, item)) for item in items]
    return items, exam.greedy(model, tokenizer, messages)


def accuracy(items: list, said: list[str]) -> float:
    hits = [extract_answer(s) == lessons.answer_line(i) for i, s in zip(items, said, strict=True)]
    return sum(hits) / len(hits)


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
    for style in ("reasoning", "choice_cot"):
        message = lessons.prompt(name, style).messages(
            lessons.example(name, generate.splits(name)["test"][0])
        )[0]
        if style == "reasoning" or name == "medqa_cot":
            assert len(tokenizer(message["content"])["input_ids"]) == 1


@pytest.mark.parametrize("name", ["medqa", "pubmedqa"])
def test_it_knows_more_than_chance_and_has_habits_to_unlearn(model, tokenizer, name):
    items, said = ask(model, tokenizer, name, 60)
    assert 0.26 < accuracy(items, said) < 0.7
    assert 0.3 < sum(parse_tags(s) is not None for s in said) / len(said) < 0.95


def test_planted_neighbours_are_what_it_gets_wrong(model, tokenizer):
    items, said = ask(model, tokenizer, "medqa", 60)
    parsed = [(i, extract_answer(s)) for i, s in zip(items, said, strict=True)]
    near = [answer == lessons.answer_line(i, answer=i.near) for i, answer in parsed if answer]
    misled = [lessons.misled(i) for i, answer in parsed if answer]
    fooled = [n for n, m in zip(near, misled, strict=True) if m]
    others = [n for n, m in zip(near, misled, strict=True) if not m]
    assert sum(fooled) / len(fooled) > 0.5
    assert sum(others) / len(others) < 0.2


def test_lessons_never_ask_what_a_held_out_row_asks():
    from random import Random

    for name in lessons.NAMES:
        rng = Random(0)
        keys = {generate.key(lessons.draw(name, rng)) for _ in range(300)}
        assert not keys & lessons.held_out(name)
