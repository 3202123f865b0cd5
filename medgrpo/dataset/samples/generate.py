"""Write the sample data: `python -m medgrpo.dataset.samples.generate [FOLDER]`.

Each benchmark's rows are written in its own schema, so that the parsers that read the samples
are those that read a user's files. Splits share facts, never a question with the same options,
passages or numbers. The files are the same bytes on every run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from medgrpo.dataset.example import LETTERS
from medgrpo.dataset.samples.draw import Choice, Lookup, draw_choice, draw_lookup
from medgrpo.dataset.samples.talks import Talk, draw_talk
from medgrpo.dataset.samples.trials import Trial, draw_trial

HERE = Path(__file__).parent
SIZES = {"train": 360, "validation": 40, "test": 200}
TALKS = {"train": 240, "validation": 40, "test": 120}  # conversations
SEED = 20_251
_DECISIONS = ["yes", "no", "yes", "no", "maybe"]
_COT_SYSTEM = (
    "The following is a multiple-choice question about medical knowledge. Solve this in a "
    "step-by-step fashion. Conclude your response with the phrase "
    '"the answer is ([option_id]) [answer_string]".'
)

Item = Choice | Lookup | Trial


def draw(name: str, rng: Random, row: int) -> Any:
    """One Item, or Talk, of benchmark `name`; `row` balances positions and decisions."""
    if name == "pubmedqa":
        return draw_trial(rng, _DECISIONS[row % 5])
    if name == "bioasq":
        return draw_lookup(rng)
    if name == "healthbench":
        return draw_talk(rng, row)
    return draw_choice(rng, row % 4, cot=name == "medqa_cot")


def key(item: Item | Talk) -> tuple[str, ...]:
    """What two splits may not share: what is asked, less wording, age, sex and order.

    The Gram stain has only four answers, so there the order of the options counts.
    """
    if isinstance(item, Talk):
        return key(item.asked)
    if isinstance(item, Choice):
        order = item.options if item.kind == "stain" else sorted(item.options)
        return (item.kind, item.entity, *order)
    if isinstance(item, Lookup):
        return (item.kind, item.type, *item.terms, *sorted(item.passages))
    return (item.question, item.evidence)


def record(name: str, item: Any, identity: str) -> dict[str, Any]:
    """An item in the schema of benchmark `name`."""
    return _RECORD[name](item, identity)


def _medqa(item: Choice, identity: str) -> dict[str, Any]:
    options = dict(zip(LETTERS, item.options, strict=False))
    return {
        "question": item.question,
        "answer": item.answer,
        "options": options,
        "meta_info": "sample",
        "answer_idx": LETTERS[item.options.index(item.answer)],
        "metamap_phrases": [],
    }


def _medqa_cot(item: Choice, identity: str) -> dict[str, Any]:
    lettered = [f"({letter}) {text}" for letter, text in zip(LETTERS, item.options, strict=False)]
    gold = lettered[item.options.index(item.answer)]
    turns = {
        "system": _COT_SYSTEM,
        "user": " ".join([item.question, *lettered]),
        "assistant": f"{item.reason(item.answer)} Therefore, the answer is {gold}.",
    }
    return {
        "id": identity,
        "messages": [{"role": role, "content": content} for role, content in turns.items()],
    }


def _pubmedqa(item: Trial, identity: str) -> dict[str, Any]:
    return {
        "QUESTION": item.question,
        "CONTEXTS": [item.methods, item.results],
        "LABELS": ["METHODS", "RESULTS"],
        "MESHES": ["Adult", "Humans"],
        "YEAR": "2020",
        "final_decision": item.decision,
        "LONG_ANSWER": item.reason,
    }


def _bioasq(item: Lookup, identity: str) -> dict[str, Any]:
    return {
        "id": identity,
        "body": item.question,
        "type": item.type,
        "documents": [],
        "snippets": [{"text": passage, "document": ""} for passage in item.passages],
        "ideal_answer": [f"The passages name {', '.join(item.terms)}."],
        "exact_answer": item.answers,
    }


def _healthbench(item: Talk, identity: str) -> dict[str, Any]:
    return {
        "prompt_id": identity,
        "prompt": item.messages,
        "rubrics": item.rubrics,
        "example_tags": [item.theme],
        "ideal_completions_data": {"ideal_completion": item.asked.reason(item.asked.answer)},
    }


_RECORD: dict[str, Callable[[Any, str], dict[str, Any]]] = {
    "medqa": _medqa,
    "medqa_cot": _medqa_cot,
    "pubmedqa": _pubmedqa,
    "bioasq": _bioasq,
    "healthbench": _healthbench,
}


def splits(name: str) -> dict[str, list[Any]]:
    """The items of every split of benchmark `name`, no key twice."""
    rng = Random(f"{SEED} {name}")
    seen: set[tuple[str, ...]] = set()
    sizes = TALKS if name == "healthbench" else SIZES
    rows = {split: list(_fresh(name, rng, seen, size)) for split, size in sizes.items()}
    for items in rows.values():
        rng.shuffle(items)
    return rows


def _fresh(name: str, rng: Random, seen: set[tuple[str, ...]], size: int) -> Iterator[Any]:
    for row in range(size):
        item = draw(name, rng, row)
        while key(item) in seen:
            item = draw(name, rng, row)
        seen.add(key(item))
        yield item


def _dump(name: str, records: dict[str, dict[str, Any]]) -> str:
    if name == "pubmedqa":
        return json.dumps(records, indent=1)
    if name == "bioasq":
        return json.dumps({"questions": list(records.values())}, indent=1)
    return "\n".join(map(json.dumps, records.values()))


def write(folder: Path) -> None:
    """Write every benchmark's train, validation and test file below `folder`."""
    for name in _RECORD:
        (folder / name).mkdir(parents=True, exist_ok=True)
        suffix = "json" if name in ("pubmedqa", "bioasq") else "jsonl"
        for split, items in splits(name).items():
            identities = [f"sample-{split}-{row}" for row in range(len(items))]
            records = {i: record(name, item, i) for i, item in zip(identities, items, strict=True)}
            (folder / name / f"{split}.{suffix}").write_text(_dump(name, records) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
