"""Draw questions from the fact tables: four options to choose from, or passages to look up in.

A draw is a function of the random generator alone, so a seed fixes a whole sample set, and the
embedded tiny model can be taught from the same distribution with another seed.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from medgrpo.dataset.samples.facts import KINDS, SYNONYMS

_KIND_WEIGHTS = {"drug": 8, "suffix": 2, "deficiency": 2, "infection": 3, "stain": 2, "hormone": 2,
                 "lab": 2}  # fmt: skip
_COT_STEMS = {
    "drug": "For a {age}-year-old {who} on {x}, which drug class is this?",
    "suffix": "A label shows a name that ends in {x}. Which class is it?",
    "deficiency": "A diet has almost no {x}. What follows in the classic case?",
    "infection": "A {age}-year-old {who} has {x}. Which disease is this?",
    "stain": "What is the Gram stain result of {x}?",
    "hormone": "For a {age}-year-old {who}, {x} is measured. Where is it released?",
    "lab": "Blood of a {age}-year-old {who} shows {x}. What does this mean?",
}


class Choice(NamedTuple):
    """A question with four options, one of them the near neighbour of the answer."""

    kind: str
    entity: str
    question: str
    options: list[str]
    answer: str

    @property
    def near(self) -> str:
        """The option most easily mistaken for the answer."""
        return KINDS[self.kind].near[self.answer]

    def reason(self, answer: str) -> str:
        """The sentence that leads to `answer`, be it right or wrong."""
        return KINDS[self.kind].reason.format(x=self.entity, a=answer)


class Lookup(NamedTuple):
    """A question whose answer, one term or several, is stated in the passages."""

    kind: str
    type: str  # factoid | list
    question: str
    passages: list[str]
    terms: list[str]  # in the order in which the passages state them

    @property
    def answers(self) -> list[list[str]]:
        """Each term with its synonyms: BioASQ's exact_answer."""
        return [[term, SYNONYMS[term]] if term in SYNONYMS else [term] for term in self.terms]


def draw_choice(rng: Random, position: int, cot: bool = False) -> Choice:
    """A question whose answer stands at `position` (0-3); `cot` takes the other wordings."""
    name = rng.choices(list(_KIND_WEIGHTS), list(_KIND_WEIGHTS.values()))[0]
    kind = KINDS[name]
    entity, answer = rng.choice(list(kind.facts.items()))
    near = kind.near[answer]
    others = sorted(set(kind.near) - {answer, near})
    options = rng.sample([near, *rng.sample(others, 2)], 3)
    options.insert(position, answer)
    stem = _COT_STEMS[name] if cot else rng.choice(kind.stems)
    who = rng.choice(["man", "woman"])
    question = stem.format(x=entity, age=rng.randrange(20, 90), who=who)
    return Choice(name, entity, question, options, answer)


def draw_lookup(rng: Random) -> Lookup:
    """A factoid or a list question with three or four passages, some of them beside the point."""
    if rng.random() < 0.4:
        return _draw_list(rng)
    name = rng.choices(list(_KIND_WEIGHTS), list(_KIND_WEIGHTS.values()))[0]
    kind = KINDS[name]
    entity, answer = rng.choice(list(kind.facts.items()))
    others = [other for other, given in kind.facts.items() if given != answer]
    stated = rng.sample([entity, *rng.sample(others, 2)], 3)
    stem = rng.choice([stem for stem in kind.stems if "{age}" not in stem])
    return Lookup(name, "factoid", stem.format(x=entity), _state(rng, name, stated), [answer])


def _draw_list(rng: Random) -> Lookup:
    name = rng.choice([name for name, kind in KINDS.items() if kind.members])
    kind = KINDS[name]
    answers = sorted(set(kind.facts.values()))
    answer = rng.choice([a for a in answers if list(kind.facts.values()).count(a) > 1])
    members = [entity for entity, given in kind.facts.items() if given == answer]
    others = [entity for entity, given in kind.facts.items() if given != answer]
    asked = rng.sample(members, min(len(members), rng.choice([2, 3])))
    stated = [*asked, *rng.sample(others, 4 - len(asked))]
    rng.shuffle(stated)
    terms = [entity for entity in stated if entity in asked]
    question = kind.members.format(a=answer)
    return Lookup(name, "list", question, _state(rng, name, stated), terms)


def _state(rng: Random, name: str, entities: list[str]) -> list[str]:
    kind = KINDS[name]
    return [rng.choice(kind.passage).format(x=x, a=kind.facts[x]) for x in entities]
