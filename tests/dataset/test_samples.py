"""Every sample row is right, and can be answered only by knowing or reading."""

from __future__ import annotations

import json
import re
from collections import Counter
from difflib import SequenceMatcher
from itertools import chain
from pathlib import Path

import pytest
from statsmodels.stats.proportion import proportions_ztest

from medgrpo.dataset import samples
from medgrpo.dataset.bioasq import BioASQ
from medgrpo.dataset.example import Example
from medgrpo.dataset.medqa import MedQA
from medgrpo.dataset.medqa_cot import MedQACoT
from medgrpo.dataset.pubmedqa import PubMedQA
from medgrpo.dataset.samples import generate
from medgrpo.dataset.samples.facts import KINDS, OUTCOMES, SYNONYMS

FOLDER = Path(samples.__file__).parent
LOADERS = {"medqa": MedQA, "medqa_cot": MedQACoT, "pubmedqa": PubMedQA, "bioasq": BioASQ}
SPLITS = ["train", "validation", "test"]
CHOICE = ["medqa", "medqa_cot"]
STATED = re.compile(r"(\d+)% against (\d+)%, p([=<])([01]\.\d+)")


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, list[Example]]]:
    """Every split as its loader reads it."""
    return {
        name: {
            split: list(part)
            for split, part in loader(
                source="sample", answer_with="", primary_metric="accuracy", max_prompt_tokens=1024
            )
            .load()
            .items()
        }
        for name, loader in LOADERS.items()
    }


def mentioned(terms: object, text: str) -> list[str]:
    """The terms that stand in the text as whole words."""
    return [t for t in terms if re.search(rf"(?<![\w-]){re.escape(t)}(?![\w-])", text)]  # type: ignore[attr-defined]


def right_option(row: Example) -> str:
    """The answer by the fact tables: of the one entity asked, in the table of the options."""
    found = {
        (entity, kind.facts[entity])
        for kind in KINDS.values()
        if set(row["options"]) <= set(kind.near)
        for entity in mentioned(kind.facts, row["question"])
    }
    [(_, answer)] = found
    return answer


def verdict(row: Example) -> str:
    """The decision by the numbers: our own reading of the abstract, with statsmodels' test."""
    methods, results = row["context"]
    analysed = int(re.search(r"\d+", methods)[0]) // 2  # type: ignore[index]
    [asked] = mentioned(OUTCOMES, row["question"])
    [sentence] = [s for s in results.split(";") if asked in s]
    effects = []
    for treated, control, sign, printed in STATED.findall(sentence):
        counts = [int(treated) * analysed / 100, int(control) * analysed / 100]
        p = proportions_ztest(counts, [analysed, analysed])[1]
        assert p < float(printed) if sign == "<" else abs(p - float(printed)) <= 0.0051
        effects.append(0 if p >= 0.05 else -1 if int(treated) < int(control) else 1)
    if "interim" in methods or {-1, 1} <= set(effects):
        return "maybe"
    return "yes" if effects == [-1] else "no"


def found_in_passages(row: Example) -> list[str]:
    """The terms that the question asks for and the passages state."""
    for kind in KINDS.values():
        stated = {e: kind.facts[e] for p in row["context"] for e in mentioned(kind.facts, p)}
        if len(stated) != len(row["context"]):
            continue
        assert all(stated[e] in p for e, p in zip(stated, row["context"], strict=True))
        if entities := mentioned(stated, row["question"]):
            return [stated[entity] for entity in entities]
        [answer] = mentioned(kind.near, row["question"])
        return [entity for entity, given in stated.items() if given == answer]
    raise AssertionError(row)


@pytest.mark.parametrize("name", CHOICE)
def test_every_choice_is_the_fact_tables_answer(rows, name):
    for row in chain(*rows[name].values()):
        assert row["answer"] == right_option(row)
        assert row["options"].count(row["answer"]) == 1
        assert len(set(row["options"])) == 4


