"""Long chains of thought, whole and cut off: no option is claimed that they do not announce."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chains import STYLES, Chain, chain

from medgrpo.answers.parse import predict
from medgrpo.dataset.example import Example

EACH = 34  # chains of a style, 204 in all


def read(text: str, of: Chain, *, truncated: bool = False) -> str | None:
    row = Example(
        id="1",
        question="Which?",
        context=[],
        options=of.options,
        answer=of.options["ABCDE".index(of.gold)],
        label=of.gold,
        explanation="",
    )
    return predict(text, row, "choice_cot", truncated=truncated)


@pytest.fixture(scope="module")
def corpus() -> list[Chain]:
    return [chain(seed, style) for style in STYLES for seed in range(EACH)]


def test_the_corpus_is_what_it_says(corpus: list[Chain]) -> None:
    assert len({made.text for made in corpus}) >= 200
    assert min(len(made.text) for made in corpus) > 300
    assert {made.gold for made in corpus} == set("ABCDE")


@pytest.mark.parametrize("style", STYLES)
def test_whole_chains_are_read_as_they_are_meant(style: str) -> None:
    made = [chain(seed, style) for seed in range(EACH)]
    assert [read(one.text, one) for one in made] == [one.gold for one in made]


def test_half_a_chain_claims_no_other_option(corpus: list[Chain]) -> None:
    """Nobody says that it was cut: one in a hundred may be wrong (9.2 were, measured on others)."""
    said = [(read(one.text[: len(one.text) // 2], one), one.gold) for one in corpus]
    assert sum(claim not in (None, gold) for claim, gold in said) <= len(corpus) // 100


@pytest.mark.parametrize("tenth", range(1, 10))
def test_what_is_known_to_be_cut_claims_no_other_option(corpus: list[Chain], tenth: int) -> None:
    for one in corpus:
        text = one.text[: len(one.text) * tenth // 10]
        assert read(text, one, truncated=True) in (None, one.gold), text


@pytest.mark.parametrize("letter", "ABCD")
def test_a_cut_off_list_of_options_earns_nothing(letter: str) -> None:
    options = ["Methanol", "Ethylene glycol", "Ethanol", "Isopropyl alcohol"]
    of = Chain("", letter, options)
    listed = "\n".join(
        f"{a}. {option}: a remark." for a, option in zip("ABCD", options, strict=True)
    )
    for heading in ("Let's evaluate each option:", "Answer choices:", "Which answer is right?", ""):
        text = f"{heading}\n{listed}"
        for end in range(len(text)):
            assert read(text[:end], of, truncated=True) is None
        assert read(text, of) is None
        assert read(f"{text}\n\n{letter}", of) == letter


RECORD = Path(__file__).parents[3] / "shared/data/medqa_cot/meerkat_medqa_cot_one_record.jsonl"


@pytest.mark.skipif(not RECORD.exists(), reason="needs a record of the published data")
def test_a_published_chain() -> None:
    said = json.loads(RECORD.read_text(encoding="utf-8").splitlines()[0])["messages"][2]["content"]
    options = ["Persistent congestion", "Permanent loss of smell", "Persistent nasal crusting",
               "Epistaxis"]  # fmt: skip
    of = Chain(said, "A", options)
    assert read(said, of) == "A"
    assert {read(said[:end], of, truncated=True) for end in range(0, len(said) - 1, 7)} == {None}
    wrong = [end for end in range(0, len(said), 7) if read(said[:end], of) not in (None, "A")]
    assert len(wrong) <= 1, [said[:end][-40:] for end in wrong]
