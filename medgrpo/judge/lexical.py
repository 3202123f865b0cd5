"""A stand-in for a judge that counts words. It knows no medicine and judges none.

It lets DeepEval and Evidently run for real (prompts, parsing, scoring) without a model, a key or
a network, in the laptop profile and in tests: the same prompt always gets the same answer, and an
answer in the words of the gold answer beats one in other words. Whoever copies the right words
fools it. It finds its texts in the prompts of DeepEval 4 and Evidently 0.7, and in no others.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from medgrpo.dataset.example import Messages
from medgrpo.errors import UserError
from medgrpo.judge.client import Judge, Reply, Schema

_STOP = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be by does for from has have in is it its of on or that the this to "
        "was were what which who with",
    )
)
_ON_TOPIC = frozenset({"yes", "no", "maybe"})  # whatever the question was
_QUESTIONS = 5  # as DeepEval asks for
_SUPPORTED, _UNCLEAR = 0.5, 0.25  # share of words found from which on it is "yes", "borderline"

_SENTENCE_END = re.compile(r"(?<=\w\w[.!?;])\s+|\n+")  # not after the letter of "B. penicillin"
_RESPONSE = re.compile(r"\n\nResponse \d+:\n")
_CRITERION = re.compile(r"^(?:\d+\. )?\[(-?[\d.e+]+)\] (.*)$", re.MULTILINE)
_VERDICTS = re.compile(
    r"\n(?:Original Text|Retrieval Contexts|Input):\n(.*)"
    r"\n\n(?:Summary Claims|Claims|Statements):\n(\[.*\])\n\nJSON:",
    re.DOTALL,
)


def words(text: str) -> list[str]:
    """The content words of `text` in lower case, in order."""
    return [word for word in re.findall(r"[^\W_]+", text.lower()) if word not in _STOP]


def share_found(text: str, reference: Collection[str]) -> float:
    """The share of the words of `text` that `reference` holds, in [0, 1]; 0.0 without words."""
    wanted = words(text)
    return sum(word in reference for word in wanted) / len(wanted) if wanted else 0.0


def token_f1(text: str, reference: str) -> float:
    """Word overlap as F1, in [0, 1] (Rajpurkar et al. 2016, arXiv:1606.05250)."""
    ours, gold = Counter(words(text)), Counter(words(reference))
    return 2 * (ours & gold).total() / max(1, ours.total() + gold.total())


def _between(prompt: str, start: str, end: str) -> str:
    _, opened, rest = prompt.partition(start)
    text, closed, _ = rest.rpartition(end)
    if not (opened and closed):
        raise UserError(
            f"judge=lexical found no {start.strip()!r} in a prompt: it reads the prompts of "
            "DeepEval 4 and Evidently 0.7 only; install those or choose a real judge"
        )
    return text


def _sentences(prompt: str, start: str) -> list[str]:
    pieces = _SENTENCE_END.split(_between(prompt, start, "\n\nJSON:"))
    return [piece for piece in pieces if piece.strip()]


def _mark(prompt: str) -> dict[str, Any]:
    """G-Eval: the share of the gold answer's words that the response holds, from 0 to 10."""
    actual = _between(prompt, "\nActual Output:\n", "\n\nExpected Output:\n")
    expected = _between(prompt, "\nExpected Output:\n", "\n\nRetrieval Context:\n")
    share = share_found(expected, set(words(actual)))
    return {"reason": f"{share:.0%} of the expected words", "score": round(10 * share)}


def _verdicts(prompt: str) -> dict[str, Any]:
    """Claims or statements, each by the share of its words that stands in the reference text."""
    found = _VERDICTS.search(prompt)
    if found is None:
        raise UserError("judge=lexical cannot read this prompt for verdicts: choose a real judge")
    reference = _ON_TOPIC.union(words(found[1]))
    shares = [share_found(item, reference) for item in ast.literal_eval(found[2])]
    return {"verdicts": [_verdict(share) for share in shares]}


def _verdict(share: float) -> dict[str, str]:
    if share >= _SUPPORTED:
        return {"verdict": "yes"}
    word = "borderline" if share >= _UNCLEAR else "no"
    return {"verdict": word, "reason": f"{share:.0%} of its words are in the text"}


def _questions(prompt: str) -> dict[str, Any]:
    """One question for each of the longest words: the terms, more often than not."""
    found = set(words(_between(prompt, "\nText:\n", "\n\nJSON:")))
    terms = sorted(found, key=lambda word: (-len(word), word))
    return {"questions": [f"Does the text mention {term}?" for term in terms[:_QUESTIONS]]}


