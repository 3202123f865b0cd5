"""Held-out rows once more with their options in other orders: the same for every model and stage.

An option that speaks of the others ("all of the above", "I don't know") stays where it is, as
MetaMedQA wants it; a row whose options name letters ("both A and B") is left out.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from medgrpo.answers.parse import predict
from medgrpo.dataset.example import LETTERS, Example, is_multi_select
from medgrpo.evaluation.engines.base import Generation
from medgrpo.metrics.prediction import Prediction

_STAYS = re.compile(
    r"(all|none|any|both|neither) (of )?(the )?(above|following|these|those|others?|answers?)\b.*"
    r"|i (do ?n[o']t|don’t) know.*|(it )?cannot be (determined|answered).*",
    re.IGNORECASE | re.DOTALL,
)
_NAMES_LETTERS = re.compile(
    r"\b(both |either |neither )?\(?[A-J]\)?( and | or |, | & )\(?[A-J]\)?\b"
)


@dataclass(frozen=True)
class Shuffle:
    """A row in another order."""

    place: int  # of the row
    order: str  # the row's own letters in their new order
    row: Example


def shuffle(rows: Sequence[Example], count: int) -> list[Shuffle]:
    """`count` orders of each row with options, none of them the given one where there are others.

    The same for the same row and number, whatever else is asked. Rows whose options name letters,
    sets of right options, and rows with fewer than two options that can move, are left out.
    """
    return [
        Shuffle(place, order, _reordered(row, order))
        for place, row in enumerate(rows)
        for order in _orders(row, count)
    ]


def note_shuffled(
    predictions: Sequence[Prediction],
    asked: Sequence[Shuffle],
    answers: Sequence[Generation],
    style: str,
    prefilled: str,
) -> None:
    """Write into the predictions what was chosen in each order, by the `answers` to what was asked.

    `prefilled` is what the chat template wrote of each, see `Prompt.prefilled`.
    """
    for prediction in predictions:
        prediction["orders"], prediction["shuffled"] = [], []
    for one, answer in zip(asked, answers, strict=True):
        said = predict(prefilled + answer.text, one.row, style, truncated=answer.truncated)
        prediction = predictions[one.place]
        prediction["orders"].append(one.order)
        prediction["shuffled"].append(one.order[LETTERS.index(said)] if said else None)


def _orders(row: Example, count: int) -> list[str]:
    letters = LETTERS[: len(row["options"])]
    moving = [n for n, text in enumerate(row["options"]) if not _STAYS.fullmatch(text.strip())]
    named = any(map(_NAMES_LETTERS.search, row["options"]))
    if len(moving) < 2 or named or is_multi_select(row["label"]):
        return []
    draws = random.Random(f"{row['id']} {row['question']}")
    orders = []
    for _ in range(count):
        placed = list(letters)
        while placed == list(letters):
            drawn = draws.sample(moving, len(moving))
            for to, start in zip(moving, drawn, strict=True):
                placed[to] = letters[start]
        orders.append("".join(placed))
    return orders


def _reordered(row: Example, order: str) -> Example:
    options = [row["options"][LETTERS.index(letter)] for letter in order]
    label = LETTERS[order.index(str(row["label"]))]
    return cast(Example, {**row, "options": options, "label": label})
