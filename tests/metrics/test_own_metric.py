"""A metric from a folder outside the checkout, through the public command, in a sweep of two."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import ROOT, run_medgrpo

CODE = '''
from medgrpo.metrics.base import RowMetric


class Verbosity(RowMetric):
    """How many words a response takes: the fewer, the better."""

    label, digits, higher_is_better = "words a response", 2, False

    def value(self, row):
        return len(row["response"].split())
'''
NODE = "# @package metrics\nverbosity:\n  _target_: mine.Verbosity\n"
SWEEP = [
    "--config-dir=conf",
    "-m",
    "metrics=[standard,mine]",
    "trusted_targets=[mine]",
    "dataset.primary_metric=verbosity",
    "trainer=sft",
    "dataset=medqa_cot",
    "dataset.limit=16",
    "trainer.args.num_train_epochs=3",
    "trainer.args.learning_rate=2",
    "trainer.args.load_best_model_at_end=true,false",
    "trainer.args.metric_for_best_model=eval_score",
    "trainer.validation_rows=4",
    "evaluation.limit=4",
    "rewards=[formats]",
    "tracking.mode=disabled",
    "output_dir=sweep",
]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Path:
    cwd = tmp_path_factory.mktemp("outside")
    (cwd / "conf" / "metrics").mkdir(parents=True)
    (cwd / "mine.py").write_text(CODE)
    (cwd / "conf" / "metrics" / "mine.yaml").write_text(NODE)
    done = run_medgrpo(cwd, *SWEEP, PYTHONPATH=f"{cwd}:{ROOT}")
    assert done.returncode == 0, done.stdout + done.stderr
    (cwd / "sweep" / "stdout.txt").write_text(done.stdout)
    return cwd / "sweep"


def test_it_is_shown_wherever_a_run_shows_metrics(sweep):
    run = sweep / "load_best_model_at_end-False"
    after = json.loads((run / "evaluation.json").read_text())["after"]
    assert after["primary"] == after["verbosity"] > 0
    shown = f"{after['verbosity']:.2f}"
    printed = (sweep / "stdout.txt").read_text()
    assert re.search(rf"words a response +[\d.]+ +{shown} ", printed)
    assert "<tr><td>words a response</td>" in (run / "report.html").read_text()
    assert f"| {shown} |" in (run / "adapter" / "README.md").read_text()


def test_its_row_values_are_stored_and_paired(sweep):
    run = sweep / "load_best_model_at_end-False"
    rows = pq.read_table(run / "predictions.parquet").to_pylist()
    assert [row["metric/verbosity"] for row in rows] == [
        len(row["response"].split()) for row in rows
    ]
    (pair,) = json.loads((run / "evaluation.json").read_text())["paired"]
    before, after = ([row for row in rows if row["stage"] == s] for s in ("before", "after"))
    shorter = sum(
        b["metric/verbosity"] > a["metric/verbosity"] for b, a in zip(before, after, strict=True)
    )
    assert (pair["metric"], pair["n"], pair["gained"]) == ("verbosity", 4, shorter)


def test_it_chooses_the_best_checkpoint(sweep):
    run = sweep / "load_best_model_at_end-False"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    scores = [row["eval_score"] for row in rows if row.get("step") and "eval_score" in row]
    assert json.loads((run / "best.json").read_text())["value"] == min(scores) < max(scores)


def test_runs_are_ranked_by_it_where_its_code_is_not(sweep, tmp_path):
    """Comparing reads folders: what another machine ran need not be there."""
    done = subprocess.run(
        [sys.executable, "-m", "medgrpo.compare", str(sweep), "--output", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "test split, verbosity" in done.stdout
    rows = list(csv.DictReader((tmp_path / "comparison.csv").open()))
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores)
    assert scores[0] < scores[1]
    assert [row["rank"] for row in rows] == ["1", "2"]
    page = (tmp_path / "comparison.html").read_text()
    assert "Score: words a response (lower is better)." in page
    assert page.count('"pairs":[{"first":0,"second":1,"rows":4') == 1