def _answers(prompt: str) -> dict[str, Any]:
    text = set(words(_between(prompt, "\nText:\n", "\n\nQuestions:\n")))
    questions = ast.literal_eval(_between(prompt, "\nQuestions:\n", "\n\nJSON:"))
    asked = [question.rpartition(" ")[2].rstrip("?") for question in questions]
    return {"answers": ["yes" if word in text else "no" for word in asked]}


def _correctness(prompt: str) -> dict[str, Any]:
    """Evidently: how far the answer is from the reference, because its score 1.0 is INCORRECT."""
    gold = _between(prompt, "-----reference_starts-----\n", "\n-----reference_finishes-----")
    answer = _between(prompt, "\n___text_starts_here___\n", "\n___text_ends_here___\n")
    f1 = token_f1(answer, gold)
    return {"category": "CORRECT" if f1 >= 0.5 else "INCORRECT", "score": 1.0 - f1}


def _ranking(prompt: str) -> dict[str, Any]:
    """Responses by the share of their words that stand in the question and its context."""
    reference = set(words(_between(prompt, "\nQuestion:\n", "\nResponse 1:\n")))
    responses = _RESPONSE.split(_between(prompt, "\nResponse 1:\n", "\n\nAnswer in JSON:"))
    shares = [share_found(response, reference) for response in responses]
    order = sorted(range(len(shares)), key=lambda index: -shares[index])
    return {"ranking": [index + 1 for index in order]}


def _meets(criterion: str, response: str) -> bool:
    """All that it quotes stands in the response; of one without quotes, half of its words do."""
    quoted = re.findall(r'"([^"]+)"', criterion)
    if not quoted:
        return share_found(criterion, set(words(response))) >= _SUPPORTED
    text = f" {' '.join(words(response))} "
    return all(f" {' '.join(words(phrase))} " in text for phrase in quoted)


def _graded(prompt: str, block: str) -> list[tuple[float, bool]]:
    """The points of each criterion in a block, and whether the response meets it."""
    response = _between(prompt, "\n<response>\n", "\n</response>\n")
    listed = _CRITERION.findall(_between(prompt, f"\n<{block}>\n", f"\n</{block}>\n"))
    return [(float(points), _meets(text, response)) for points, text in listed]


def _criteria(prompt: str) -> dict[str, Any]:
    found = _graded(prompt, "criteria")
    return {"grades": [{"number": n, "met": met} for n, (_, met) in enumerate(found, 1)]}


def _criterion(prompt: str) -> dict[str, Any]:
    [(_, met)] = _graded(prompt, "criterion")
    return {"explanation": "by its words", "criteria_met": met}


def _rating(prompt: str) -> dict[str, Any]:
    """From 1 to 10 by the share of the points that the response earns."""
    found = _graded(prompt, "criteria")
    most = sum(points for points, _ in found if points > 0)
    share = sum(points for points, met in found if met) / most if most else 0.0
    return {"rating": 1 + round(9 * min(1.0, max(0.0, share)))}


# What a reply is asked to hold says which prompt it was.
_BY_FIELDS: dict[frozenset[str], Callable[[str], dict[str, Any]]] = {
    frozenset({"steps"}): lambda _: {"steps": ["Compare the words of both outputs."]},
    frozenset({"reason", "score"}): _mark,
    frozenset({"statements"}): lambda prompt: {"statements": _sentences(prompt, "\nText:\n")},
    frozenset({"truths"}): lambda prompt: {"truths": _sentences(prompt, "\nText:\n")},
    frozenset({"claims"}): lambda prompt: {"claims": _sentences(prompt, "\nAI Output:\n")},
    frozenset({"verdicts"}): _verdicts,
    frozenset({"questions"}): _questions,
    frozenset({"answers"}): _answers,
    frozenset({"category", "score"}): _correctness,
    frozenset({"ranking"}): _ranking,
    frozenset({"grades"}): _criteria,
    frozenset({"explanation", "criteria_met"}): _criterion,
    frozenset({"rating"}): _rating,
}


class LexicalJudge(Judge):
    """Counts words. It has no state, needs no network and is no judge of medicine."""

    name = "lexical"

    async def chat(self, messages: Messages, schema: Schema, logprobs: int = 0) -> Reply:
        """The answer to a prompt of a shipped judged reward; raises UserError on any other."""
        fields = frozenset(schema.model_fields if schema else ())
        if fields not in _BY_FIELDS:
            raise UserError(
                "judge=lexical answers the prompts of the shipped judged rewards only (asked for "
                f"{sorted(fields) or 'free text'}): choose a real judge"
            )
        answer = _BY_FIELDS[fields](messages[-1]["content"])
        return Reply(json.dumps(answer), tokens_in=0, tokens_out=0)
