"""What a judge is shown. A letter says nothing to it, so it is written out with its option."""

from __future__ import annotations

import re

from medgrpo.answers.tags import extract_answer, strip_tags
from medgrpo.dataset.example import LETTERS, Example, gold_text, option_line

_BARE_LETTER = re.compile(r"^[^\w\n]*([A-Ja-j])[^\w\n]*$", re.MULTILINE)


def whole_response(response: str, row: Example) -> str:
    """Reasoning and answer without tags; lines that are a bare letter as `B. option text`."""

    def written_out(match: re.Match[str]) -> str:
        index = LETTERS.index(match[1].upper())
        options = row["options"]
        return f"{LETTERS[index]}. {options[index]}" if index < len(options) else match[0]

    return _BARE_LETTER.sub(written_out, strip_tags(response))


def final_answer(response: str, row: Example) -> str:
    """The content of the answer block, or the whole response when there is no such block."""
    answer = extract_answer(response)
    return whole_response(response if answer is None else answer, row)


def question_shown(row: Example) -> str:
    """The question, with its options below it when it has some."""
    letters = LETTERS[: len(row["options"])]
    return "\n".join([row["question"], *(option_line(row, letter) for letter in letters)])


def context_shown(row: Example) -> list[str]:
    """The passages; for a question that stands alone (MedQA), the vignette with its options."""
    return row["context"] or [question_shown(row)]


def gold_shown(row: Example) -> str:
    """The gold answer, with its letter if it has one; synonyms of a list item joined by "or"."""
    return gold_text(row) if row["options"] else row["answer"].replace(" | ", " or ")
