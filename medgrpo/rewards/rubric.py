"""A judged reward that holds a response against the criteria of its row's rubric.

Sources: HealthBench (Arora et al. 2025, https://arxiv.org/abs/2505.08775) and Rubrics as Rewards
(Gunjal et al. 2025, https://arxiv.org/abs/2507.17746).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, Literal

from medgrpo.dataset.example import Example
from medgrpo.dataset.rubric import CATEGORIES, Criterion, Rubric
from medgrpo.errors import UserError
from medgrpo.judge.client import Judge, JudgeError, Verdict
from medgrpo.metrics.rubric import dump_grades, rubric_score
from medgrpo.rewards.base import (
    SAYS_SOMETHING,
    Completion,
    JudgedReward,
    Reward,
)
from medgrpo.rewards.rubric_questions import (
    TOP,
    CriterionReply,
    RatingReply,
    RubricReply,
    about_all,
    about_one,
    about_the_whole,
)

_ROUNDS = 3  # questions about the criteria that a reply has left out
_BAITS = {
    "empty": "",
    "off-topic": "The museum opens at ten, and the garden behind it is worth a visit in spring.",
}
_NONE = 0.5  # neither met (1) nor unmet (0): left out of a reply, or a panel of two minds


def require_weights(
    rewards: Sequence[Reward], grader: Reward | None, data: Mapping[str, Any]
) -> None:
    """UserError where a rubric of the splits `data` has a category without a weight.

    The `grader` sees held-out answers alone, so rows of "train" need no weight of it.
    """
    for split, rows in data.items():
        asked = rewards if split == "train" else [*rewards, grader]
        weighted = [one for one in asked if isinstance(one, RubricReward) and one.weights]
        for row in rows if weighted else ():
            if rubric := Rubric.of(row):
                for reward, one in product(weighted, rubric.criteria):
                    reward.weighted(one, row)


class RubricReward(JudgedReward):
    """Which criteria does the response meet, and what are they worth?

    Range: [0, 1]; None for rows without a rubric, and where too few criteria have a verdict
    (medgrpo/metrics/rubric.py). Formula: `explicit` is the sum of the points of met criteria over
    the sum of positive points, clipped; `implicit` is one rating from 1 to 10 with the rubric in
    view, less 1, over 9 (the paper does not say which mapping it takes). Judged: the whole response
    without tags, the conversation before it. Calls: `calls="all"` asks about all criteria at once,
    and again about those that a reply leaves out; `"each"` asks about one at a time with the reason
    first, as HealthBench does. Verdicts are kept by criterion. A response that says nothing meets
    no criterion, also where pitfalls are worded so that silence would meet them.
    """

    def __init__(
        self,
        *,
        judge: Judge,
        aggregation: Literal["explicit", "implicit"] = "explicit",
        calls: Literal["all", "each"] = "all",
        weights: Mapping[str, float] | None = None,
        weight: float = 1.0,
        name: str = "rubric",
    ) -> None:
        """`weights` by category (Essential, Important, Optional, Pitfall) replace the rows' points.

        The sign of the points stays. Raises UserError for another category.
        """
        if unknown := set(weights or {}) - set(CATEGORIES):
            raise UserError(
                f"rewards.{name}.weights: no category is called {', '.join(sorted(unknown))}: "
                f"{', '.join(CATEGORIES)}"
            )
        super().__init__(
            judge=judge, weight=weight, name=name, calls=1,
            parameters={"aggregation": aggregation, "calls": calls},
        )  # fmt: skip
        self.aggregation, self.asks = aggregation, calls
        self.weights = dict(weights or {})

    def applies(self, row: Example) -> bool:
        return bool(row.get("rubric"))

    def calls_on_average(self, rows: Sequence[Example]) -> float:
        """Calls that a response to one of the rows takes, if no reply leaves anything out."""
        if self.asks == "all" or self.aggregation == "implicit":
            return 1
        rubrics = [rubric for row in rows if (rubric := Rubric.of(row))]
        return sum(len(one.criteria) for one in rubrics) / len(rubrics) if rubrics else 1

    async def __call__(
        self,
        completions: list[Completion],
        log_extra: Callable[[str, list[Any]], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Scores of a batch, in order; the verdicts go to `log_extra` as the column NAME/criteria.

        None where a row has no rubric or too few verdicts, which never means "bad".
        """
        if self.aggregation == "implicit":
            return await super().__call__(completions, log_extra, **columns)
        found = await self.each_once(self.graded, completions, columns)
        if log_extra is not None:
            column = [graded and dump_grades(*graded) for graded in found]
            log_extra(f"{self.__name__}/criteria", column)
        return list(map(self._score, found))

    def baits(self, rows: Sequence[Example]) -> dict[str, float | None]:
        """What answers that are none earn: the mean over `rows` of an empty and an off-topic one.

        A rubric that pays for them has pitfalls which silence meets, or asks for nothing.
        """
        columns: dict[str, Any] = {key: [row.get(key) for row in rows] for key in rows[0]}
        earned = {}
        for kind, text in _BAITS.items():
            found = asyncio.run(self(completions=[text] * len(rows), **columns))
            scores = [score for score in found if score is not None]
            earned[kind] = sum(scores) / len(scores) if scores else None
        return earned

    async def graded(
        self, text: str, row: Example
    ) -> tuple[tuple[Criterion, ...], list[bool | None]] | None:
        """The row's criteria and whether `text` meets each; None for a row without any."""
        rubric = Rubric.of(row)
        if rubric is None:
            return None
        criteria = tuple(self.weighted(one, row) for one in rubric.criteria)
        if not SAYS_SOMETHING.search(text):
            return criteria, [False] * len(criteria)
        met = self._known(text, row, rubric.criteria)
        left = [index for index, one in enumerate(met) if one is None]
        parts = [[index] for index in left] if self.asks == "each" else [left] * bool(left)
        asked = (self._ask(text, row, rubric.criteria, part, met) for part in parts)
        await asyncio.gather(*asked)
        return criteria, met

    async def verdict(self, text: str, row: Example) -> Verdict:
        """The one of `implicit`."""
        rubric = Rubric.of(row)
        assert rubric is not None  # `applies`
        asked = about_the_whole(text, row, [self.weighted(one, row) for one in rubric.criteria])
        reply = await self.judge.chat(asked, RatingReply)
        rating = RatingReply.model_validate_json(reply.text).rating
        return Verdict((rating - 1) / (TOP - 1))

    def _score(self, graded: tuple[Sequence[Criterion], Sequence[bool | None]] | None) -> Any:
        if graded is None:
            return None
        score = rubric_score([one.points for one in graded[0]], graded[1])
        return None if score is None else min(1.0, max(0.0, score))

    def weighted(self, one: Criterion, row: Example) -> Criterion:
        """The criterion with the points that its category has here. UserError where it has none."""
        if not self.weights:
            return one
        if one.category not in self.weights:
            raise UserError(
                f"rewards.{self.__name__}.weights: row {row['id']} has a criterion of "
                f"{one.category or 'no category'}, which has no weight there"
            )
        points = math.copysign(self.weights[one.category], one.points)
        return Criterion(one.text, points, one.category, one.tags)

    def _known(self, text: str, row: Example, criteria: Sequence[Criterion]) -> list[bool | None]:
        """Verdicts that the judge's cache has."""
        usage, cache = self.judge.usage[self.__name__], self.judge.cache
        usage.verdicts += len(criteria)
        found = [cache.get(self._key(text, row, one)) if cache else None for one in criteria]
        usage.verdict_hits += sum(one is not None for one in found)
        return found

    def _key(self, text: str, row: Example, criterion: Criterion) -> bytes:
        return self._cache_key([text, criterion.text, f"{criterion.points:g}"], row)

    async def _ask(
        self,
        text: str,
        row: Example,
        criteria: Sequence[Criterion],
        part: Sequence[int],
        met: list[bool | None],
    ) -> None:
        """Put the verdicts on the criteria at the places `part` into `met`, as far as given."""

        async def verdicts() -> list[Verdict]:
            said: dict[int, bool] = {}
            for _ in range(_ROUNDS):
                left = [index for index in part if index not in said]
                said |= await self._replied(text, row, [criteria[index] for index in left], left)
                if len(said) == len(part):
                    break
            if not said or (self.judge.members and len(said) < len(part)):
                raise JudgeError(f"{len(part) - len(said)} criteria were not graded")
            return [Verdict(float(said[index]) if index in said else _NONE) for index in part]

        found = await self.decided(row, verdicts, len(part))
        if found is None:
            return
        cache = self.judge.cache
        for index, one in zip(part, found, strict=True):
            if one.score != _NONE:
                met[index] = one.score > _NONE
                if cache:
                    cache.put(self._key(text, row, criteria[index]), met[index])
        if missing := sum(met[index] is None for index in part):
            self.count_missing(row, JudgeError(f"{missing} criteria were not graded"), missing)

    async def _replied(
        self, text: str, row: Example, criteria: Sequence[Criterion], places: Sequence[int]
    ) -> dict[int, bool]:
        """Place: verdict, of one call; what the reply says twice, or of no criterion, is none."""
        if self.asks == "each":
            reply = await self.judge.chat(about_one(text, row, criteria[0]), CriterionReply)
            return {places[0]: CriterionReply.model_validate_json(reply.text).criteria_met}
        reply = await self.judge.chat(about_all(text, row, criteria), RubricReply)
        said: dict[int, set[bool]] = {}
        for grade in RubricReply.model_validate_json(reply.text).grades:
            said.setdefault(grade.number, set()).add(grade.met)
        return {
            place: said[number].pop()
            for number, place in enumerate(places, 1)
            if len(said.get(number, ())) == 1
        }
