"""Text as it is compared: Unicode forms folded, markup off, words by Unicode's own rules.

Spaces separate words in some scripts only. Words are cut where Unicode's word segmentation (UAX 29)
cuts, so that "维生素 B12" and "维生素B12" are the same words and a line of Chinese has many.
"""

from __future__ import annotations

import re
import unicodedata

import regex

_SIGNS = "↑↓<>=%+"  # tell laboratory findings apart, so they count as words
_WORD = regex.compile(rf"(?w)(?:(?<!\w)-(?=\d))?[\w{_SIGNS}]+?(?:\b|(?![\w{_SIGNS}]))")
_MARKUP = re.compile(
    r"\\(?:boxed|fbox|text\w*|math\w*|[()\[\]])|[*`#$\"“”„«»{}]|(?<!\w)['‘_]+|['‘_]+(?!\w)"
)


def nfkc(text: str) -> str:
    """Full-width and other compatibility forms folded, one apostrophe.

    >>> nfkc("答案：Ｂ")
    '答案:B'
    """
    return unicodedata.normalize("NFKC", text).replace("’", "'")


def plain(text: str) -> str:
    """Folded, without markdown, LaTeX wrappers and quotes; line breaks are kept.

    >>> plain("**Answer:** $\\\\boxed{\\\\text{B}}$")
    'Answer: B'
    """
    return _MARKUP.sub("", nfkc(text)).strip()


def segments(text: str) -> list[str]:
    """The words of the text; signs such as "↑" are words, other punctuation is not.

    >>> segments("维生素B12 isn't 0.45")
    ['维', '生', '素', 'B12', 'isn', 't', '0', '45']
    """
    return _WORD.findall(text)


def words(text: str) -> list[str]:
    """The words of the plain text in lower case: the form in which texts are compared."""
    return segments(plain(text).casefold())


def end_of(expected: list[str], text: str) -> int | None:
    """Where the words that `text` starts with end, None if it does not start with `expected`.

    >>> end_of(["ethylene", "glycol"], "Ethylene-glycol poisoning")
    15
    """
    end = None
    matches = _WORD.finditer(text)
    for word in expected:
        token = next(matches, None)
        if token is None or token[0].casefold() != word:
            return None
        end = token.end()
    return end
