"""What sampled answers show that a greedy one does not: pass@k and maj@k, each without bias.

Of n samples a row (`evaluation.samples`) every choice of k is averaged over, by counting, so that
no value depends on which samples came first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from math import comb
from typing import Annotated

from annotated_types import Ge

from medgrpo.errors import UserError
from medgrpo.metrics.prediction import Prediction
from medgrpo.metrics.table import Labelled


class Sampled(Labelled):
    """Of rows with sampled answers."""

    asks = "samples"

    def __init__(self, *, k: Annotated[int, Ge(1)], name: str = "") -> None:
        super().__init__(name=name)
        self.k = k

    def about(self, row: Prediction) -> bool:
        return super().about(row) and bool(row["votes"])

    def _require_samples(self, row: Prediction) -> None:
        """UserError for fewer samples than k: the estimate would be of something else."""
        if len(row["votes"]) < self.k:
            raise UserError(
                f"metrics.{self.name}: k={self.k} of {len(row['votes'])} samples; set "
                f"evaluation.samples={self.k} or more"
            )


class PassAtK(Sampled):
    """pass@k: how likely one of k samples is right, 1 - C(n-c, k) / C(n, k) for c right of n.

    Source: Chen et al. 2021, arXiv:2107.03374. Guessing among m options has 1 - (1 - 1/m)^k, which
    `details` gives as `by_chance`: with few options it is large.

    >>> row = {"votes": ["B"] * 4 + ["A"] * 12, "label": "B"}
    >>> PassAtK(k=1).value(row), round(PassAtK(k=4).value(row), 4)
    (0.25, 0.728)
    """

    @property
    def label(self) -> str:  # type: ignore[override]
        return f"pass@{self.k}"

    def value(self, row: Prediction) -> float:
        self._require_samples(row)
        n = len(row["votes"])
        wrong = n - sum(vote == row["label"] for vote in row["votes"])
        return 1 - comb(wrong, self.k) / comb(n, self.k)

    def details(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """What guessing has on these rows; yes / no / maybe counts as three options."""
        chance = [1 - (1 - 1 / (len(row["options"]) or 3)) ** self.k for row in rows]
        return {"by_chance": sum(chance) / len(chance)}


class MajAtK(Sampled):
    """maj@k: how often the commonest of k samples is right, averaged over every choice of k of n.

    Unparsed samples do not vote; the j answers of a tie count 1/j each; no vote is wrong. (Wang et
    al. 2023, arXiv:2203.11171; metrics.maj_at_k is the vote of all samples.)

    >>> row = {"votes": ["B"] * 6 + ["A"] * 5 + ["C"] * 3 + [None] * 2, "label": "B"}
    >>> [round(MajAtK(k=k).value(row), 3) for k in (1, 5, 16)]
    [0.375, 0.501, 1.0]
    """

    @property
    def label(self) -> str:  # type: ignore[override]
        return f"maj@{self.k}"

    def value(self, row: Prediction) -> float:
        self._require_samples(row)
        votes = Counter(vote for vote in row["votes"] if vote)
        right = votes.pop(str(row["label"]), 0)
        others = tuple(sorted(votes.values()))
        silent = len(row["votes"]) - right - sum(others)
        return _majority(right, others, silent, self.k)


@cache
def _majority(right: int, others: tuple[int, ...], silent: int, k: int) -> float:
    """The chance that the right answer wins a vote of k, drawn from these counts."""
    total = right + sum(others) + silent
    won = 0.0
    for drawn in range(1, min(right, k) + 1):  # votes for the right answer
        ways = _ways(others, drawn, k - drawn, silent)
        won += comb(right, drawn) * sum(count / (tied + 1) for tied, count in ways.items())
    return won / comb(total, k)


def _ways(others: tuple[int, ...], most: int, left: int, silent: int) -> dict[int, int]:
    """Choices of `left` votes in which no other answer has over `most`, by how many have it."""
    ways = {(0, 0): 1}  # (votes drawn, answers with `most`): choices
    for count in others:
        following: Counter[tuple[int, int]] = Counter()
        for (drawn, tied), number in ways.items():
            for votes in range(min(count, most, left - drawn) + 1):
                following[drawn + votes, tied + (votes == most)] += number * comb(count, votes)
        ways = dict(following)
    found: Counter[int] = Counter()
    for (drawn, tied), number in ways.items():
        found[tied] += number * comb(silent, left - drawn)
    return found
