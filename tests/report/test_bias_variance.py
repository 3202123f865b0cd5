"""Where over-fitting begins, and what the plot of it shows."""

from __future__ import annotations

import pytest

from medgrpo.report.bias_variance import Curves, bias_variance_figure
from medgrpo.rundir import RunFolder
from medgrpo.tracking.metrics_log import MetricsLog


def curves(
    tmp_path, train: list[float], validation: list[float], best: int | None = None
) -> Curves:
    """The curves of a run whose epochs have four steps; `validation` starts at epoch 0."""
    folder = RunFolder(tmp_path)
    log = MetricsLog(folder)
    log.log(0, {"epoch": 0, "eval_loss": validation[0]})
    for epoch, loss in enumerate(train, 1):
        for step in range(1, 5):
            at = epoch - 1 + step / 4
            log.log(4 * epoch - 4 + step, {"epoch": at, "loss": loss + (step - 2.5) / 100})
        log.log(4 * epoch, {"epoch": float(epoch), "eval_loss": validation[epoch]})
    if best is not None:
        found = {"step": 4 * best, "epoch": best, "measure": "eval_loss", "value": 0.0}
        folder.write_json(folder.best, found)
    return Curves.of(folder)


def test_epochs_are_averaged_and_the_turn_is_named(tmp_path):
    found = curves(tmp_path, [0.9, 0.5, 0.3, 0.1], [1.0, 0.8, 0.6, 0.7, 0.9], best=2)
    assert found.train_loss == [
        (e, pytest.approx(v)) for e, v in [(1, 0.9), (2, 0.5), (3, 0.3), (4, 0.1)]
    ]
    assert found.validation_loss == [(0, 1.0), (1.0, 0.8), (2.0, 0.6), (3.0, 0.7), (4.0, 0.9)]
    assert found.overfits_from == 3
    assert found.conclusion().startswith("Over-fitting begins in epoch 3")


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        ([0.9, 0.5, 0.3], [1.0, 0.8, 0.6, 0.5]),  # still falling
        ([0.9, 0.9, 0.9], [1.0, 0.8, 0.9, 0.9]),  # nothing is learnt: no over-fitting
        ([0.9], [1.0, 0.8]),
    ],
)
def test_no_turn_is_claimed_without_one(tmp_path, train, validation):
    assert curves(tmp_path, train, validation).overfits_from is None


def test_worse_from_the_start_over_fits_in_epoch_1(tmp_path):
    assert curves(tmp_path, [0.9, 0.5], [0.4, 0.8, 0.9]).overfits_from == 1


def test_the_plot_marks_the_checkpoint_and_says_the_turn(tmp_path):
    figure = bias_variance_figure(curves(tmp_path, [0.9, 0.5, 0.3], [1.0, 0.8, 0.6, 0.7], best=2))
    (axes,) = figure.axes
    train, validation, ring = axes.lines
    assert list(train.get_xdata()) == [1, 2, 3]
    assert list(validation.get_ydata()) == [1.0, 0.8, 0.6, 0.7]
    assert (list(ring.get_xdata()), list(ring.get_ydata())) == ([2.0], [0.6])
    assert "step 8, by eval_loss" in ring.get_label()
    assert "begins in epoch 3" in figure.get_suptitle()


def test_grpo_shows_reward_and_score(tmp_path):
    folder = RunFolder(tmp_path)
    log = MetricsLog(folder)
    for step, score in ((1, 0.2), (2, 0.6), (3, 0.4)):
        log.log(step, {"reward": step / 10, "loss": 0.0, "epoch": step / 90})
        log.log(step, {"eval_score": score})
    folder.write_json(folder.best, {"step": 2, "epoch": 0, "measure": "eval_score", "value": 0.6})
    found = Curves.of(folder)
    assert found.conclusion() == "The score on validation rows was higher at an earlier checkpoint."
    upper, lower = bias_variance_figure(found).axes
    assert list(upper.lines[0].get_ydata()) == [0.1, 0.2, 0.3]
    assert list(lower.lines[1].get_xdata()) == [2]


def test_less_may_be_better(tmp_path):
    folder = RunFolder(tmp_path)
    log = MetricsLog(folder)
    for step, score in ((1, 20.0), (2, 12.0), (3, 31.0)):
        log.log(step, {"eval_score": score})
    folder.write_json(folder.best, {"step": 2, "epoch": 0, "measure": "eval_score", "value": 12.0})
    found = Curves.of(folder)
    assert found.conclusion() == "The score on validation rows was lower at an earlier checkpoint."
    _, lower = bias_variance_figure(found).axes
    assert lower.get_ylim()[1] > 31


def test_nothing_measured_is_said(tmp_path):
    found = Curves.of(RunFolder(tmp_path))
    assert found.conclusion() == "Nothing was measured on validation rows."
    assert bias_variance_figure(found) is None
