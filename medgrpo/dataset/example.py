"""The one row shape that every dataset, prompt, reward and metric shares."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TypeAlias, TypedDict

Messages: TypeAlias = list[dict[str, str]]  # of a chat: each a role and a content

LETTERS = "ABCDEFGHIJ"
YES_NO_MAYBE = ("yes", "no", "maybe")  # classes of questions without options


class Example(TypedDict):
    """One question with its gold answer.

    Options and passages are lists, not mappings, so that Arrow stores every dataset alike.
    """

    id: str
    question: str
    context: list[str]  # passages; empty when the question stands alone (MedQA)
    options: list[str]  # option texts in letter order; empty when there are none
    answer: str  # gold text; list items joined by "; ", synonyms of one item by " | "
    label: str | None  # gold class ("B", "yes", of several right options "{A,C}"), None for texts
    explanation: str  # gold reasoning, "" when the benchmark has none


def multi_select_label(letters: Iterable[str]) -> str:
    """`"CA"` -> `"{A,C}"`: the label where any number of options may be right, one as well."""
    return f"{{{','.join(sorted(letters))}}}"


def is_multi_select(label: str | None) -> bool:
    """Whether the options that are right have to be named, all of them and no other."""
    return label is not None and label.startswith("{")


def letters_in(label: str) -> list[str]:
    """The letters of an option's label: `"B"` -> `["B"]`, `"{A,C}"` -> `["A", "C"]`."""
    return label.strip("{}").split(",")


def option_line(row: Example, letter: str) -> str:
    """`"B"` -> `"B) option text"`: how prompts show an option and how answers repeat it."""
    return f"{letter}) {row['options'][LETTERS.index(letter)]}"


def as_read(row: Example) -> str:
    """The row on a few lines for a person: id, question (cut), lettered options, gold answer."""
    options = [option_line(row, LETTERS[place]) for place in range(len(row["options"]))]
    parts = [" ".join(row["question"].split()), *options, f"gold: {gold_text(row)}"]
    lines = (textwrap.shorten(part, 72, placeholder=" ...") for part in parts)
    return "\n    ".join((row["id"], *lines))


def gold_text(row: Example) -> str:
    """The gold answer as a reader would write it: `"B) option text"`, `"yes"`, `"a; b"`."""
    if row["options"] and row["label"]:
        return "; ".join(option_line(row, letter) for letter in letters_in(row["label"]))
    return row["answer"]
