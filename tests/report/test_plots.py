"""The pictures of a training: drawn for any number of steps, and showing what was logged."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.image import imread
from standard_metrics import METRICS

from medgrpo.evaluation.heldout import Result
from medgrpo.evaluation.write import write_evaluation
from medgrpo.metrics.compute import compute_metrics
from medgrpo.metrics.prediction import read
from medgrpo.report.overview import overview_figure
from medgrpo.report.plots import panels_figure, plot_run, total_figure
from medgrpo.rundir import RunFolder
from medgrpo.tracking.metrics_log import MetricsLog

NAMES = ["deepeval_answer_relevancy", "reasoning_tags", "choice_accuracy"]


def logged(steps: int) -> list[dict]:
    """A reward that grows by 0.01 a step."""
    return [
        {"step": step, "reward": step / 50, "reward_std": 0.1}
        | {f"rewards/{name}/mean": step / 100 for name in NAMES}
        for step in range(1, steps + 1)
    ]


@pytest.mark.parametrize("steps", [1, 2, 60])
def test_the_pictures_are_drawn(tmp_path, steps):
    folder = RunFolder(tmp_path)
    log = MetricsLog(folder)
    for row in logged(steps):
        log.log(row.pop("step"), row)
    plot_run(folder)
    assert sorted(path.name for path in folder.plots.iterdir()) == [
        "bias_variance.png",
        "reward.png",
        "rewards.png",
    ]
    for path in folder.plots.iterdir():
        assert imread(path)[..., :3].std() > 0.01  # something is on it


def test_a_run_without_training_has_no_pictures(tmp_path):
    plot_run(RunFolder(tmp_path))
    assert not (tmp_path / "plots").exists()


def test_the_total_shows_every_step_and_its_smoothed_course():
    (axes,) = total_figure(logged(60)).axes
    steps, average = axes.lines
    assert list(steps.get_ydata()) == [step / 50 for step in range(1, 61)]
    assert np.allclose(average.get_ydata()[10:50], steps.get_ydata()[10:50])  # of a line: itself
    assert axes.get_xlabel() == "training step"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "± 1 standard deviation of the completions",
        "mean of the step's completions",
        "moving average over 7 points",
    ]


def test_a_step_without_a_verdict_is_a_gap_that_the_average_bridges():
    rows = logged(60)
    rows[30]["rewards/reasoning_tags/mean"] = None
    panel = panels_figure(rows, ["reasoning_tags"]).axes[0]
    values, average = (line.get_ydata() for line in panel.lines)
    assert np.isnan(values[30])
    assert not np.isnan(average).any()


def test_each_reward_has_a_panel_on_one_scale():
    figure = panels_figure(logged(5), NAMES)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == NAMES
    assert {axes.get_ylim() for axes in panels} == {(-0.03, 1.03)}
    assert [axes.texts[0].get_text() for axes in panels] == ["0.01 → 0.05"] * 3


def test_a_picture_can_be_drawn_again(tmp_path):
    folder = RunFolder(tmp_path)
    log = MetricsLog(folder)
    pictures = []
    for step in (1, 2):
        log.log(step, {"reward": step / 2, "reward_std": 0.0})
        plot_run(folder)
        pictures.append((folder.plots / "reward.png").read_bytes())
    assert pictures[0] != pictures[1]


def test_the_overview_shows_before_and_after_by_class(tmp_path):
    """Bars are the metric of all rows and the recall of each class; lines what was logged."""
    right, wrong = (f"<answer>\n{letter}\n</answer>" for letter in "AB")
    rows = [
        {"id": str(n), "question": "?", "context": [], "options": ["x", "y"], "answer": "x",
         "label": label, "explanation": ""}
        for n, label in enumerate("AAAB")
    ]  # fmt: skip
    folder = RunFolder(tmp_path)
    stages = {}
    for stage, said in {"before": [wrong] * 4, "after": [right, right, wrong, wrong]}.items():
        found = [read(row, text, 5, "reasoning") for row, text in zip(rows, said, strict=True)]
        stages[stage] = Result(compute_metrics(found, METRICS, "accuracy"), found, 0.0)
    write_evaluation(folder, stages, METRICS, "accuracy", evidently=False)
    log = MetricsLog(folder)
    for row in logged(5):
        log.log(row.pop("step"), row)
    log.log(5, {"eval_score": 0.5})
    left, right_axes, score = overview_figure(folder).axes
    assert [bar.get_height() for bar in left.patches] == pytest.approx(
        [0.25, 0, 1, 0.75, 2 / 3, 1]  # before: all, A, B; after
    )
    assert [label.get_text() for label in left.get_xticklabels()] == ["all\n4", "A\n3", "B\n1"]
    assert list(right_axes.lines[0].get_ydata()) == [step / 50 for step in range(1, 6)]
    assert list(score.lines[0].get_ydata()) == [0.5]


def test_a_score_that_is_no_share_is_drawn_whole(tmp_path):
    """A negative log-likelihood may be above 1, and an unclipped score below 0."""
    folder = RunFolder(tmp_path)
    stages = {
        stage: {"primary_metric": "nll", "primary": value, "n": 4, "n_primary": 4, "n_labelled": 4}
        for stage, value in {"before": -0.5, "after": 2.5}.items()
    }
    folder.write_json(folder.evaluation, stages)
    MetricsLog(folder).log(5, {"eval_score": 1.9, "reward": 0.5})
    left, _, score = overview_figure(folder).axes
    low, high = left.get_ylim()
    assert low < -0.5
    assert high > 2.5
    assert score.get_ylim()[1] > 1.9


def test_what_trained_nothing_has_no_overview(tmp_path):
    assert overview_figure(RunFolder(tmp_path)) is None
