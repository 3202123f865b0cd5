"""Every metric of the table is in all that shows results, and may decide between runs."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from standard_metrics import METRICS

from medgrpo.compare.comparison import compare
from medgrpo.dataset.example import Example
from medgrpo.evaluation.heldout import Result
from medgrpo.evaluation.write import write_evaluation
from medgrpo.metrics import table
from medgrpo.metrics.base import Metric, RowMetric
from medgrpo.metrics.compute import compute_metrics
from medgrpo.metrics.prediction import Prediction, read
from medgrpo.metrics.recorded import Evaluation
from medgrpo.report.closing import closing_table
from medgrpo.report.model_card import model_card
from medgrpo.report.run_report import write_report
from medgrpo.rundir import RunFolder
from medgrpo.tracking.mirror import headline_metrics
from medgrpo.trainer.machine import this_machine

NO_ROW_VALUE = {"macro_f1", "majority_baseline", "random_baseline"}


def predictions(right: int, rows: int = 8) -> list[Prediction]:
    """Choices and lists in turn; the first `right` are answered, and more briefly than the rest."""
    found = []
    for number in range(rows):
        labelled = number % 2 == 0
        row = Example(
            id=str(number),
            question=f"Which one is {number}?",
            context=[],
            options=["aspirin", "heparin"] if labelled else [],
            answer="aspirin",
            label="A" if labelled else None,
            explanation="",
        )
        answer = "<reasoning>\nSo.\n</reasoning>\n<answer>\naspirin\n</answer>"
        said, tokens = (answer, 20) if number < right else ("I cannot tell.", 40)
        found.append(read(row, said, tokens, "reasoning", [(said, False)]))
    return found


def finished_run(
    path: Path, primary_metric: str, right: int, metrics: dict[str, Metric] = METRICS
) -> RunFolder:
    """A run of which `right` of 8 answers are right after training, and 2 before."""
    folder = RunFolder(path)
    stages = {}
    for name, answers in (("before", predictions(2)), ("after", predictions(right))):
        computed = compute_metrics(answers, metrics, primary_metric)
        stages[name] = Result(computed, answers, 0.0)
    write_evaluation(folder, stages, metrics, primary_metric, evidently=False)
    folder.update_summary(
        status="finished",
        started="2026-01-01T00:00:00+00:00",
        score=stages["after"].score,
        primary_metric=primary_metric,
    )
    config = {
        "dataset": {"_target_": "medgrpo.dataset.medqa.MedQA", "primary_metric": primary_metric},
        "model": {"name_or_path": "tiny"},
        "trainer": {"_target_": "medgrpo.trainer.grpo.GRPO"},
        "lora": {"r": right},
        "rewards": {},
        "profile": {"name": "laptop"},
    }
    choices = {"dataset": "medqa", "model": "tiny", "trainer": "grpo"}
    hydra = {"hydra": {"runtime": {"choices": choices}}}
    (path / ".hydra").mkdir()
    (path / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
    (path / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump(hydra))
    passport = {"command": [], "seed": 1, "config": {}, "dataset": {}, "rows": []}
    folder.write_json(folder.passport, {**passport, **this_machine()})
    return folder


def test_the_config_chooses_all_of_the_table() -> None:
    classes = {
        each
        for _, each in inspect.getmembers(table, inspect.isclass)
        if issubclass(each, RowMetric) and each not in (RowMetric, table.Labelled)
    }
    assert {type(metric) for metric in METRICS.values()} == classes


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> tuple[RunFolder, dict[str, str]]:
    """A run, and each place that shows its metrics as text."""
    folder = finished_run(tmp_path_factory.mktemp("shown") / "run", "accuracy", 6)
    write_report(folder)
    config = yaml.safe_load((folder.path / ".hydra" / "config.yaml").read_text())
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        closing_table(folder)
    return folder, {
        "closing table": re.sub(" {2,}", "\n", printed.getvalue()),
        "report": re.sub("<[^>]+>", "\n", folder.report.read_text()),
        "model card": model_card(config, Evaluation.read(folder)).replace("|", "\n"),
    }


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_shown_everywhere(
    name: str, shown: tuple[RunFolder, dict[str, str]]
) -> None:
    folder, places = shown
    for place, text in places.items():
        assert METRICS[name].label in map(str.strip, text.splitlines()), place
    evaluation = json.loads(folder.evaluation.read_text())
    assert evaluation["after"][name] is not None
    assert headline_metrics(folder)[name] == evaluation["after"][name]


@pytest.mark.parametrize("name", METRICS)
def test_any_metric_may_decide_between_runs(name: str, tmp_path: Path) -> None:
    """The ranking follows it, and rows are compared by it, wherever it has a value of each."""
    for run, right in (("few", 3), ("many", 8)):
        finished_run(tmp_path / run, name, right)
    comparison = compare([tmp_path])
    scores = {job.name: job.score for job in comparison.jobs}
    better = max if METRICS[name].higher_is_better else min
    assert scores[comparison.jobs[0].name] == better(scores.values())
    assert comparison.ranks == ([1, 1] if scores["few"] == scores["many"] else [1, 2])
    assert bool(comparison.pairs) == (name not in NO_ROW_VALUE)
    for pair in comparison.pairs:
        assert pair.second_better == 0
    assert comparison.settings[0].jobs[0] is comparison.jobs[0]


def test_gains_and_losses_follow_the_direction(tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "run", "mean_tokens", 6)
    (pair,) = Evaluation.read(folder).paired
    assert (pair["difference"], pair["gained"], pair["lost"]) == (-10.0, 4, 0)


def test_what_repeats_the_accuracy_is_not_shown(tmp_path: Path) -> None:
    """Where every row has a label, list F1 and token F1 say nothing of their own."""
    labelled = [row for row in predictions(6) if row["label"]]
    stage = Result(compute_metrics(labelled, METRICS, "accuracy"), labelled, 0.0)
    written = write_evaluation(
        RunFolder(tmp_path), {"before": stage, "after": stage}, METRICS, "accuracy", evidently=False
    )
    labels = [line.label for line in written.lines()]
    assert labels[0] == "accuracy"
    assert not {"list F1 (fuzzy)", "token F1"} & set(labels)


def test_only_what_no_column_holds_gets_one(tmp_path: Path) -> None:
    """predictions.parquet of the shipped metrics is what it was before there was a table."""

    def columns(folder: RunFolder) -> list[str]:
        return pq.read_schema(folder.predictions).names

    plain = columns(finished_run(tmp_path / "plain", "accuracy", 3))
    assert not [name for name in plain if name.startswith("metric/")]
    assert plain[-1] == "list_f1"
    assert columns(finished_run(tmp_path / "f1", "list_f1", 3)) == plain
    own = METRICS | {"mine": RowMetric(name="mine")}
    assert columns(finished_run(tmp_path / "own", "accuracy", 3, own)) == [*plain, "metric/mine"]


class Broken(RowMetric):
    def value(self, row: Prediction) -> float:
        return float("nan")


def test_nan_is_not_defined(tmp_path: Path) -> None:
    """JSON has none: it would end a run after its training."""
    folder = finished_run(tmp_path / "run", "mine", 3, METRICS | {"mine": Broken(name="mine")})
    evaluation = Evaluation.read(folder)
    assert evaluation.after["primary"] is None
    assert evaluation.paired[0]["difference"] is None


def test_a_run_before_there_was_a_table_is_read(tmp_path: Path) -> None:
    for run, right in (("few", 3), ("many", 8)):
        folder = finished_run(tmp_path / run, "accuracy", right)
        written = json.loads(folder.evaluation.read_text())
        del written["metrics"]
        folder.write_json(folder.evaluation, written)
    comparison = compare([tmp_path])
    assert [job.name for job in comparison.jobs] == ["many", "few"]
    assert (comparison.pairs[0].rows, comparison.pairs[0].first_better) == (4, 2)
