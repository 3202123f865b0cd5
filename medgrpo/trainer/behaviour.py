"""What the completions of a batch are like, apart from their rewards: how they drift is a warning.

Tensors hold the completions of all processes, those of a prompt side by side.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from medgrpo.answers.text import segments

if TYPE_CHECKING:
    import torch

_N = 4  # words, of a repeated piece


def repetition(text: str) -> float:
    """The share of four-word pieces that were there before, in [0, 1] (seq-rep-4 of Welleck et al.
    2020, https://arxiv.org/abs/1908.04319).

    >>> repetition("x y z x y z x y z x")
    0.571...
    """
    words = segments(text)
    pieces = list(zip(*(words[start:] for start in range(_N)), strict=False))
    return 1 - len(set(pieces)) / len(pieces) if pieces else 0.0


def distinct_answers(answers: torch.Tensor, generations: int) -> float:
    """How many of a prompt's `answers` [completions] (a number an answer) differ, as their share.

    Its mean over prompts: 1 / generations where all answers to a prompt are the same.
    """
    ordered = answers.view(-1, generations).sort(dim=1).values
    new = (ordered[:, 1:] != ordered[:, :-1]).sum(dim=1) + 1
    return (new / generations).mean().item()


def correlations(scores: torch.Tensor, worth: torch.Tensor, generations: int) -> list[float]:
    """Pearson's, of each reward's `scores` [completions, rewards] and what answers are worth.

    Within prompts, which is all that GRPO learns from. NaN for a reward where either is the same
    throughout, or missing.
    """
    found = []
    for column in scores.double().T:
        known = (~(column.isnan() | worth.isnan())).view(-1, generations)
        one, other = (_centred(values.view(-1, generations), known) for values in (column, worth))
        scale = (one.square().sum() * other.square().sum()).sqrt()
        found.append(((one * other).sum() / scale).item() if scale > 0 else math.nan)
    return found


def _centred(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Deviations from the group's mean over what is known; 0 elsewhere."""
    values = values.double().where(known, 0.0)
    means = values.sum(dim=1, keepdim=True) / known.sum(dim=1, keepdim=True).clamp(min=1)
    return (values - means).where(known, 0.0)
