"""Bias against variance: what training gains on its own rows, and what of it holds elsewhere.

Read from metrics.jsonl and best.json of a run folder, for the plot, the report and the notebook.
The training loss is the mean over an epoch's steps, the validation loss stands at its end.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medgrpo.report.style import BLUE, GREY, ORANGE, scale_shares
from medgrpo.rundir import RunFolder
from medgrpo.tracking.metrics_log import read_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curve = list[tuple[float, float]]  # (epoch or step, value)


@dataclass(frozen=True)
class Curves:
    """The curves of one training; those that it does not have are empty."""

    train_loss: Curve  # by epoch
    validation_loss: Curve  # by epoch, from 0: before training
    reward: Curve  # by step
    score: Curve  # by step: the primary metric on validation rows
    best: dict[str, Any] | None  # best.json: step, epoch, measure, value

    @classmethod
    def of(cls, folder: RunFolder) -> Curves:
        """Read a run folder, or the part of one."""
        rows = read_log(folder.metrics)
        epochs: defaultdict[int, list[float]] = defaultdict(list)
        for row in rows:
            if row.get("loss") is not None and row.get("epoch"):
                epochs[math.ceil(row["epoch"])].append(row["loss"])
        return cls(
            train_loss=[(epoch, sum(losses) / len(losses)) for epoch, losses in epochs.items()],
            validation_loss=_curve(rows, "epoch", "eval_loss"),
            reward=_curve(rows, "step", "reward"),
            score=_curve(rows, "step", "eval_score"),
            best=folder.read_json(folder.best),
        )

    @property
    def overfits_from(self) -> int | None:
        """The epoch in which over-fitting begins: the one after the lowest validation loss.

        None while the validation loss is lowest at the end, or the training loss does not fall.
        """
        if len(self.validation_loss) < 2 or len(self.train_loss) < 2:
            return None
        lowest, _ = min(self.validation_loss, key=lambda point: point[1])
        later = [loss for epoch, loss in self.train_loss if epoch > lowest]
        earlier = [loss for epoch, loss in self.train_loss if epoch <= max(lowest, 1)]
        falls = bool(later and earlier) and later[-1] < earlier[-1]
        return math.floor(lowest) + 1 if falls and lowest < self.validation_loss[-1][0] else None

    def conclusion(self) -> str:
        """One sentence on what the curves say."""
        if self.overfits_from is not None:
            return (
                f"Over-fitting begins in epoch {self.overfits_from}: the training loss goes on "
                "falling, the validation loss does not."
            )
        if self.validation_loss:
            return "No over-fitting seen: the validation loss is lowest at the end."
        if self.score:
            last = self.score[-1][1]
            best = max(value for _, value in self.score)
            if self.best and self.best["value"] is not None:
                best = self.best["value"]  # the lowest, where less is better
            if best == last:
                return "No earlier checkpoint scored better on validation rows than the last."
            direction = "higher" if best > last else "lower"
            return f"The score on validation rows was {direction} at an earlier checkpoint."
        return "Nothing was measured on validation rows."


def bias_variance_figure(curves: Curves) -> Figure | None:
    """Losses by epoch, or for GRPO reward and score by step; None where there is neither."""
    from matplotlib.figure import Figure

    if not (curves.validation_loss or curves.score or curves.reward):
        return None
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    if curves.validation_loss:
        axes = figure.add_subplot()
        _line(axes, curves.train_loss, BLUE, "training loss (mean of the epoch)")
        _line(axes, curves.validation_loss, ORANGE, "validation loss (end of the epoch)")
        _mark(axes, curves, curves.validation_loss, "epoch")
        if curves.overfits_from is not None:
            axes.axvspan(
                curves.overfits_from - 1, curves.validation_loss[-1][0], color=GREY, alpha=0.12
            )
        axes.set(xlabel="epoch", ylabel="loss")
        axes.locator_params(axis="x", integer=True)
    else:
        upper, axes = figure.subplots(2, 1, sharex=True)
        _line(upper, curves.reward, BLUE, "training reward")
        _line(axes, curves.score, ORANGE, "primary metric on validation rows")
        _mark(axes, curves, curves.score, "step")
        upper.set_ylabel("reward")
        axes.set(xlabel="training step", ylabel="score")
        scale_shares(axes, (value for _, value in curves.score))
    for panel in figure.axes:
        panel.grid(color="#DDDDDD", lw=0.6)
        panel.spines[["top", "right"]].set_visible(False)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(frameon=False, fontsize=9)
    figure.suptitle(curves.conclusion(), fontsize=10, x=0.01, ha="left")
    return figure


def _curve(rows: list[dict[str, Any]], x: str, y: str) -> Curve:
    return [(row[x], row[y]) for row in rows if row.get(y) is not None and row.get(x) is not None]


def _line(axes: Axes, curve: Curve, color: str, label: str) -> None:
    if curve:
        marker = "o" if len(curve) <= 30 else None
        axes.plot(*zip(*curve, strict=True), color=color, marker=marker, ms=4, label=label)


def _mark(axes: Axes, curves: Curves, curve: Curve, unit: str) -> None:
    """A ring around the chosen checkpoint."""
    if not curves.best or not curve:
        return
    where = curves.best[unit]
    x, y = min(curve, key=lambda point: abs(point[0] - where))
    label = f"best checkpoint: step {curves.best['step']}, by {curves.best['measure']}"
    axes.plot([x], [y], "o", ms=13, mfc="none", mec="black", mew=1.6, label=label)
