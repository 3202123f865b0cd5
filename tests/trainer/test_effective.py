"""Effective weights, worked by hand and against the advantages of TRL's formula."""

from __future__ import annotations

import math

import pytest
import torch

from medgrpo.trainer.effective import effective_weights

NAN = math.nan


def test_one_reward_moves_all() -> None:
    assert effective_weights(torch.tensor([[0.0], [1.0]]), [0.25], 2) == [1.0]


def test_a_reward_that_is_the_same_for_a_group_moves_nothing() -> None:
    scores = torch.tensor([[0.0, 0.9], [1.0, 0.9], [1.0, 0.1], [0.0, 0.1]])
    assert effective_weights(scores, [1.0, 10.0], 2) == pytest.approx([1.0, 0.0])


def test_independent_rewards_share_by_variance() -> None:
    """Deviations 1 and 3 that do not go together: 1 : 9."""
    scores = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    assert effective_weights(scores, [1.0, 3.0], 4) == pytest.approx([0.1, 0.9])


def test_one_that_is_overruled_is_negative() -> None:
    scores = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert effective_weights(scores, [1.0, 2.0], 2) == pytest.approx([-1.0, 2.0])


def test_the_parts_of_the_advantages_add_up() -> None:
    torch.manual_seed(1)
    scores, weights = torch.rand(64, 3), [1.0, 0.5, 2.0]
    found = effective_weights(scores, weights, 8)
    assert sum(found) == pytest.approx(1.0)
    groups = (scores * torch.tensor(weights)).view(8, 8, 3).double()
    total = groups.sum(2)
    std = total.std(dim=1, keepdim=True)
    advantages = (total - total.mean(1, keepdim=True)) / std
    for column, weight in enumerate(found):
        part = (groups[:, :, column] - groups[:, :, column].mean(1, keepdim=True)) / std
        expected = (part * advantages).mean() / (advantages**2).mean()
        assert weight == pytest.approx(expected.item(), abs=1e-6)


def test_gaps_and_groups_without_signal() -> None:
    assert all(map(math.isnan, effective_weights(torch.ones(4, 2), [1.0, 1.0], 2)))
    scores = torch.tensor([[0.0, NAN], [1.0, NAN], [0.5, 0.5], [0.5, 0.5]])
    assert effective_weights(scores, [1.0, 1.0], 2) == pytest.approx([1.0, 0.0])
