"""Which set of options a text claims, where any number of them may be right.

The set counts as a whole, so a text is read only if it is nothing but options, joined: "A, C",
"ACD", "A) folate; (C) niacin", "B und E". Of "A is right, and so may be C" nothing is read: part of
a set would be another answer. The letters' order says nothing (CMB's own scorer compares texts, by
which "CA" is not "AC").
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from medgrpo.answers.languages import any_of, compiled
from medgrpo.answers.statements import announcement, finished, marked_answers
from medgrpo.answers.text import end_of, plain, words
from medgrpo.dataset.example import LETTERS, multi_select_label

_ANNOUNCED = compiled(  # answers, where announcement() knows one answer
    r"\b(?:answers|options|choices|réponses|propositions|respuestas|opciones|Antworten|respostas|"
    r"risposte)\b(?:\s+\w+){0,3}?\s*(?:\b(?:are|sont|son|sind|são|sono)\b\s*:?|:)"
)
_ITEM = compiled(
    rf"(?:(?:{any_of('option')}|\b(?:option|choice|letter)s\b)[\s:]*)?"
    r"[(\[<]?([a-j])(?![a-zà-ɏ0-9_'])[)\]>.:]*\s*(?:[-–—]\s+)?"
)
_RUN = re.compile(r"[A-J]{2,10}[.。]?")
_JOINER = compiled(  # "e" is Italian and Portuguese for "and", and a letter
    r"[\s,;/&+、，；]*(?:\b(?:and|und|et|y|(?-i:ed?)(?=\s+[^\s,;]))\b|和|与|及|以及)?[\s,;、]*"
)
_AND_OR_LETTER = re.compile(r"(?<!\w)[a-j]\s+e\s+[a-j](?!\w)")
_MARKERS = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+", re.MULTILINE)


def read_letter_set(
    visible: str, block: str | None, options: Sequence[str], *, whole: bool
) -> str | None:
    """The label of the options that a response claims, None for no clear claim.

    `visible`: the response without thinking and tags; `block`: what its answer block holds.

    >>> options = ["folate", "iron", "niacin"]
    >>> read_letter_set("", "C) niacin; A", options, whole=True)
    '{A,C}'
    >>> read_letter_set("The answers are A and B.", None, options, whole=True)
    '{A,B}'
    >>> read_letter_set("", "A or B", options, whole=True) is None
    True
    """
    text = block if block is not None else visible if whole else finished(visible)
    if marked := marked_answers(text, whole=whole):
        return _letters(plain(marked[-1]), options)
    text = plain(text)
    stated = list(_ANNOUNCED.finditer(text))
    claim = text[stated[-1].end() :] if stated else announcement(text)
    if claim is None and block is None:
        claim = text.rpartition("\n")[2] if whole else None
    elif claim is not None and "\n" in claim.strip() and block is None:
        claim = claim.strip().partition("\n\n")[0]
    return _letters(text if claim is None else claim, options) if claim or block else None


def _letters(text: str, options: Sequence[str]) -> str | None:
    """The label of a text that is nothing but options, in any order, each once or more."""
    rest = "; ".join(filter(None, map(str.strip, _MARKERS.sub("", text).split("\n"))))
    rest = rest.strip("[]{}.。 ")
    if _AND_OR_LETTER.search(rest):
        return None
    if _RUN.fullmatch(rest):
        claimed = {*rest}
    else:
        claimed = set()
        while rest:
            letter, rest = _option(rest, options)
            joiner = _JOINER.match(rest)
            if letter is None or (rest and not (joiner and joiner[0])):
                return None
            claimed.add(letter)
            rest = rest[joiner.end() :] if joiner else ""
    return (
        multi_select_label(claimed) if claimed and claimed <= {*LETTERS[: len(options)]} else None
    )


def _option(text: str, options: Sequence[str]) -> tuple[str | None, str]:
    """The option at the start, by letter, text or both, and what follows; None for none, or two."""
    match = _ITEM.match(text)
    letter, rest = (match[1].upper(), text[match.end() :]) if match else (None, text)
    ends = {
        name: end
        for name, option in zip(LETTERS, options, strict=False)
        if (end := end_of(words(option), rest)) is not None and words(option)
    }
    named = max(ends, key=ends.__getitem__, default=None)
    if named and (letter is None or named == letter):
        return named, rest[ends[named] :].lstrip(" )?.")
    return (None if named else letter), rest
