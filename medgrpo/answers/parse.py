"""What did the model answer? From a response to a label or an answer text, or None: unparsed.

Accuracy hangs on this module more than on any model: one published PubMedQA run reports 3.2 %
because 474 of 500 answers were not parsed and counted as wrong. So a claim is read in every form
that people and models write, and what is not clearly one claim is None, never a guess:

- `reasoning` style reads the `<answer>` block; where there is none, it reads as `choice_cot` does;
- `choice_cot` style reads the last "the answer is ..." (the phrase is meerkat's, Kim et al. 2024),
  else a first or last line that is an answer and nothing more: a chain of thought that was cut
  off while it weighed option (D) has not chosen it;
- the last announced answer wins, for models correct themselves; two answers at one place
  ("A or B", a letter with the text of another option) contradict each other: None;
- letters count in either case, in brackets, full width or markdown; look-alikes of other
  alphabets (Cyrillic "В") do not; a letter that the question does not offer is None;
- a refusal is None. "Uncertain" is not "maybe": only the words of the prompt are classes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

from medgrpo.answers.tags import extract_answer, parse_tags, strip_tags
from medgrpo.dataset.example import LETTERS, YES_NO_MAYBE, Example
from medgrpo.errors import UserError

Style: TypeAlias = Literal["reasoning", "choice_cot"]

_WORD = r"\w↑↓<>=%+"  # signs that tell laboratory findings apart count as words

_CUE = re.compile(
    r"\b(?:(?:answer|choice|option|conclusion|decision|verdict|diagnosis)s?"
    r"(?:(?:,|\s+(?:to|for|in|that|here|therefore)\b)[^.:\n]{0,60}?)?\s*"
    r"(?:\b(?:is|are|was|would\s+be|should\s+be|must\s+be)\b\s*:?|[:=]|(?<=answer)\s*(?=\())"
    r"|(?:choose|select|pick|go\s+with)\b)\s*"
    r"(?:(?:therefore|thus|clearly|definitely|probably|most\s+likely|likely)\b\s*)?",
    re.IGNORECASE,
)
_LETTER = re.compile(
    r"(?:(?:option|choice|letter|answer)\s+)?"
    r"(?:[(\[]\s*([a-j])\s*[)\]]"  # (B)  [b]
    r"|([a-j])(?=\s*[).:,;/](?!\w)|\s*$|\s+[-–—=]\s|\s+(?:and|or|because|since|as|is|for)\b)"  # b.
    r"|(?-i:([B-HJ]))(?=\s))"  # B Ethylene glycol; "A" and "I" would be words
    r"[).:\]]?\s*",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"(?:is|was|are|can\s+be|would\s+be)(?:n't|\s+(?:not|wrong|incorrect|false|excluded|ruled|"
    r"unlikely|less))\b",
    re.IGNORECASE,
)
_YES_NO_MAYBE = re.compile(
    r"(?:(yes|maybe)\b|(no)(?=\s*(?:$|[.,;:!/)\-–—]|(?:and|or|maybe|yes|because|since|as|it|they|"
    r"this|these|we|there|the)\b)))\s*",
    re.IGNORECASE,
)
_JOINER = re.compile(r"(?:[,;/&+]|and\b|or\b)+\s*", re.IGNORECASE)
_MARK = re.compile(  # (B) anywhere, "...: B" at the end, B beside another script
    r"[(\[]\s*([a-j])\s*[)\]]|:\s*([a-j])\W*$|(?<=[^\x00-\x7f])((?-i:[A-J]))(?![a-z0-9])",
    re.IGNORECASE,
)
_CALLED_RIGHT = re.compile(
    r"(?<!\w)[(\[]?([A-J])[)\]]?\s+is\s+(?:the\s+)?(?:most\s+|best\s+)?(?:correct|right|best|answer)\b"
)
_NEGATION = re.compile(  # among words, where "isn't" is "isn t"
    r"\b(?:not|no|none|never|neither|nor|cannot|except|rather|unlike|wrong|incorrect|\w+n t)\b",
    re.IGNORECASE,
)


def predict(response: str, row: Example, style: str) -> str | None:
    """The response's answer: a letter, "yes"/"no"/"maybe", or the text of a list or free answer.

    `style` is the prompt's, a `Style` (UserError otherwise). None = unparsed.

    >>> row = {"options": ["Ethanol", "Ethylene glycol"], "label": "B"}
    >>> predict("Crystals ... so the answer is (b) Ethylene glycol.", row, "choice_cot")
    'B'
    >>> predict("<answer>ethylene glycol</answer>", row, "reasoning")
    'B'
    >>> predict("<answer>A or B</answer>", row, "reasoning") is None
    True
    """
    if style not in get_args(Style):
        raise UserError(f"prompt.style: {style!r} is unknown, use one of {get_args(Style)}")
    block = extract_answer(response) if style == "reasoning" else None
    text = strip_tags(response) if block is None else block
    if row["options"]:
        options = dict(zip(LETTERS, map(_words, row["options"]), strict=False))
        claims = _choices(_plain(text), options, short=block is not None)
        claims = claims if claims <= set(options) else set()
    elif row["label"] in YES_NO_MAYBE:
        claims = _yes_no_maybe(_plain(text))
    else:
        return _free_text(text, short=block is not None)
    return claims.pop() if len(claims) == 1 else None


def complies(response: str, row: Example, style: str) -> bool:
    """Whether the response keeps to the form that the prompt asks for, right or wrong.

    `reasoning`: exactly the two blocks, both filled. `choice_cot`: it ends in "the answer is ...",
    with a letter in brackets where there are options.
    """
    if style == "reasoning":
        return all(parse_tags(response) or [""])
    last_line = response.strip().rpartition("\n")[2]
    ending = r"the answer is \([A-J]\) \S" if row["options"] else r"the answer is \S"
    return re.search(ending, last_line, re.IGNORECASE) is not None


def _plain(text: str) -> str:
    """Full-width forms folded, markdown, LaTeX wrappers and quotes removed, line breaks kept."""
    text = unicodedata.normalize("NFKC", text).replace("’", "'")
    return re.sub(
        r"\\(?:boxed|text\w*|math\w*|[()\[\]])|[*`#$\"“”„«»{}]|(?<!\w)['‘_]+|['‘_]+(?!\w)",
        "",
        text,
    ).strip()


def _words(text: str) -> str:
    """The words of the text in lower case, single-spaced: the form in which texts compare."""
    return " ".join(re.findall(rf"(?:(?<!\w)-(?=\d))?[{_WORD}]+", _plain(text).casefold()))


def _last_cue(text: str, claim: Callable[[str], set[str]]) -> set[str]:
    """What the last "the answer is" that claims anything claims."""
    tails = [text[cue.end() :].partition("\n")[0] for cue in _CUE.finditer(text)]
    return next(filter(None, map(claim, reversed(tails))), set())


def _choices(text: str, options: dict[str, str], *, short: bool) -> set[str]:
    """Letters that the text claims; `short` if it should be an answer and nothing more."""
    if claims := _last_cue(text, lambda tail: _leading_choices(tail, options)):
        return claims
    first, last = text.partition("\n")[0], text.rpartition("\n")[2]
    if not short:
        lines = _whole_line(first, options) | _whole_line(last, options)
        return lines or _letters(_CALLED_RIGHT, last)
    claims = _leading_choices(first, options) | _leading_choices(last, options)
    named = claims or _letters(_CALLED_RIGHT, text) or _options_named(text, options)
    return named or _letters(_MARK, text)


def _leading_choices(text: str, options: dict[str, str]) -> set[str]:
    """Letters and options at the start, joined ones too: "B) text", "text", "A or (B)"."""
    claims: set[str] = set()
    while True:
        option, text = _cut_option(text, options)
        letter = None if option else _LETTER.match(text)
        if letter:
            option, text = _cut_option(text[letter.end() :], options)
            if _DENIED.match(text):
                return claims
            claims.add(letter[letter.lastindex or 0].upper())
        if option:
            claims.add(option)
        joiner = _JOINER.match(text)
        if not joiner or not (letter or option):
            return claims
        text = text[joiner.end() :]


def _cut_option(text: str, options: dict[str, str]) -> tuple[str | None, str]:
    """The letter of the longest option that the text starts with, and what follows it."""
    for letter, words in sorted(options.items(), key=lambda option: -len(option[1])):
        pattern = rf"[^{_WORD}]*".join(map(re.escape, words.split()))
        found = re.match(rf"{pattern}(?!\w)\s*", text, re.IGNORECASE)
        if found and words and words.upper() not in options:
            return letter, text[found.end() :]
    return None, text


def _whole_line(line: str, options: dict[str, str]) -> set[str]:
    """The option that the line is, with or without its letter, and nothing more."""
    forms = {a: {a.lower(), words, f"{a.lower()} {words}"} for a, words in options.items()}
    return {letter for letter, form in forms.items() if _words(line) in form - {""}}


def _options_named(text: str, options: dict[str, str]) -> set[str]:
    """Options whose text stands in the text, none as a part of another; {} if beside a "not"."""
    named: set[str] = set()
    rest = f" {_words(text)} "
    for letter, words in sorted(options.items(), key=lambda option: -len(option[1])):
        if words and f" {words} " in rest:
            named.add(letter)
            rest = rest.replace(f" {words} ", " | ")
    return set() if _NEGATION.search(rest) else named


def _letters(pattern: re.Pattern[str], text: str) -> set[str]:
    """The letters that the pattern's groups find in the text."""
    return {found[found.lastindex or 0].upper() for found in pattern.finditer(text)}


