"""What every reward owes, also one of a user's own: a number in [0, 1] for each completion."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

from medgrpo.errors import UserError
from medgrpo.rewards.base import Reward


def check_scores(reward: Reward, scores: Sequence[Any], completions: int) -> None:
    """UserError for scores of a batch that are too few, too many, not finite or out of range.

    A NaN would count as a missing verdict, and a 7 would outweigh all other rewards.
    """
    name = reward.__name__
    if not hasattr(scores, "__len__"):
        raise UserError(f"rewards.{name}: gave {scores!r}; a list of scores is needed")
    if len(scores) != completions:
        raise UserError(f"rewards.{name}: gave {len(scores)} scores for {completions} completions")
    for score in scores:
        if score is not None and not (isinstance(score, Real) and 0 <= float(score) <= 1):
            raise UserError(
                f"rewards.{name}: gave {score!r}; a score is a number in [0, 1], or None for "
                "'no verdict'"
            )


def checked(reward: Reward) -> Callable[..., Any]:
    """The reward as TRL calls it, each batch of its scores checked."""

    def scores(completions: list[Any], **columns: Any) -> Any:
        values: Any = reward(completions=completions, **columns)
        check_scores(reward, values, len(completions))
        return values

    async def scores_later(completions: list[Any], **columns: Any) -> Any:
        values: Any = reward(completions=completions, **columns)
        values = await values
        check_scores(reward, values, len(completions))
        return values

    is_async = inspect.iscoroutinefunction(type(reward).__call__)
    chosen: Callable[..., Any] = scores_later if is_async else scores
    chosen.__name__ = reward.__name__
    return chosen
