"""The first picture to look at: what training did to held-out answers, and while it did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medgrpo.metrics.recorded import Evaluation
from medgrpo.report.style import BLUE, GREY, ORANGE, scale_shares
from medgrpo.rundir import RunFolder
from medgrpo.tracking.metrics_log import read_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CLASSES = 8  # more are left out: the picture is of all rows then


def overview_figure(folder: RunFolder) -> Figure | None:
    """Before and after, over all rows and by class, beside reward and validation score by step.

    None where there is no before: the run trained nothing, or was not evaluated.
    """
    from matplotlib.figure import Figure

    evaluation = Evaluation.read(folder)
    if "before" not in evaluation.stages or evaluation.after.get("primary") is None:
        return None
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.15])
    _before_and_after(left, evaluation)
    _while_training(right, read_log(folder.metrics), _label(evaluation))
    for axes in figure.axes:
        axes.spines[["top"]].set_visible(False)
    return figure


def _label(evaluation: Evaluation) -> str:
    return evaluation.spec(evaluation.after["primary_metric"]).label


def _before_and_after(axes: Axes, evaluation: Evaluation) -> None:
    """Bars of the primary metric, with its interval, then of the recall of each class."""
    before, after = evaluation.stages["before"], evaluation.after
    metric = after["primary_metric"]
    support = after.get("support") or {}
    shown = support if metric == "accuracy" and len(support) <= MOST_CLASSES else {}
    names = [f"all\n{after['n_primary']}", *(f"{name}\n{count}" for name, count in shown.items())]
    stages = (("before", before, GREY, -0.2), ("after", after, BLUE, 0.2))
    for name, stage, colour, beside in stages:
        recall = stage.get("recall") or {}
        values = [stage["primary"] or 0.0, *(recall.get(one, 0.0) for one in shown)]
        places = [place + beside for place in range(len(values))]
        axes.bar(places, values, width=0.38, color=colour, label=name)
        if interval := stage.get(f"{metric}_interval"):
            middle = stage["primary"]
            reach = [[middle - interval[0]], [interval[1] - middle]]
            axes.errorbar([beside], [middle], yerr=reach, color="black", lw=1.2, capsize=3)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlabel("held-out rows by gold class" if shown else "held-out rows")
    if scale_shares(axes, [before["primary"], after["primary"]], 1.17):  # below the legend
        axes.set_ylim(bottom=0)
        axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    recall_too = ", recall of each class" if shown else ""
    title = f"{_label(evaluation)} of all (bar: 95 %){recall_too}"
    axes.set_title(title, loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    axes.spines[["right"]].set_visible(False)


def _while_training(axes: Axes, history: list[dict[str, Any]], label: str) -> None:
    """What training maximised or minimised, and what validation rows say of it."""
    key = next((key for key in ("reward", "loss") if _points(history, key)[0]), None)
    if key:
        axes.plot(*_points(history, key), color=BLUE, alpha=0.8, lw=1.2)
        axes.set_ylabel(f"training {key}", color=BLUE)
    axes.set_xlabel("training step")
    measure = next((key for key in ("eval_score", "eval_loss") if _points(history, key)[0]), None)
    if measure:
        other = axes.twinx()
        other.plot(*_points(history, measure), color=ORANGE, marker="s", ms=4, lw=1.2)
        name = label if measure == "eval_score" else "loss"
        other.set_ylabel(f"{name} on validation rows", color=ORANGE)
        if measure == "eval_score":
            scale_shares(other, _points(history, measure)[1])
    axes.set_title("while it trained", loc="left", fontsize=10)
    axes.locator_params(axis="x", integer=True)


def _points(history: list[dict[str, Any]], key: str) -> tuple[list[int], list[float]]:
    """Steps and values of what was logged."""
    rows = [row for row in history if row.get(key) is not None]
    return [row["step"] for row in rows], [row[key] for row in rows]
