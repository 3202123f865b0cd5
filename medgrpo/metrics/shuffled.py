"""Does an answer hold when its options stand in another order? By `evaluation.shuffles` of a row.

A model that knows the answer picks the same text wherever it stands; one that picks by place, or
the longest option, is found out, and named. Rows are the clusters: orders of one row are no
independent draws. Sources: position bias and the deviation of recalls, Zheng et al. 2024
(PriDe, arXiv:2309.03882); all orders right, Liu et al. 2023 (CircularEval, arXiv:2307.06281).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean, pstdev, stdev
from typing import Any

from medgrpo.dataset.example import LETTERS
from medgrpo.metrics.prediction import Prediction
from medgrpo.metrics.table import Labelled

CLEAR = 0.05  # a share that is over what chance gives by more than this, for sure, is a preference
_Z = 2.576  # 99 %


class Shuffled(Labelled):
    """Of rows that were asked in other orders."""

    asks = "shuffles"

    def about(self, row: Prediction) -> bool:
        return super().about(row) and bool(row.get("shuffled"))


class ShuffledAccuracy(Shuffled):
    """Share of orders in which the right option is chosen, the mean over rows.

    Its details have the recalls by place with their deviation, and which preferences show: each is
    a share of answers over that of chance, with its 99 % lower bound.
    """

    label = "accuracy, shuffled"

    def value(self, row: Prediction) -> float:
        picks = row["shuffled"]
        return sum(pick == row["label"] for pick in picks) / len(picks)

    def details(self, rows: Sequence[Prediction]) -> dict[str, Any]:
        """Figures of places, and `preferences`, in words; empty for a model that has none."""
        recalls = recall_by_place(rows)
        places, longest = picked_by_place(rows), picked_longest(rows)
        named = [
            f"place {place}: {one['share']:.0%} of the answers, by chance {one['chance']:.0%}"
            for place, one in places.items()
            if one["surely_more"] > CLEAR
        ]
        if longest and longest["surely_more"] > CLEAR:
            named.append(
                f"the longest option: {longest['share']:.0%} of the wrong answers, by chance "
                f"{longest['chance']:.0%}"
            )
        return {
            "orders": max(len(row["shuffled"]) for row in rows),
            "recall_by_place": recalls,
            "recall_deviation": pstdev(recalls.values()),
            "picked_by_place": places,
            "picked_longest": longest,
            "preferences": named,
        }


class AllOrdersRight(Shuffled):
    """Share of rows whose right option is chosen in every order: the accuracy of the worst ones."""

    label, binary = "right in all orders", True

    def value(self, row: Prediction) -> float:
        return float(all(pick == row["label"] for pick in row["shuffled"]))


class Consistency(Shuffled):
    """Share of rows in which one and the same option is chosen in every order, right or wrong."""

    label, binary = "same in all orders", True

    def value(self, row: Prediction) -> float:
        picks = set(row["shuffled"])
        return float(len(picks) == 1 and None not in picks)


def _answers(rows: Sequence[Prediction]) -> Iterator[tuple[Prediction, str, str | None]]:
    """Each row with each order ("CAB": C stood first) and what was chosen, as the row's letter."""
    for row in rows:
        for order, pick in zip(row["orders"], row["shuffled"], strict=True):
            yield row, order, pick


def recall_by_place(rows: Sequence[Prediction]) -> dict[str, float]:
    """By the place where the right option stood: how often it was chosen."""
    stood, chosen = Counter[str](), Counter[str]()
    for row, order, pick in _answers(rows):
        place = LETTERS[order.index(str(row["label"]))]
        stood[place] += 1
        chosen[place] += pick == row["label"]
    return {place: chosen[place] / stood[place] for place in sorted(stood)}


def picked_by_place(rows: Sequence[Prediction]) -> dict[str, dict[str, float]]:
    """By place: its share of the answers, that of chance, and by how much it is surely more."""
    places = LETTERS[: max(len(order) for row in rows for order in row["orders"])]
    found = {}
    for number, place in enumerate(places):

        def is_there(row: Prediction, order: str, pick: str, number: int = number) -> float:
            moves = len({one[number : number + 1] for one in row["orders"]}) > 1
            return float(moves and order[number : number + 1] == pick)

        with_it = [row for row in rows if len(row["options"]) > number]
        excess = _excess(with_it, is_there, lambda row: 1 / len(row["options"]))
        if excess:
            found[place] = excess
    return found


def picked_longest(rows: Sequence[Prediction]) -> dict[str, float]:
    """Of wrong answers to rows whose right option is not the longest: how often that is chosen."""

    def longest(row: Prediction) -> str:
        return LETTERS[max(range(len(row["options"])), key=lambda n: len(row["options"][n]))]

    asked = [row for row in rows if longest(row) != row["label"] and len(row["options"]) > 2]
    return _excess(
        asked,
        lambda row, order, pick: float(pick == longest(row)),
        lambda row: 1 / (len(row["options"]) - 1),
        wrong_only=True,
    )


def _excess(
    rows: Sequence[Prediction],
    hit: Callable[[Prediction, str, str], float],
    chance: Callable[[Prediction], float],
    *,
    wrong_only: bool = False,
) -> dict[str, float]:
    """The mean share of hits over rows, that of chance, and the 99 % lower bound of the excess."""
    shares, chances = [], []
    for row in rows:
        hits = [
            hit(row, order, pick)
            for _, order, pick in _answers([row])
            if pick is not None and not (wrong_only and pick == row["label"])
        ]
        if hits:
            shares.append(sum(hits) / len(hits))
            chances.append(chance(row))
    if len(shares) < 2:
        return {}
    n = len(shares)
    over = [share - one for share, one in zip(shares, chances, strict=True)]
    return {
        "share": fmean(shares),
        "chance": fmean(chances),
        "surely_more": fmean(over) - _Z * stdev(over) / math.sqrt(n),
        "rows": n,
    }
