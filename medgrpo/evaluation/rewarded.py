"""What rewards give to responses outside of training: to held-out answers, and in the audit.

A reward that rises on held-out answers while accuracy does not is being gamed; training rows may
not show it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from medgrpo.config.progress import Phase
from medgrpo.dataset.example import Example
from medgrpo.metrics.prediction import Prediction
from medgrpo.rewards.base import Reward
from medgrpo.rewards.contract import check_scores
from medgrpo.rewards.rubric import RubricReward

log = logging.getLogger(__name__)

_FIRST, _GRADED = 8, 100  # rows that are graded first, and then at a time


def score_responses(
    rewards: Sequence[Reward],
    rows: Sequence[Example],
    responses: Sequence[str],
    truncated: Sequence[bool] = (),
    extra: dict[str, list[Any]] | None = None,
) -> dict[str, list[float | None]]:
    """The scores of the responses by reward, in order; None where a reward has no verdict.

    `truncated`: which were cut off at their token limit. Judged rewards are asked at the same time.
    `extra` gets the columns that rewards give beside their scores, as TRL's `log_extra` does.
    """
    columns: dict[str, Any] = {
        key: [row[key] for row in rows]  # type: ignore[literal-required]
        for key in Example.__annotations__
    }
    if any("rubric" in row for row in rows):
        columns["rubric"] = [row.get("rubric") for row in rows]
    if extra is not None:
        columns["log_extra"] = extra.__setitem__
    columns["truncated"] = list(truncated) or [False] * len(rows)

    async def scores(reward: Reward) -> list[float | None]:
        values = reward(completions=list(responses), **columns)
        values = await values if isinstance(values, Awaitable) else values
        check_scores(reward, values, len(responses))
        return values

    async def all_scores() -> list[list[float | None]]:
        return await asyncio.gather(*map(scores, rewards))

    names = [reward.__name__ for reward in rewards]
    return dict(zip(names, asyncio.run(all_scores()), strict=True))


def reward(
    rewards: Sequence[Reward],
    rows: Sequence[Example],
    predictions: Sequence[Prediction],
    truncated: Sequence[bool],
) -> None:
    """Note in the predictions what rewards give to the first responses, those to `rows`."""
    if not rewards or not rows:
        return
    said = [prediction["response"] for prediction in predictions[: len(rows)]]
    with Phase(f"scoring by rewards ({len(rows)} rows)"):
        scores = score_responses(rewards, rows, said, truncated)
    for index, prediction in enumerate(predictions):
        prediction["rewards"] = {
            name: values[index] if index < len(rows) else None for name, values in scores.items()
        }


def grade(
    grader: RubricReward, rows: Sequence[Example], predictions: Sequence[Prediction]
) -> dict[str, Any]:
    """Note in each prediction which criteria of its row's rubric the response meets.

    What the first rows cost foretells the rest, which is logged; so is what all of them did.
    Returns who graded, and how.
    """
    extra: dict[str, list[Any]] = {}
    usage = grader.judge.usage[grader.__name__]
    before = replace(usage)
    with Phase("grading by criteria", len(rows)) as phase:
        for start, end in pairwise(
            [0, *range(min(_FIRST, len(rows)), len(rows), _GRADED), len(rows)]
        ):
            said = [one["response"] for one in predictions[start:end]]
            found: dict[str, list[Any]] = {}
            score_responses([grader], rows[start:end], said, extra=found)
            for name, column in found.items():
                extra.setdefault(name, []).extend(column)
            phase.update(end)
            if not start and end < len(rows):
                _foretell(grader, rows, end, usage.calls - before.calls, usage.cost - before.cost)
    for column in extra.values():
        for prediction, graded in zip(predictions, column, strict=True):
            prediction["criteria"] = graded
    calls, cost = usage.calls - before.calls, usage.cost - before.cost
    if calls:
        log.info("grading took %d calls, $%.2f", calls, cost)
    return {"judge": grader.judge.name, "calls": grader.asks, "weights": grader.weights}


def _foretell(
    grader: RubricReward, rows: Sequence[Example], graded: int, calls: int, cost: float
) -> None:
    """Log what grading all rows will take, by the first `graded`; of these the cache knew some."""
    if not calls:
        return
    asked = graded * grader.calls_on_average(rows[:graded])
    share = len(rows) * grader.calls_on_average(rows) / asked
    log.info(
        "grading: about %d calls, $%.2f, by the first %d rows", share * calls, share * cost, graded
    )
