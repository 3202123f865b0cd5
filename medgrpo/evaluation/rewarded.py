"""What rewards give to responses outside of training: to held-out answers, and in the audit.

A reward that rises on held-out answers while accuracy does not is being gamed; training rows may
not show it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from medgrpo.dataset.example import Example
from medgrpo.rewards.base import Reward
from medgrpo.rewards.contract import check_scores


def score_responses(
    rewards: Sequence[Reward],
    rows: Sequence[Example],
    responses: Sequence[str],
    truncated: Sequence[bool] = (),
) -> dict[str, list[float | None]]:
    """The scores of the responses by reward, in order; None where a reward has no verdict.

    `truncated`: which were cut off at their token limit. Judged rewards are asked at the same time.
    """
    columns: dict[str, list[Any]] = {
        key: [row[key] for row in rows]  # type: ignore[literal-required]
        for key in Example.__annotations__
    }
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
