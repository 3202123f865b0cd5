"""A list of options is no answer, though each of its lines looks like one."""

from __future__ import annotations

from itertools import islice

from medgrpo.answers.languages import compiled

_ITEM = compiled(
    r"^[ \t]*(?:[-•|]\s*|\d+[.)]\s*)?(?:option\s+)?[(\[]?([A-J])"
    r"(?:[)\].:]|\s+\||\s+[-–—]\s|[ \t]*$)"
)


def first_line(text: str) -> str:
    """The first line, "" if a list of options begins with it.

    >>> first_line("A. Methanol\\nIt is toxic.\\nB. Ethanol"), first_line("B. Ethanol\\nA. ...")
    ('', 'B. Ethanol')
    """
    items = list(islice(_ITEM.finditer(text), 2))
    listed = len(items) == 2 and items[0].start() == 0 and _follow(items[0][1], items[1][1])
    return "" if listed else text.partition("\n")[0]


def last_line(text: str) -> str:
    """The last line, "" if it goes on with a list of options or begins one under a heading.

    >>> last_line("A. Methanol\\nB. Ethanol"), last_line("A. Methanol is toxic.\\n\\nD")
    ('', 'D')
    """
    above, _, last = text.rpartition("\n")
    items = list(_ITEM.finditer(text))[-2:]
    if not items or items[-1].start() < len(above):
        return last
    goes_on = len(items) == 2 and _follow(items[0][1], items[1][1])
    return "" if goes_on or above.rstrip().endswith(":") else last


def _follow(one: str, other: str) -> bool:
    """Whether the letters follow each other."""
    return ord(other.upper()) == ord(one.upper()) + 1
