"""Asking in a terminal: one question, or one after another, every column in turn."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from medgrpo.config.terminal import printable
from medgrpo.dataset.example import Example, as_read

if TYPE_CHECKING:
    from medgrpo.chat.session import Session

HELP = """\
A question, its options after "|":  Which vitamin ...? | Thiamine | Niacin
:row N      held-out row N, from 0        :quit  ends it"""


def say(session: Session, row: Example) -> None:
    """Print every column's answer to `row` as it is written, then how it is read."""
    from medgrpo.chat.session import Asked

    for column in session.columns:
        print(f"--- {printable(column.name)}")
        answer = session.answer(column, Asked(row=row), on_text=_write)
        print(f"\n[{_read(answer)}]\n", flush=True)


def talk(session: Session, lines: Iterable[str]) -> None:
    """Answer each line, a question, until they end."""
    print(f"{HELP}\nA research tool, no medical device: what it writes is no advice.")
    for line in _asked(lines):
        command, _, rest = line.partition(" ")
        if command == ":quit":
            return
        if command == ":row":
            if not rest.strip().isdecimal() or int(rest) >= len(session.rows):
                print(f":row takes 0 to {len(session.rows) - 1}")
                continue
            row = session.rows[int(rest)]
            print(printable(as_read(row)))
        elif command.startswith(":"):
            print(HELP)
            continue
        else:
            question, *options = (part.strip() for part in line.split("|"))
            row = session.question(question, [one for one in options if one], [])
        say(session, row)


def _asked(lines: Iterable[str]) -> Iterable[str]:
    """The lines that say something, each after a prompt where a person types them."""
    mark = "> " if sys.stdin.isatty() else ""
    print(mark, end="", flush=True)
    for line in lines:
        if line.strip():
            yield line.strip()
        print(mark, end="", flush=True)


def _write(text: str) -> None:
    print(printable(text), end="", flush=True)


def _read(answer: dict[str, Any]) -> str:
    parts = [f"answer read: {printable(answer['predicted'] or 'none')}"]
    if answer["gold"]:
        right = {True: ", right", False: ", wrong", None: ""}[answer["correct"]]
        parts.append(f"gold: {printable(answer['gold'])}{right}")
    parts.append(f"{answer['tokens']} tokens{', cut off' if answer['truncated'] else ''}")
    return "; ".join(parts)
