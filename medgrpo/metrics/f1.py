"""How much of a gold answer an answer has: of options, of list items, spelling aside, of words.

Shared by metrics (medgrpo/metrics/table.py) and rewards (medgrpo/rewards/verifiable.py), so that
what is trained on is what is measured.
"""

from __future__ import annotations

import re
import string
from collections import Counter

from rapidfuzz import fuzz, utils

from medgrpo.answers.text import nfkc, segments
from medgrpo.dataset.example import letters_in

_CHINESE = str.maketrans(dict.fromkeys("；，、", "; "))  # between items of a list


def choice_overlap(predicted: str | None, gold: str) -> float:
    """Options that are in both labels, of those that are in either; 0 for an unparsed answer.

    >>> choice_overlap("{B,C,E}", "{B,C,D}"), choice_overlap("A", "B")
    (0.5, 0.0)
    """
    chosen, right = {*letters_in(predicted or "")}, {*letters_in(gold)}
    return len(chosen & right) / len(chosen | right) if predicted else 0.0


def list_f1(predicted: str, gold: str, threshold: float = 70.0) -> float:
    """F1 in [0, 1] over the items of two lists; each item matches one item at most, best first.

    Items match from a rapidfuzz token-sort ratio (0-100, case and punctuation aside) of
    `threshold`, and no other number: "Th17" is not "Th27". `gold` as in Example.answer: items
    joined by "; ", synonyms by " | ". `predicted` may use ";", lines with list markers, or commas,
    whichever fits better. Unicode forms are folded.

    >>> list_f1("- aspirine\\n- heparin", "heparin; aspirin")
    1.0
    """
    truth = [item.split(" | ") for item in nfkc(gold).split("; ")]
    predicted = nfkc(predicted.translate(_CHINESE))
    separators = ("; ", r";|\n", r";|\n|,\s+(?:and\s+)?")
    return max(_matched_f1(_items(predicted, s), truth, threshold) for s in separators)


def _items(text: str, separator: str) -> list[str]:
    """The list's items without markers; repeated ones count once."""
    items = (re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", part) for part in re.split(separator, text))
    return [item for item in dict.fromkeys(map(utils.default_process, items)) if item]


def _matched_f1(items: list[str], truth: list[list[str]], threshold: float) -> float:
    """2 matches / (predicted + gold items)."""
    ratios = {
        (i, j): max(_ratio(item, utils.default_process(name)) for name in names)
        for i, item in enumerate(items)
        for j, names in enumerate(truth)
    }
    used_items: set[int] = set()
    used_truth: set[int] = set()
    for (i, j), ratio in sorted(ratios.items(), key=lambda pair: -pair[1]):
        if ratio >= threshold and i not in used_items and j not in used_truth:
            used_items.add(i)
            used_truth.add(j)
    return 2 * len(used_items) / (len(items) + len(truth))


def _ratio(item: str, name: str) -> float:
    same_numbers = sorted(re.findall(r"\d+", item)) == sorted(re.findall(r"\d+", name))
    return fuzz.token_sort_ratio(item, name) if same_numbers else 0.0


def token_f1(predicted: str, gold: str) -> float:
    """F1 in [0, 1] over words after SQuAD's normalisation (case, punctuation, articles).

    `gold` as in Example.answer; of synonyms, the one that shares most words counts. Where words
    are not spaced, Unicode's segments are words, as in MLQA (Lewis et al. 2020).

    >>> token_f1("The heart attack", "myocardial infarction | heart attack")
    1.0
    """
    answer = Counter(_tokens(predicted))
    truth: Counter[str] = Counter()
    for item in gold.split("; "):
        names = [Counter(_tokens(name)) for name in item.split(" | ")]
        shares = [(name & answer).total() / max(1, name.total()) for name in names]
        truth += names[shares.index(max(shares))]
    shared = (answer & truth).total()
    return 2 * shared / (answer.total() + truth.total()) if shared else 0.0


def _tokens(text: str) -> list[str]:
    """SQuAD's `normalize_answer` of the folded text, split into words."""
    plain = nfkc(text).lower().translate(str.maketrans("", "", string.punctuation))
    return segments(re.sub(r"\b(a|an|the)\b", " ", plain))
