"""Which of yes, no and maybe a text claims: the words of the prompt, in English, and no others.

"No" counts where it answers, not where it is an article ("no difference"); "uncertain" is not
"maybe". A "yes" that the next words limit or contradict ("yes, but ...", "yes if ...") is no clear
claim; "maybe" is one, for that is what it says.
"""

from __future__ import annotations

import re

from medgrpo.answers.languages import any_of, compiled
from medgrpo.answers.statements import UNSURE, Claims
from medgrpo.answers.text import words
from medgrpo.dataset.example import YES_NO_MAYBE

_LABEL = compiled(
    r"\s*(?:(yes|maybe)\b|(no)(?=\s*(?:$|[.,;:!?/)(\-–—。]|(?:and|or|but|if|unless|maybe|yes|because|"
    r"since|as|it|they|this|these|we|there|the)\b)))"
)
_JOINER = compiled(r"\s*(?:[,;/&+]|and\b|or\b)*\s*")
_LIMITED = compiled(
    r"[\s,;:(–—-]*(?:\b(?:but|however|although|though|yet|whereas|except|only|partly|partially|or|"
    rf"in (?:part|some|certain)|to (?:some|a)|with (?:caveats|reserv\w+))\b|{any_of('if_')})"
    r"|\s*[.!]\s+(?:but|however|although|though)\b[^.\n]*(?:\b(?:not?|insufficient|unclear|"
    r"uncertain|inconclusive|lack\w*)\b|n't\b)"
)
_SECOND = compiled(  # a label further on in the sentence: "..., no in children"
    r"[,;(]\s*(?:(?:and|but|or|then|otherwise|else|possibly|perhaps)[\s,]+)*(?:(yes|maybe)\b|(no)"
    r"(?=\s+(?:in|for|if|when|with|otherwise|is|could|may|might|would)\b|\s*(?:[.,;)]|$)))"
)
_ALONE = compiled(r"\s*(?:$|[.!,;])")
_ITEM = compiled(r"\W*(?:yes|no|maybe)\s*[:–—-]")
_HEDGED = compiled(rf"{any_of('if_')}|\b(?:possibly|perhaps|only|partly|not)\b")


class Labels:
    """Reads claims of yes, no and maybe."""

    options = YES_NO_MAYBE

    def leading(self, text: str, *, alone: bool = False) -> Claims:
        """Labels at the start with those joined to them: "yes, because ...", "yes or no"."""
        rest = text.partition("\n")[0]
        claims: Claims = set()
        while match := _LABEL.match(rest):
            claims.add(_label(match))
            rest = rest[match.end() :]
            joined = _JOINER.sub("", rest, count=1)
            rest = joined if _LABEL.match(joined) else rest
        if not claims or rest.startswith("?") or (alone and not _ALONE.match(rest)):
            return set()
        limited = claims != {"maybe"} and _LIMITED.match(rest)
        sentence = re.split(r"[.!?]\s", rest)[0]
        return (
            claims | set(map(_label, _SECOND.finditer(sentence))) | ({UNSURE} if limited else set())
        )

    def trailing(self, text: str) -> Claims:
        """The label at the end of "so yes", which "is the answer"."""
        tokens = words(text)[-2:]
        return {*tokens[-1:]} & {*YES_NO_MAYBE} if "not" not in tokens else set()

    def opening(self, text: str) -> Claims:
        """What the first line begins with."""
        return self.leading(text)

    def closing(self, text: str) -> Claims:
        """What the last line begins with, or ends in if it has four words at most."""
        above, _, last = text.rpartition("\n")
        if _ITEM.match(last) and (above.endswith(":") or _ITEM.match(above.rpartition("\n")[2])):
            return set()  # a list that weighs the labels
        tokens = words(last)
        ends = {*tokens[-1:]} & {*YES_NO_MAYBE}
        few = len(tokens) <= 4 and not _HEDGED.search(last)
        return self.leading(last) or (ends if few else set())

    def short(self, text: str) -> Claims:
        """What a text claims that should be an answer and nothing more."""
        return self.opening(text) | self.closing(text)


def _label(match: re.Match[str]) -> str:
    return match[match.lastindex or 0].lower()
