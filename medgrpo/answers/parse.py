"""What did the model answer? From a response to a label or an answer text, or None: unparsed.

Accuracy hangs on this module more than on any model: one published PubMedQA run reports 3.2 %
because 474 of 500 answers were not parsed and counted as wrong. So a claim is read in every form
that people and models write, and what is not clearly one claim is None, never a guess:

- `reasoning` style reads the `<answer>` block; where there is none, it reads as `choice_cot` does;
- `choice_cot` style reads the last statement of the strongest kind (statements.py), else a first or
  last line that is an answer and nothing more: a chain of thought that was cut off while it
  weighed option (D) has not chosen it;
- what was cut off has answered only if a whole statement stands before the cut; what stands in a
  thinking block is never an answer;
- two answers at one place ("A or B", a letter with the text of another option) contradict each
  other, and a condition makes no claim: None;
- a refusal is None, and so is a letter that the question does not offer.

Letters are read in choices.py, sets of them in letter_sets.py, yes / no / maybe in labels.py;
languages.py has the words.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, TypeAlias, get_args

from medgrpo.answers.choices import Choices
from medgrpo.answers.labels import Labels
from medgrpo.answers.letter_sets import read_letter_set
from medgrpo.answers.statements import (
    Claims,
    Reader,
    announcement,
    answered,
    finished,
    marked_answers,
    stated,
)
from medgrpo.answers.tags import cut_off, extract_answer, parse_tags, strip_tags, without_thinking
from medgrpo.answers.text import plain
from medgrpo.dataset.example import YES_NO_MAYBE, Example, is_multi_select
from medgrpo.errors import UserError

Style: TypeAlias = Literal["reasoning", "choice_cot"]

_choices = lru_cache(maxsize=1024)(Choices)


def predict(response: str, row: Example, style: str, *, truncated: bool = False) -> str | None:
    """The response's answer: a letter, a set of letters ("{A,C}") where any number of options may
    be right, "yes"/"no"/"maybe", or the text of a list or free answer.

    `style` is the prompt's, a `Style` (UserError otherwise); `truncated`: the response ended at a
    token limit and not with an end token. None = unparsed.

    >>> row = {"options": ["Ethanol", "Ethylene glycol"], "label": "B"}
    >>> predict("Crystals ... so the answer is (b) Ethylene glycol.", row, "choice_cot")
    'B'
    >>> predict("<answer>ethylene glycol</answer>", row, "reasoning")
    'B'
    >>> predict("<answer>A or B</answer>", row, "reasoning") is None
    True
    >>> predict("(A) is wrong.\\n(B)", row, "choice_cot", truncated=True) is None
    True
    """
    if style not in get_args(Style):
        raise UserError(f"prompt.style: {style!r} is unknown, use one of {get_args(Style)}")
    visible = without_thinking(response)
    whole = not (truncated or cut_off(response))
    block = extract_answer(visible, closed=not whole) if style == "reasoning" else None
    if is_multi_select(row["label"]):
        return read_letter_set(strip_tags(visible), block, row["options"], whole=whole)
    if not row["options"] and row["label"] not in YES_NO_MAYBE:
        return _free_text(strip_tags(visible), whole) if block is None else _free_answer(block)
    reader: Reader = _choices(tuple(row["options"])) if row["options"] else Labels()
    claims = (
        _claims(strip_tags(visible), reader, whole) if block is None else answered(block, reader)
    )
    return claims.pop() if len(claims) == 1 and claims <= {*reader.options} else None


def _claims(text: str, reader: Reader, whole: bool) -> Claims:
    """What a response without an answer block claims."""
    claims = stated(text, reader, whole=whole)
    if claims or not whole:
        return claims
    return reader.opening(plain(text)) | reader.closing(plain(text))


def _free_text(text: str, whole: bool) -> str | None:
    """The answer in free text: what is announced last, else a response of one line."""
    if marked := marked_answers(text, whole=whole):
        return marked[-1].strip() or None
    statement = announcement(text if whole else finished(text))
    if statement is None and whole and "\n" not in text.strip():
        statement = text
    return statement.strip() or None if statement else None


def _free_answer(block: str) -> str | None:
    """The answer block as it is, or what a JSON field or box in it holds."""
    return [block, *marked_answers(block)][-1].strip() or None


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
