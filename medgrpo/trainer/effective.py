"""Which reward moves the policy, and how much: not the weight that was asked for.

A reward that is the same for all answers to a question moves nothing, whatever its weight; two that
rise together share what they move. With the advantage A (Shao et al. 2024) the sum over rewards r
of A_r = w_r (score - mean of its group) / deviation of the group's total, the effective weight of r
is E[A_r A] / E[A A], its part in the variance of the advantages. Parts add up to 1; one below 0 is
that of a reward which the others overrule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


_ROUNDING = 1e-6  # of scores in 32 bits


def effective_weights(
    scores: torch.Tensor, weights: Sequence[float], generations: int
) -> list[float]:
    """One for each column of `scores` [prompts x generations, rewards]; NaN without any signal.

    A missing score (NaN) deviates by nothing.
    """
    parts = _deviations(scores, weights, generations)
    parts = parts[~without_signal(scores, weights, generations)]
    if not len(parts):
        return [math.nan] * scores.shape[1]
    total = parts.sum(dim=2, keepdim=True)
    deviation = total.std(dim=1, keepdim=True)
    parts, total = parts / deviation, total / deviation
    return ((parts * total).sum(dim=(0, 1)) / (total * total).sum()).tolist()


def without_signal(
    scores: torch.Tensor, weights: Sequence[float], generations: int, *, summed: bool = True
) -> torch.Tensor:
    """Which groups of `scores` [prompts x generations, rewards] get the same in all; [prompts].

    `summed`: advantages are those of the weighted sum, in which rewards may cancel each other.
    """
    parts = _deviations(scores, weights, generations)
    parts = parts.sum(dim=2, keepdim=True) if summed else parts
    return parts.abs().amax(dim=(1, 2)) < _ROUNDING


def _deviations(scores: torch.Tensor, weights: Sequence[float], generations: int) -> torch.Tensor:
    """Weighted scores less their group's mean [prompts, generations, rewards]; 0 where missing."""
    scores = scores.double()
    groups = (scores * scores.new_tensor(weights)).view(-1, generations, scores.shape[1])
    return (groups - groups.nanmean(dim=1, keepdim=True)).nan_to_num(0.0)
