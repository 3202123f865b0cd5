"""What the run's rewards think of held-out answers: the judges' view beside the gold answers'.

A reward that rises here while accuracy does not is being gamed; held-out rows show it, training
rows may not.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence

from medgrpo.dataset.example import Example
from medgrpo.rewards.base import Reward


def score_responses(
    rewards: Sequence[Reward], rows: Sequence[Example], responses: Sequence[str]
) -> list[dict[str, float | None]]:
    """Each response's scores by reward name; None where a reward has no verdict."""
    columns = {key: [row[key] for row in rows] for key in Example.__annotations__}  # type: ignore[literal-required]
    scores = {}
    for reward in rewards:
        found = reward(completions=list(responses), **columns)  # type: ignore[operator]
        if inspect.isawaitable(found):
            found = asyncio.run(_result(found))
        scores[reward.__name__] = found
    return [
        {name: values[index] for name, values in scores.items()} for index in range(len(responses))
    ]


async def _result(awaitable: object) -> list[float | None]:
    return await awaitable  # type: ignore[misc]
