"""Which of the lettered options a text claims.

A letter counts in either case, in brackets, full width or markdown; look-alikes of other alphabets
(Cyrillic "В") do not, nor does one that rather begins a sentence or a name ("A patient", "B cells",
"C. difficile"). The text of an option claims it as its letter does, unless the two disagree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rapidfuzz import fuzz

from medgrpo.answers.languages import any_of, compiled
from medgrpo.answers.letters import CORRECT, MARKED, OPTION, SUBJECT, letters_of
from medgrpo.answers.option_lists import first_line, last_line
from medgrpo.answers.statements import REACH, UNSURE, Claims
from medgrpo.answers.text import end_of, words
from medgrpo.dataset.example import LETTERS

_LABEL = rf"(?:the\s+)?{any_of('option')}"
_LABELLED = compiled(rf"\A\s*{_LABEL}")
_LETTER = compiled(
    rf"\s*(?:{_LABEL}[\s:]*)?(?:[(\[<]\s*([a-j])\s*[)\]>]|([a-j])(?![a-zà-ɏ0-9_'+]))"
)
_SHOWN = compiled(  # what shows that the bare letter before it is an option's
    r"\s*(?:$|[)\]:,;!?。、|—–(]|-(?!\w)|/\s*(?:[a-j]\b|$)|\.\s*(?:$|(?-i:[^a-z\s]))|[\u3040-\u9fff])"
    rf"|\.?\s+(?:{any_of('because', 'or_', 'if_', 'wrong')}"
    r"|(?:is|are|in|based|rather|instead|not|over|could|may|might)\b)"
)
_SEPARATOR = re.compile(r"\s*[)\].:]*\s*(?:[-–—]\s+)?")
_OR = any_of("or_", "else_")
_JOINER = compiled(rf"\s*(?:\.\.+\s*)?(?:[,;/&+(]|{_OR})(?:[\s,;/&+(]|{_OR})*")
_NONE = compiled(
    r"(?:none|neither|both|(?:all|any) of|ninguna|keine|aucune|nenhuma|nessuna)\b|都|以上"
)
_WRONG = compiled(rf"\s*{any_of('wrong')}")
_ALL_WRONG = compiled(r"\s*(?:are|do|can)\b")  # of those joined by "and"
_IF = compiled(rf"[\s,(]*{any_of('if_')}")
_FURTHER = compiled(rf"{_OR}(?:[\s,:]|{_OR})*")
_CLAUSE = compiled(rf"[.!?。！？]|{any_of('because')}")
_TURN = compiled(r"[,;(]\s*(?:(?:but|although|though|and|yet)\s+)?|\b(?:but|although|though)\s+")
_POSSIBLE = compiled(
    r"\s*(?:(?:is (?:also|equally|possib\w+)|could|may|might|can|otherwise|else)\b|\(?\d+ ?%)"
)
_ALONE = compiled(
    rf"\s*(?:$|[.!。,;)]|{any_of('right', 'because')}"
    r"|is (?:the )?(?:\w+ly )?(?:correct|right|best)\b)"
)
_NEGATION = re.compile(  # among words, where "isn't" is "isn t"
    r"\b(?:not|no|none|never|neither|nor|cannot|except|rather|unlike|wrong|incorrect|\w+n t)\b"
    r"|[不非没]"
)
_DOUBT = compiled(
    r"\b(?:not|neither|nor|whether|why|unlikely|doubt|if)\b|n't\b"
    r"|\b(?:or|and)\s+[(\[]?(?-i:[A-J])\W*$"
)
_TAKEN_BACK = compiled(rf"{any_of('if_')}|[不非错]")


class Choices:
    """Reads claims of options: letters, also such as are not offered."""

    def __init__(self, options: Sequence[str]) -> None:
        lettered = list(zip(LETTERS, options, strict=False))
        self.options = {letter: words(text) for letter, text in lettered}
        self._questions = {letter for letter, text in lettered if "?" in text[-5:]}
        texts = {  # without those that are letters themselves: blood group B
            letter: option
            for letter, option in self.options.items()
            if option and " ".join(option).upper() not in self.options
        }
        self._longest_first = sorted(texts.items(), key=lambda option: -len(option[1]))

    def leading(self, text: str, *, alone: bool = False) -> Claims:
        """Letters and options at the start, joined ones too: "B) text", "text", "A or (B)"."""
        joined, _, below = text.partition("\n")
        rest, claims = joined, set[str]()
        while True:
            claim, after = self._claim(joined)
            if after.startswith("?") or _ALL_WRONG.match(after):
                return set()
            if not claim or _WRONG.match(after):
                break
            claims, rest = claims | claim, after
            match = _JOINER.match(rest)
            if not match:
                break
            joined = rest[match.end() :]
            cut_short = not joined and match[0].strip(" ,;(.")
            if cut_short or _NONE.match(joined) or _IF.match(joined):
                claims.add(UNSURE)
        if alone and (len(claims) > 1 or not _ALONE.match(rest)):
            return set()
        return claims | {UNSURE} if claims and self._taken_back(claims, rest, below) else claims

    def trailing(self, text: str) -> Claims:
        """The option at the end of "so (B) Ethylene glycol", which "is the answer"."""
        if _DOUBT.search(text):
            return set()
        if adjacent := letters_of(SUBJECT, text):
            return adjacent
        tokens = words(text)
        ends = {
            letter for letter, option in self._longest_first if tokens[-len(option) :] == option
        }
        named = letters_of(OPTION, text)
        return ends | named if len(named) == 1 else ends

    def opening(self, text: str) -> Claims:
        """What the first line is, unless a list of options begins with it."""
        return self._line(first_line(text))

    def closing(self, text: str) -> Claims:
        """What the last line is or calls right, unless it belongs to a list of options."""
        last = last_line(text)
        right = letters_of(CORRECT, last) if last.endswith((".", "!", "。")) else set()
        return self._line(last) or right

    def short(self, text: str) -> Claims:
        """What a text claims that should be an answer and nothing more."""
        first, last = first_line(text), last_line(text)
        below = text.partition("\n")[2]
        if claims := self.leading(f"{first}\n{below}") | self.leading(last):
            return claims
        if not last:
            return set()
        marked = set() if _TAKEN_BACK.search(text) else letters_of(MARKED, text)
        return letters_of(CORRECT, text) or self._named(text) or marked

    def _claim(self, text: str) -> tuple[Claims, str]:
        """The option, the letter or both at the start, and what follows."""
        option, after = self._option(text)
        if option:
            return {option}, after
        match = _LETTER.match(text)
        if not match:
            return set(), text
        letter, separated = match[match.lastindex or 0].upper(), _SEPARATOR.match(text, match.end())
        rest = text[separated.end() :] if separated else ""
        if match[2] and not _SHOWN.match(text, match.end()) and not self._resembles(letter, rest):
            return set(), text
        option, after = self._option(rest)
        next_sentence = "." in text[match.end() : len(text) - len(rest)] and after[:1].isalnum()
        if not option or (option != letter and next_sentence):
            return {letter}, text[match.end() :].removeprefix(")").removeprefix("]")
        return {letter, option}, after

    def _option(self, text: str) -> tuple[str | None, str]:
        """The letter of the longest option that the text starts with, and what follows it."""
        for letter, option in self._longest_first:
            end = end_of(option, text)
            if end is not None and not re.match(r"[.,]\d|%", text[end:]):
                return letter, text[end:].lstrip(" )?" if letter in self._questions else " )")
        return None, text

    def _resembles(self, letter: str, text: str) -> bool:
        """Whether the text starts somewhat like the letter's option."""
        option = self.options.get(letter) or ["-"]
        tokens = words(text[:REACH])[: len(option)]
        return fuzz.ratio(" ".join(option), " ".join(tokens)) >= 60

    def _taken_back(self, claims: Claims, rest: str, below: str) -> bool:
        """Whether what follows the claims makes them conditional or offers another."""
        explained = _CLAUSE.search(rest)
        clause = rest[: explained.start()] if explained else rest
        turns = (self._claim(clause[match.end() :]) for match in _TURN.finditer(clause))
        if _IF.match(clause) or any(a - claims and _POSSIBLE.match(then) for a, then in turns):
            return True
        text = f"{rest}\n{below}"
        further = (
            self._claim(text[match.end() :])
            for match in _FURTHER.finditer(text)
            if match.start() <= len(clause) or text[: match.start()].rstrip(" ")[-1:] in ".!?。\n"
        )
        return any(other - claims and not _WRONG.match(after) for other, after in further)

    def _line(self, line: str) -> Claims:
        """The option that the line is, with or without its letter, and nothing more."""
        line = _LABELLED.sub("", line.strip("<> "))
        goes_on = line.count("(") > line.count(")") or line.endswith(("-", "–", "—", "(", "|"))
        tokens = [] if goes_on else words(line)
        letters = {letter for letter in self.options if tokens[:1] == [letter.lower()]}
        if letters and len(tokens) == 1:
            return letters
        texts = {letter for letter, option in self._longest_first if option == tokens}
        return texts or {letter for letter in letters if self.options[letter] == tokens[1:]}

    def _named(self, text: str) -> Claims:
        """Options whose text stands in the text, none as a part of another; {} beside a "not"."""
        named: Claims = set()
        rest = f" {' '.join(words(text))} "
        for letter, option in self._longest_first:
            phrase = f" {' '.join(option)} "
            if phrase in rest:
                named.add(letter)
                rest = rest.replace(phrase, " | ")
        return set() if _NEGATION.search(rest) else named
