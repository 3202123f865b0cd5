"""Letters of options in the middle of a text: patterns whose groups are the letters."""

from __future__ import annotations

import re

from medgrpo.answers.languages import any_of, compiled

SUBJECT = compiled(  # (B), or B after a mark or a word that does not make it a name
    r"(?:[(\[]\s*([A-J])\s*[)\]]|(?:^|[,:;.\u3040-\u9fff]|\b(?:only|that)"
    rf"|{any_of('option', 'so')})\s*(?-i:([A-J]))[).:]*)\s*\Z"
)
OPTION = compiled(rf"[(\[]([A-J])[)\]]|{any_of('option')}\s*(?-i:([A-J]))(?![\w'])")
CORRECT = re.compile(
    r"(?<!\w)[(\[]?([A-J])[)\]]?\s+is\s+(?:the\s+)?(?:most\s+|best\s+)?"
    r"(?:correct|right|best|answer)\b"
)
MARKED = compiled(  # (B) anywhere, "...: B" at the end, B beside another script
    r"[(\[]\s*([a-j])\s*[)\]]|:\s*([a-j])\W*\Z|(?<=[^\x00-\x7f])(?-i:([A-J]))(?![a-z0-9])"
)


def letters_of(pattern: re.Pattern[str], text: str) -> set[str]:
    """The letters that the pattern's groups find in the text."""
    return {match[match.lastindex or 0].upper() for match in pattern.finditer(text)}
