"""What others wrote, on a terminal: shown, never obeyed.

Names of runs, completions and the words of an endpoint may hold control codes, and a terminal that
obeys them moves its cursor over what stands there, renames its window or types for the user.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

# Control codes but tab and line feed, and the marks that turn the direction of writing.
_CODES = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: object) -> str:
    r"""`text` with its control codes written out.

    >>> printable("\x1b[2Jgone")
    '\\x1b[2Jgone'
    """
    return _CODES.sub(lambda code: ascii(code[0])[1:-1], str(text))


class LineFormatter(logging.Formatter):
    """For all log lines (conf/hydra/medgrpo.yaml)."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def console() -> Console:
    """Prints text as it is: no markup, no emoji, no codes."""
    from rich.console import Console

    class Plain(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(printable(text), **options)

    return Plain(markup=False, highlight=False, emoji=False)
