"""What is logged of completions, against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from medgrpo.trainer.behaviour import correlations, distinct_answers, repetition
from medgrpo.trainer.effective import effective_weights, without_signal


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0.0),
        ("one two three", 0.0),
        ("a b c d e f", 0.0),
        ("a b c d a b c d", 1 / 5),  # abcd bcda cdab dabc abcd
        ("x " * 20, 16 / 17),
    ],
)
def test_repeated_pieces(text, share):
    assert repetition(text) == pytest.approx(share)


def test_distinct_answers_are_counted_within_groups():
    answers = torch.tensor([1, 1, 1, 1, 1, 2, 3, 4])
    assert distinct_answers(answers, 4) == pytest.approx((1 / 4 + 4 / 4) / 2)


def test_correlation_is_within_groups():
    worth = torch.tensor([0.0, 1.0, 0.0, 1.0])
    scores = torch.tensor([[0.1, 0.9, 0.5], [0.3, 0.7, 0.5], [0.7, 0.6, 0.5], [0.9, 0.4, 0.5]])
    along, against, constant = correlations(scores, worth, 2)
    assert (along, against) == (pytest.approx(1.0), pytest.approx(-1.0))
    assert math.isnan(constant)
    gap = scores.clone()
    gap[0, 0] = math.nan
    assert correlations(gap, worth, 2)[0] == pytest.approx(1.0)


def test_a_group_of_the_same_rewards_has_no_signal():
    same = torch.full((8, 2), 0.2)
    mixed = torch.cat([same, same + torch.tensor([[0.0, 0.3]] * 4 + [[0.0, 0.0]] * 4)])
    assert without_signal(mixed, [1.0, 0.7], 8).tolist() == [True, False]
    cancelling = torch.tensor([[0.1, 0.9], [0.4, 0.6]])
    assert without_signal(cancelling, [1.0, 1.0], 2).tolist() == [True]
    assert without_signal(cancelling, [1.0, 1.0], 2, summed=False).tolist() == [False]
    assert all(map(math.isnan, effective_weights(same, [1.0, 0.7], 8)))