def _yes_no_maybe(text: str) -> set[str]:
    """Which of yes, no, maybe the text claims: announced, leading a line, or ending four words."""
    if claims := _last_cue(text, _leading_yes_no_maybe):
        return claims
    first, last = text.partition("\n")[0], text.rpartition("\n")[2]
    words = _words(last).split()
    few = set(words) & set(YES_NO_MAYBE) if len(words) <= 4 and "not" not in words else set()
    ends = few if words and words[-1] in few else set()
    return _leading_yes_no_maybe(first) | _leading_yes_no_maybe(last) or ends


def _leading_yes_no_maybe(text: str) -> set[str]:
    """Labels at the start with those joined to it; the "no" of "no difference" is none."""
    claims: set[str] = set()
    while found := _YES_NO_MAYBE.match(text):
        claims.add(found[found.lastindex or 0].lower())
        text = text[found.end() :]
        if joiner := _JOINER.match(text):
            text = text[joiner.end() :]
    return claims


def _free_text(text: str, *, short: bool) -> str | None:
    """The block; else what follows the last "the answer is"; else a response of one line."""
    cues = [] if short else list(_CUE.finditer(text))
    answer = text[cues[-1].end() :] if cues else text
    return answer.strip() or None if short or cues or "\n" not in text.strip() else None