def test_every_explanation_ends_in_the_answer(rows):
    for row in chain(*rows["medqa_cot"].values()):
        ending = f"Therefore, the answer is ({row['label']}) {row['answer']}."
        assert row["explanation"].endswith(ending)


def test_every_decision_follows_from_the_numbers(rows):
    for row in chain(*rows["pubmedqa"].values()):
        assert row["label"] == verdict(row), row


def test_every_lookup_is_stated_in_the_passages(rows):
    for row in chain(*rows["bioasq"].values()):
        items = [item.split(" | ") for item in row["answer"].split("; ")]
        assert [item[0] for item in items] == found_in_passages(row)
        for term, *synonyms in items:
            assert synonyms == ([SYNONYMS[term]] if term in SYNONYMS else [])


def test_neighbours_are_other_answers_of_the_same_table():
    for kind in KINDS.values():
        assert set(kind.facts.values()) == set(kind.near) or kind is KINDS["suffix"]
        assert all(near in kind.near and near != answer for answer, near in kind.near.items())


def test_generating_again_gives_the_same_bytes(tmp_path):
    generate.write(tmp_path)
    made = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert len(made) == 15
    for file in made:
        assert (tmp_path / file).read_bytes() == (FOLDER / file).read_bytes(), file


@pytest.mark.parametrize("name", LOADERS)
def test_sizes_and_no_overlap_between_splits(rows, name):
    assert [len(rows[name][split]) for split in SPLITS] == [360, 40, 200]
    asked = [
        re.sub(
            r"\d+-year-old (man|woman)|\W+",
            " ",
            json.dumps([r["question"], r["options"], r["context"]]),
        )
        for split in SPLITS
        for r in rows[name][split]
    ]
    assert len(set(asked)) == len(asked)


@pytest.mark.parametrize("name", CHOICE)
def test_letters_are_balanced(rows, name):
    for part in rows[name].values():
        assert set(Counter(r["label"] for r in part).values()) == {len(part) // 4}


def test_decisions_are_forty_forty_twenty(rows):
    for part in rows["pubmedqa"].values():
        counts = Counter(r["label"] for r in part)
        assert counts["yes"] == counts["no"] == 2 * counts["maybe"]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _common(a: str, b: str) -> int:
    matcher = SequenceMatcher(None, a.lower(), b.lower(), autojunk=False)
    return matcher.find_longest_match().size


SHORTCUTS = {
    "longest": lambda q, o: len(o),
    "shortest": lambda q, o: -len(o),
    "word overlap": lambda q, o: len(_words(q) & _words(o)),
    "most words": lambda q, o: len(o.split()),
    "letters in common": _common,
    "first of the alphabet": lambda q, o: -ord(o.lower()[0]),
}


@pytest.mark.parametrize("name", CHOICE)
@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_no_shortcut_finds_the_option(rows, name, shortcut):
    """A tie counts as the share of it that a guess would win; chance is 0.25."""
    won = 0.0
    part = rows[name]["train"] + rows[name]["test"]
    for row in part:
        scores = [SHORTCUTS[shortcut](row["question"], option) for option in row["options"]]
        best = [o for o, s in zip(row["options"], scores, strict=True) if s == max(scores)]
        won += (row["answer"] in best) / len(best)
    assert abs(won / len(part) - 0.25) <= 0.1


@pytest.mark.parametrize("field", ["question", "context"])
def test_no_single_word_tells_the_decision(rows, field):
    """The best rule "this word -> this decision, else that one", learnt on the training rows."""

    def texts(split):
        return [(_words(json.dumps(r[field])), r["label"]) for r in rows["pubmedqa"][split]]

    train, test = texts("train"), texts("test")
    for word in set.union(*(words for words, _ in train)):
        rule = {
            has: Counter(label for words, label in train if (word in words) == has)
            for has in (True, False)
        }
        if not all(rule.values()):
            continue
        guess = {has: counts.most_common(1)[0][0] for has, counts in rule.items()}
        accuracy = sum(guess[word in words] == label for words, label in test) / len(test)
        assert accuracy <= 0.5, word
