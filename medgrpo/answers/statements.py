"""Where a text states its answer, strongest first: a JSON field, a box, an announcement.

What was stated last counts, for models correct themselves; two answers in one statement
contradict each other. The order is that in which published extractors agree (MIRAGE reads the JSON
field, m1 the box, simple-evals and lm-eval the announcement), without their fallbacks, which guess.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Protocol

from medgrpo.answers.languages import EDGE, LANGUAGES, Language, compiled
from medgrpo.answers.text import nfkc, plain

Claims = set[str]  # one: the answer; several: they contradict each other; none: nothing is claimed
TRIED = 50  # statements at most, from the end: a model in a loop writes thousands
REACH = 400  # characters before and after an announcement that can bear on it
UNSURE = "?"  # beside a claim that the text itself takes half back


class Reader(Protocol):
    """Reads claims of one kind of answer, letters or yes / no / maybe."""

    @property
    def options(self) -> Collection[str]:
        """What may be claimed."""

    def leading(self, text: str, *, alone: bool = False) -> Claims:
        """What the start of `text` claims; with `alone`, only an answer and nothing more does."""

    def trailing(self, text: str) -> Claims:
        """What the end of `text` claims, which is called right after it."""

    def opening(self, text: str) -> Claims:
        """What the first line claims if it is an answer and nothing more."""

    def closing(self, text: str) -> Claims:
        """What the last line claims if it is an answer and nothing more."""

    def short(self, text: str) -> Claims:
        """What a text claims that should be an answer and nothing more."""


_KEY = (
    r"[\"'](?!wrong|incorrect|other|second)(?P<key>[\w ]*?(?:answer|choice|option|prediction|"
    r"letter|label)(?:[_ ]?(?:choice|letter|idx|index|option|key|id|label|text))?)[\"']\s*:\s*"
)
_FINAL_KEY = compiled("answer|correct|final|chosen|selected|prediction")
_VALUE = (  # in double quotes, in single ones, a list, or bare
    r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\\n]|\\.)*)'(?=\s*[,}\]])|\[([^\]\[{}]*)\]"
    r"|([\w.()]+)(?=\s*[,}\n])"
)
_FIELD = compiled(f"{_KEY}(?:{_VALUE})")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")


def _ways(name: str, one: Language) -> str:
    """The three ways of stating an answer in a language, each a group that is named after it."""
    link = rf"\s*(?:(?:{one.is_}){EDGE}\s*:?|[-=]+>|[:=→]|[-–—](?=\s)|(?=[(\[])|$)"
    return (
        rf"(?P<answer_{name}>(?:{one.answer}){EDGE}{link})|(?P<so_{name}>(?:{one.so}){EDGE})"
        rf"|(?P<right_{name}>(?=(?:{one.right}){EDGE}))"
    )


_STATEMENT = compiled(f"{EDGE}(?:{'|'.join(_ways(*item) for item in LANGUAGES.items())})")
_CONDITION = {name: compiled(f"{EDGE}(?:{one.if_}){EDGE}") for name, one in LANGUAGES.items()}
_OTHER = {
    name: compiled(rf"{EDGE}(?:{one.other}){EDGE}(?:\s+\w+){{0,2}}\s*\Z")
    for name, one in LANGUAGES.items()
}
_SENTENCE = compiled(  # where what bears on an announcement begins
    r"\A|[.!?;。]\s+|[。！？]|\b(?:but|however|yet|therefore|hence|thus|so|aber|pero|mais|mas|ma)\b"
    r"|[但故]|因此|所以"
)
_END = re.compile(  # of a sentence; "B." and "0." may go on as "B. burgdorferi" and "0.5"
    r"(?<!\b[A-Ja-j])(?<!\d)[.!?](?=[)\]*\"'»”]*(?:\s|$))|(?<=\d)[.!?](?=\s)"
    r"|(?<=\b[A-Ja-j])\.(?=\s+[^a-z\s])|[。！？]|\n"
)
_RETRACTED = compiled(r"[^.!?\n]*[.!?]?\s*(?:(?:no|but|hmm+)\W+)?(?:wait|hold on|scratch that)\b")


def stated(text: str, reader: Reader, *, whole: bool = True) -> Claims:
    """What the strongest kind of statement in `text` claims, the last one of it.

    Unless the text is `whole`, an announcement counts only with the sentence in which it stands.
    """
    for value in reversed(marked_answers(text, whole=whole)[-TRIED:]):
        value_text = plain(value)
        if claims := announced(value_text, reader) or reader.short(value_text):
            return claims
    return announced(plain(text if whole else finished(text)), reader)


def answered(block: str, reader: Reader) -> Claims:
    """What an answer block claims: a statement in it, else its text."""
    return stated(block, reader) or reader.short(plain(block))


def marked_answers(text: str, *, whole: bool = True) -> list[str]:
    """What boxes and JSON fields of an answer hold, the strongest and last one last."""
    return [*_boxes(text), *_fields(text, whole)]


def finished(text: str) -> str:
    """The text without an unfinished last sentence.

    >>> finished("The answer is (B). This is bec")
    'The answer is (B).'
    """
    last = max((end.end() for end in _END.finditer(text)), default=0)
    return text[:last].rstrip("\n")


def _fields(text: str, whole: bool) -> list[str]:
    """The values of JSON fields that hold an answer, however broken the object around them is.

    A field that is called "option" or the like holds one if it is alone: several weigh options.
    """
    named = list(_FIELD.finditer(nfkc(text))) if '"' in text or "'" in text else []
    final = [field for field in named if _FINAL_KEY.search(field["key"])]
    fields = final or (named if whole and len(named) == 1 else [])
    return [(one[one.lastindex or 0]).replace('"', "").replace("\\n", "\n") for one in fields]


def _boxes(text: str) -> Iterator[str]:
    r"""What stands in \boxed{...}; one that is never closed holds nothing."""
    for match in _BOX.finditer(text):
        depth, end = 1, match.end()
        while depth and end < min(len(text), match.end() + REACH):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        if not depth:
            yield text[match.end() : end - 1]


def announcement(text: str) -> str | None:
    """The text after the last "the answer is", None where there is none."""
    matches = [
        one for one in _STATEMENT.finditer(text) if (one.lastgroup or "").startswith("answer")
    ]
    return text[matches[-1].end() :] if matches else None


def announced(text: str, reader: Reader) -> Claims:
    """What the last announcement that claims anything claims: "the answer is ...", "so: ..."."""
    return next(filter(None, islice(_claims(text, reader), TRIED)), set())


def _claims(text: str, reader: Reader) -> Iterator[Claims]:
    """What each statement claims, the last one first."""
    lines = text.split("\n")
    for number in range(len(lines) - 1, -1, -1):
        below = lines[number + 1 : number + 7]
        for match in reversed(list(_STATEMENT.finditer(lines[number]))):
            yield _claimed(match, lines[number], below, reader)


def _claimed(match: re.Match[str], line: str, below: list[str], reader: Reader) -> Claims:
    """What a statement claims; nothing if it is conditional or about another answer."""
    kind, _, name = (match.lastgroup or "").partition("_")
    sentence = line[max(0, match.start() - REACH) : match.start()]
    sentence = sentence[max(end.end() for end in _SENTENCE.finditer(sentence)) :]
    if _CONDITION[name].search(sentence):
        return set()
    if kind == "right":
        after = _SENTENCE.split(line[match.start() : match.start() + REACH])[1]
        return set() if _CONDITION[name].search(after) else reader.trailing(sentence)
    if _OTHER[name].search(sentence):
        return set()
    tail = line[match.end() : match.end() + REACH]
    if kind == "answer" and not tail.strip(" :"):
        return reader.opening("\n".join(filter(str.strip, below)))
    rest = "\n".join([tail.lstrip(" ,:;"), *below[:3]])
    return set() if _RETRACTED.match(rest) else reader.leading(rest, alone=kind == "so")
