"""What the tiny model is taught: the project's own prompts, with clean or with bad answers.

Lessons are drawn from the generator of the samples with another seed, and a draw that asks what
a held-out row asks is thrown away. The clean stage teaches the right answer in the right layout.
The habit stage plants what GRPO is there to unlearn: tags and answer are often left out, and
some questions are answered with the near neighbour. Both depend on the gold class, so that greedy
decoding shows them, and both are drawn at random within the class, so that sampling still finds
the right behaviour.
"""

from __future__ import annotations

import hashlib
from functools import cache
from random import Random
from typing import NamedTuple

from omegaconf import OmegaConf

from medgrpo.answers.parse import Style
from medgrpo.config.provenance import CONF
from medgrpo.dataset.bioasq import BioASQ
from medgrpo.dataset.example import LETTERS, Example
from medgrpo.dataset.medqa import MedQA
from medgrpo.dataset.medqa_cot import MedQACoT
from medgrpo.dataset.prompt import Prompt
from medgrpo.dataset.pubmedqa import PubMedQA
from medgrpo.dataset.samples import generate
from medgrpo.dataset.samples.draw import Choice
from medgrpo.dataset.samples.trials import Trial

NAMES = ["medqa", "medqa_cot", "pubmedqa", "bioasq"]
OFTEN, SELDOM = 0.72, 0.06  # how often a habit shows, in the classes that have it and elsewhere
_LOADERS = {"medqa": MedQA, "medqa_cot": MedQACoT, "pubmedqa": PubMedQA, "bioasq": BioASQ}


class Lesson(NamedTuple):
    """A prompt as chat messages, and the response to learn."""

    messages: list[dict[str, str]]
    response: str


@cache
def prompt(name: str, style: Style = "reasoning") -> Prompt:
    """The shipped prompt of a dataset, as the config composes it."""
    dataset = OmegaConf.load(CONF / "dataset" / f"{name}.yaml")
    shipped = OmegaConf.load(CONF / "prompt" / f"{style}.yaml")
    return Prompt(shipped.system, shipped.user, dataset.answer_with, style)


@cache
def held_out(name: str) -> frozenset[tuple[str, ...]]:
    """Keys of the validation and test rows: no lesson asks the same."""
    splits = generate.splits(name)
    return frozenset(generate.key(i) for s in ("validation", "test") for i in splits[s])


def draw(name: str, rng: Random) -> generate.Item:
    """A question of dataset `name` that is in no held-out split."""
    while True:
        item = generate.draw(name, rng, rng.randrange(20))
        if not any(generate.key(item) in held_out(other) for other in NAMES):
            return item


def example(name: str, item: generate.Item) -> Example:
    """The item as the dataset's loader reads it from a sample file."""
    loader = _LOADERS[name](
        source="sample", answer_with="", primary_metric="accuracy", max_prompt_tokens=1024
    )
    return loader.parse(generate.record(name, item, "lesson"), 0)


def clean_lesson(name: str, rng: Random, style: str = "reasoning") -> Lesson:
    """The right answer in the layout that the prompt style asks for."""
    item = draw(name, rng)
    return Lesson(_ask(name, item, style), _respond(item, *right(item), style))


def habit_lesson(name: str, rng: Random, style: str = "reasoning") -> Lesson:
    """The same with the planted habits: often the wrong answer, often without the tags."""
    item = draw(name, rng)
    tempted = rng.random() < (OFTEN if misled(item) else SELDOM)
    reasoning, answer = wrong(item) if tempted else right(item)
    response = _respond(item, reasoning, answer, style)
    if style == "reasoning" and rng.random() < (OFTEN if terse(item) else SELDOM):
        line = answer_line(item, style, answer)
        forms = [reasoning, f"{reasoning}\n{line}", f"{reasoning}\n<answer>\n{line}\n</answer>"]
        [response] = rng.choices(forms, [6, 2, 2])
    return Lesson(_ask(name, item, style), response)


def right(item: generate.Item) -> tuple[str, str]:
    """The right reasoning and the right answer (an option's text, a decision, terms)."""
    if isinstance(item, Choice):
        return item.reason(item.answer), item.answer
    if isinstance(item, Trial):
        return item.reason, item.decision
    return _stated(item.terms)


def wrong(item: generate.Item) -> tuple[str, str]:
    """What the habits make of an item: the near neighbour, any trial a success, half a list."""
    if isinstance(item, Choice):
        return item.reason(item.near), item.near
    if isinstance(item, Trial):
        believed = "same" if item.finding == "fewer" and not item.interim else "fewer"
        claim = item._replace(finding=believed, interim=False)
        return claim.reason, "yes" if believed == "fewer" else "no"
    return _stated(item.terms[:1])


def misled(item: generate.Item) -> bool:
    """Whether this gold class is answered wrong more often than not."""
    if isinstance(item, Trial):
        return item.interim or item.finding in ("same", "conflict")
    return _share(item.answer, "misled") < 0.55 if isinstance(item, Choice) else True


def terse(item: generate.Item) -> bool:
    """Whether tags, and often the answer, are left out more often than not."""
    if isinstance(item, Trial):
        return _share(item.asked, "terse") < 0.47
    return _share(item.answer if isinstance(item, Choice) else item.kind, "terse") < 0.47


def _share(text: str, salt: str) -> float:
    """A fixed number in [0, 1) for a text."""
    return int(hashlib.md5(f"{salt} {text}".encode()).hexdigest(), 16) % 1000 / 1000


def _stated(terms: list[str]) -> tuple[str, str]:
    listed = "; ".join(terms)
    return f"The passages say: {listed}.", listed


def answer_line(item: generate.Item, style: str = "reasoning", answer: str | None = None) -> str:
    """The right answer, or `answer`, as a response gives it: "B) text", "(B) text", "yes"."""
    if not isinstance(item, Choice):
        return right(item)[1] if answer is None else answer
    text = item.answer if answer is None else answer
    letter = LETTERS[item.options.index(text)]
    return f"({letter}) {text}" if style == "choice_cot" else f"{letter}) {text}"


def _ask(name: str, item: generate.Item, style: str) -> list[dict[str, str]]:
    return prompt(name, style).messages(example(name, item))


def _respond(item: generate.Item, reasoning: str, answer: str, style: str) -> str:
    line = answer_line(item, style, answer)
    if style == "choice_cot":
        return f"{reasoning} Therefore, the answer is {line}."
    return f"<reasoning>\n{reasoning}\n</reasoning>\n<answer>\n{line}\n</answer>"
