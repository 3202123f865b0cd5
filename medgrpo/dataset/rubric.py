"""A rubric: what a good answer to one open question does, criterion by criterion, with points.

It lies beside its row as JSON, in the column `rubric`, for rewards and metrics alone: no prompt
template can name it. HealthBench (Arora et al. 2025, https://arxiv.org/abs/2505.08775) and Rubrics
as Rewards (Gunjal et al. 2025, https://arxiv.org/abs/2507.17746) have such rows.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from textwrap import shorten
from typing import Any, Literal

from medgrpo.dataset.record import Dropped, Record, optional_text, text, texts
from medgrpo.errors import UserError

Pitfall = Literal["signed", "positive"]
CATEGORIES = ("Essential", "Important", "Optional", "Pitfall")

_PREFIX = re.compile(rf"({'|'.join(CATEGORIES)}) Criteria:\s*")


@dataclass(frozen=True)
class Criterion:
    """One thing to look for in an answer."""

    text: str
    points: float  # for an answer that meets it; below 0 where meeting it is a fault
    category: str = ""  # of CATEGORIES, "" where the rubric has none
    tags: tuple[str, ...] = ()  # "axis:accuracy"


@dataclass(frozen=True)
class Rubric:
    """The criteria of one row, and what its row is about."""

    criteria: tuple[Criterion, ...]
    tags: tuple[str, ...] = ()  # "theme:global_health"

    def dumps(self) -> str:
        """As JSON: the value of the column `rubric`."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Rubric | None:
        """The rubric of a row, None where it has none."""
        if not row.get("rubric"):
            return None
        found = json.loads(row["rubric"])
        criteria = [
            Criterion(**{**one, "tags": tuple(one["tags"])}) for one in found.pop("criteria")
        ]
        return cls(tuple(criteria), tuple(found["tags"]))


def require_gold(answer: str, rubric: str | None, pitfall: Pitfall | None) -> None:
    """UserError where columns of these names do not say what a good answer is."""
    if rubric and pitfall is None:
        raise UserError(
            "dataset.pitfall: signed (a criterion of points below 0 names a fault) or positive "
            "(it names what a good answer does): the sign does not tell"
        )
    if not (answer or rubric):
        raise UserError("dataset.answer: a column, unless dataset.rubric says what is good")


def read_rubric(record: Record, key: str, pitfall: Pitfall, tags: str | None) -> Rubric:
    """The rubric in column `key`: a list of criteria with points. Raises Dropped for none.

    A criterion is an object with `criterion` or `description`, `points` or `weight`, and perhaps
    `tags`; a text that begins with "Essential Criteria:" (Important, Optional, Pitfall) has that
    category. `pitfall`: "signed" leaves points as they are, so that what has points below 0 must
    name a fault; "positive" says that pitfalls are worded as what a good answer does, and makes all
    points positive. `tags`: the column with those of the row.
    """
    found = record.get(key)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Dropped(f"{key} is no list of criteria")
    if not found:
        raise Dropped(f"{key} has no criterion")
    criteria = tuple(_criterion(one, key, pitfall) for one in found)
    return Rubric(criteria, tuple(texts(record, tags)) if tags else ())


def as_read(row: Mapping[str, Any]) -> str:
    """The rubric on two lines for a person: its size, and its worst pitfall; "" for none."""
    if (rubric := Rubric.of(row)) is None:
        return ""
    worth = sum(one.points for one in rubric.criteria if one.points > 0)
    text = f"\n    rubric: {len(rubric.criteria)} criteria, {worth:g} points"
    faults = [one for one in rubric.criteria if one.points < 0 or one.category == "Pitfall"]
    if not faults:
        return text
    worst = min(faults, key=lambda one: one.points)
    shown = shorten(worst.text, 60, placeholder=" ...")
    return f"{text}\n    pitfall: [{worst.points:g}] {shown}"


def _criterion(given: Record, key: str, pitfall: Pitfall) -> Criterion:
    worded = text(given, "criterion" if "criterion" in given else "description")
    points = given.get("points", given.get("weight"))
    if isinstance(points, bool) or not isinstance(points, int | float) or not math.isfinite(points):
        raise Dropped(f"{key} has a criterion without points")
    prefix = _PREFIX.match(worded)
    category = prefix[1] if prefix else _category(optional_text(given, "category"))
    if pitfall == "positive":
        points = abs(points)
    elif category == "Pitfall" and points > 0:
        raise Dropped(f"{key} has a pitfall of positive points, where dataset.pitfall is signed")
    shown = worded[prefix.end() :] if prefix else worded
    return Criterion(shown.strip() or worded, float(points), category, tuple(texts(given, "tags")))


def _category(named: str) -> str:
    if named and named.title() not in CATEGORIES:
        raise Dropped(f"category {named}, which is none of {', '.join(CATEGORIES)}")
    return named.title()
