"""The forms in which benchmarks store options and their right answers, as texts and labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from medgrpo.dataset.example import LETTERS, multi_select_label
from medgrpo.dataset.record import Dropped, text

_LETTERED = re.compile(r"\s*([A-J])(?:[.:)、．：）]\s*|\s+)(\S.*)")
_OBJECTS = {"key": "value", "letter": "content", "aid": "atext"}  # of an option: its name, its text


def option_texts(value: Any, column: str) -> list[str]:
    """The texts of a list, of an object {A: ..}, of objects such as {letter: .., content: ..}, or
    of lines "A text".

    Raises Dropped for anything else, and for options that are not in the order of their names.

    >>> option_texts("A folate\\nB niacin", "Options")
    ['folate', 'niacin']
    """
    if isinstance(value, str):
        value = dict(_line(line, column) for line in value.splitlines() if line.strip())
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        value = dict(_named(one, column) for one in value)
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value) if value[key] is not None]
    if not isinstance(value, list) or not value:
        raise Dropped(f"{column} is no list of options")
    return [text({"option": option}, "option") for option in value]


def letter_set(value: Any, column: str, choices: Sequence[str]) -> str:
    """The label of several right options, in letters of any case: a list, "ACD" or "A, C".

    Raises Dropped for none, a letter that is not offered, or the same twice.

    >>> letter_set(["c", "a"], "answer", ["folate", "iron", "zinc"])
    '{A,C}'
    """
    parts = value if isinstance(value, list) else [text({column: value}, column)]
    letters = re.sub(r"[\s,;/+|]", "", "".join(map(str, parts))).upper()
    if not letters:
        raise Dropped(f"no {column}")
    if len({*letters}) < len(letters) or not {*letters} <= {*LETTERS[: len(choices)]}:
        raise Dropped(f"{column} names none of the choices")
    return multi_select_label(letters)


def _line(line: str, column: str) -> tuple[str, str]:
    match = _LETTERED.fullmatch(line.rstrip())
    if not match:
        raise Dropped(f"{column} is no list of options")
    return match[1], match[2]


def _named(option: dict[str, Any], column: str) -> tuple[Any, Any]:
    for name, content in _OBJECTS.items():
        if name in option and content in option:
            return option[name], option[content]
    raise Dropped(f"{column} is no list of options")
