"""The pictures of a training: the total reward, each reward by itself, bias against variance.

Drawn from the run folder alone, so that they can be drawn again at any time. Figures are made as
objects, without pyplot's global state: a sweep draws many in one process.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sized
from typing import TYPE_CHECKING, Any

from medgrpo.report.bias_variance import Curves, bias_variance_figure
from medgrpo.report.overview import overview_figure
from medgrpo.report.style import BLUE, GREY, ORANGE, scale_shares
from medgrpo.rundir import RunFolder, replacing
from medgrpo.tracking.metrics_log import is_reward_mean, read_log, reward_name

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS_IN_A_ROW = 4
_DRIFT = {  # what is logged of completions, and its label
    "completions/mean_length": "length / {:.0f} tokens",
    "watch/repetition": "repeated 4-grams",
    "watch/distinct_answers": "distinct answers a group",
    "frac_reward_zero_std": "groups without signal",
}


def plot_run(folder: RunFolder) -> None:
    """Draw plots/: those of overview, reward, rewards, watch and bias_variance that have data."""
    history = read_log(folder.metrics)
    rows = [row for row in history if row.get("reward") is not None]
    logged = {key for row in rows for key, value in row.items() if value is not None}
    names = sorted(reward_name(key) for key in logged if is_reward_mean(key))
    figures = {
        "overview": overview_figure(folder),
        "reward": total_figure(rows) if rows else None,
        "rewards": panels_figure(rows, names) if names else None,
        "watch": watch_figure(history, folder.read_watch()) if "watch/score" in logged else None,
        "bias_variance": bias_variance_figure(Curves.of(folder)),
    }
    for name, figure in figures.items():
        if figure is not None:
            with replacing(folder.plots / f"{name}.png") as temporary:
                figure.savefig(temporary, format="png", dpi=150)


def total_figure(rows: list[dict[str, Any]]) -> Figure:
    """The weighted sum of all rewards, its mean over each step's completions."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    steps, reward = _column(rows, "step"), _column(rows, "reward")
    spread = _column(rows, "reward_std")
    band = axes.fill_between(steps, reward - spread, reward + spread, color=BLUE, alpha=0.12, lw=0)
    band.set_label("± 1 standard deviation of the completions")
    _curve(axes, steps, reward, "mean of the step's completions")
    axes.set_title("Total reward (weighted sum) during training", loc="left", fontsize=12)
    axes.set_xlabel("training step")
    axes.set_ylabel("total reward")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def panels_figure(rows: list[dict[str, Any]], names: list[str]) -> Figure:
    """A panel for each reward's unweighted mean, all on the scale 0 to 1."""
    from matplotlib.figure import Figure

    across = min(PANELS_IN_A_ROW, len(names))
    down = math.ceil(len(names) / across)
    figure = Figure(figsize=(max(2.6 * across, 5), 2.1 * down + 0.6), layout="constrained")
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, name in zip(grid, names, strict=False):
        values = _column(rows, f"rewards/{name}/mean")
        ends = _curve(axes, _column(rows, "step"), values, None)
        corner = {"transform": axes.transAxes, "ha": "right", "fontsize": 9, "color": GREY}
        axes.text(0.98, 0.04, ends, **corner)
        axes.set_title("\n".join(textwrap.wrap(name, 27)), fontsize=9)
        axes.tick_params(labelbottom=True, labelsize=8)
        axes.set_ylim(-0.03, 1.03)
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    figure.suptitle("Mean of each reward during training (before weights)", fontsize=11)
    figure.supxlabel("training step", fontsize=9)
    figure.supylabel("mean reward", fontsize=9)
    return figure


def watch_figure(history: list[dict[str, Any]], alarms: list[dict[str, Any]]) -> Figure:
    """What answers are worth while rewards rise, and how completions drift.

    Rewards that an alarm of the hacking watch is about are drawn beside, each with its step.
    """
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    rows = [row for row in history if row.get("watch/score") is not None]
    probes = [row for row in history if row.get("eval_score") is not None]
    steps = _column(rows, "step")
    _curve(top, steps, _column(rows, "watch/score"), "sampled completions")
    found = _column(probes, "step"), _column(probes, "eval_score")
    top.plot(*found, color="black", marker="s", ms=4, lw=1, label="probe: validation rows")
    for alarm in alarms:
        values = _smooth(_column(rows, f"rewards/{alarm['name']}/mean"), _window(rows))
        [line] = top.plot(steps, values, ls="--", label=f"{alarm['name']}: alarm")
        top.axvline(alarm["step"], color=line.get_color(), lw=1, ls=":")
    top.set_title("Primary metric while rewards rise", loc="left", fontsize=12)
    scale_shares(top, [*_column(rows, "watch/score"), *_column(probes, "eval_score")])
    for key, label in _DRIFT.items():
        values = _column(rows, key)
        largest = np.nanmax(values) if key.endswith("length") else 1.0
        values = _smooth(values / (largest or 1.0), _window(rows))
        below.plot(steps, values, label=label.format(largest))
    below.set_ylim(-0.03, 1.03)
    below.set_title("How completions drift", loc="left", fontsize=10)
    below.set_xlabel("training step")
    for axes in (top, below):
        axes.grid(color="#DDDDDD", lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _curve(axes: Axes, steps: np.ndarray, values: np.ndarray, label: str | None) -> str:
    """Each step's value pale, their moving average strong; dots where a line would not show.

    Returns where the average starts and ends, as text.
    """
    marker = "o" if len(steps) <= 20 else None
    axes.plot(steps, values, color=BLUE, alpha=0.45, lw=1, marker=marker, ms=4, label=label)
    window = _window(steps)
    average = _smooth(values, window)
    if window > 1:
        text = f"moving average over {window} points" if label else None
        axes.plot(steps, average, color=ORANGE, lw=2, label=text)
    axes.grid(color="#DDDDDD", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(0, steps[-1] * 1.02 + 0.5)
    axes.locator_params(axis="x", integer=True, nbins=5)
    return f"{average[0]:.2f} → {average[-1]:.2f}"


def _window(rows: Sized) -> int:
    """How many points, an odd number, a moving average is over."""
    return min(25, len(rows) // 10) | 1


def _smooth(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of the known values among the `window` (odd) around each; NaN where none is."""
    import pandas as pd

    return pd.Series(values).rolling(window, center=True, min_periods=1).mean().to_numpy()


def _column(rows: list[dict[str, Any]], key: str) -> np.ndarray:
    """One value a row; NaN where it is missing, which plots as a gap."""
    import numpy as np

    return np.array([row.get(key) for row in rows], dtype=float)
