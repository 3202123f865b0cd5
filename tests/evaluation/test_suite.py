"""A suite by the public command: four sets before and after, what they share, what is missing."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import run_medgrpo
from scipy.stats import binomtest

from medgrpo.compare.wandb_file import read_wandb

SETS = ["medqa", "pubmedqa", "bioasq", "medqa_cot"]
SHORT = ["evaluation.limit=20", "trainer.args.max_steps=6", "rewards=[formats,verifiable]"]


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two jobs over lora.r with a suite of four and one set that is nowhere; its folder."""
    cwd = tmp_path_factory.mktemp("suite")
    done = run_medgrpo(
        cwd, "-m", "lora.r=4,8", f"suite=[{','.join(SETS)},medmcqa]", *SHORT,
        "tracking.mode=offline", "output_dir=sweep", HF_HUB_OFFLINE="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (cwd / "sweep" / "stdout.txt").write_text(done.stdout + done.stderr)
    return cwd / "sweep"


@pytest.fixture
def run(sweep: Path) -> Path:
    return sorted(sweep.glob("r-4*"))[0]


def test_each_set_is_answered_at_each_stage_by_its_own_metric(run: Path) -> None:
    suite = read(run, "suite.json")
    assert list(suite["sets"]) == SETS
    assert suite["sets"]["bioasq"]["metric"] == "bioasq_list_f1"
    for name, one in suite["sets"].items():
        own = read(run / "suite" / name, "evaluation.json")
        table = pd.read_parquet(run / "suite" / name / "predictions.parquet")
        assert list(one["stages"]) == ["before", "after"]
        for stage, found in one["stages"].items():
            assert found["primary"] == own[stage]["primary"]
            assert len(table[table.stage == stage]) == 20
            if one["metric"] == "accuracy":
                right = table[table.stage == stage].correct.astype(float)
                assert found["primary"] == pytest.approx(right.mean())
                assert found["interval"][0] < found["primary"] < found["interval"][1]


def test_the_runs_own_set_is_that_of_the_suite_and_is_not_asked_twice(run: Path) -> None:
    own = pd.read_parquet(run / "predictions.parquet")
    other = pd.read_parquet(run / "suite" / "medqa" / "predictions.parquet")
    assert own.response.tolist() == other.response.tolist()
    stages = read(run, "suite.json")["sets"]["medqa"]["stages"]
    assert {stage["answers_cached"] for stage in stages.values()} == {20}
    assert read(run, "evaluation.json")["after"]["answers_cached"] == 0


def test_the_second_job_does_not_ask_the_same_base_again(sweep: Path) -> None:
    second = sorted(sweep.glob("r-8*"))[0]
    suite = read(second, "suite.json")["sets"]
    assert {one["stages"]["before"]["answers_cached"] for one in suite.values()} == {20}
    asked = [one["stages"]["after"]["answers_cached"] for name, one in suite.items()]
    assert asked == [20, 0, 0, 0]  # its own adapter's, which medqa's rows were asked of just before
    evaluation = read(second, "evaluation.json")
    assert evaluation["before"]["answers_cached"] == 20
    assert evaluation["before"]["seconds_saved"] >= 0


def test_averages_and_domains(run: Path) -> None:
    suite = read(run, "suite.json")
    assert {name for name, one in suite["sets"].items() if one["in_domain"]} == {"medqa"}
    for stage in ("before", "after"):
        scores = [suite["sets"][name]["stages"][stage]["primary"] for name in SETS]
        macro = {name: one["stages"][stage] for name, one in suite["macro"].items()}
        assert macro["all"] == pytest.approx(sum(scores) / 4)
        assert macro["in_domain"] == scores[0]
        assert macro["out_of_domain"] == pytest.approx(sum(scores[1:]) / 3)


def test_changes_are_tested_and_corrected_for_the_number_of_sets(run: Path) -> None:
    sets = read(run, "suite.json")["sets"]
    for name in ("medqa", "pubmedqa", "medqa_cot"):
        one = sets[name]
        changed = one["gained"] + one["lost"]
        assert one["p"] == pytest.approx(binomtest(one["gained"], changed).pvalue if changed else 1)
    ordered = sorted(one["p"] for one in sets.values())
    corrected, worst = [], 0.0
    for place, p in enumerate(ordered):
        worst = max(worst, min(1.0, p * (4 - place)))
        corrected.append(worst)
    assert sorted(one["p_holm"] for one in sets.values()) == pytest.approx(corrected)


def test_a_set_that_is_nowhere_is_a_line_and_not_the_end(sweep: Path, run: Path) -> None:
    missing = read(run, "suite.json")["missing"]
    assert list(missing) == ["medmcqa"]
    assert "evaluation.suite.medmcqa.source=path" in missing["medmcqa"]
    printed = (sweep / "stdout.txt").read_text()
    assert "suite: medmcqa is missing" in printed
    assert "Missing from the suite: medmcqa" in printed


def test_everything_that_shows_results_shows_it(sweep: Path, run: Path) -> None:
    printed = (sweep / "stdout.txt").read_text()
    assert "Suite: each set by its primary metric" in printed
    assert "mean, out of" in printed
    table = printed[printed.index("Suite: each set") :].partition("Nothing got worse")[0]
    assert max(map(len, table.splitlines())) <= 80
    report = re.sub("<[^>]+>", " ", (run / "report.html").read_text())
    assert "Suite" in report
    assert "mean, out of domain" in report
    with (sweep / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    suites = [read(Path(row["folder"]), "suite.json")["sets"] for row in rows]
    for row, suite in zip(rows, suites, strict=True):
        for name in SETS:
            assert float(row[f"suite/{name}"]) == suite[name]["stages"]["after"]["primary"]
        assert row["suite/medmcqa"] == ""
        assert row["suite/macro"]
    page = (sweep / "comparison.html").read_text()
    assert re.search(r'<table id="suite">.*<th class="number">pubmedqa</th>', page, re.DOTALL)
    (log,) = run.glob("wandb/offline-run-*/*.wandb")
    tracked = read_wandb(log).summary
    sets = read(run, "suite.json")["sets"]
    assert tracked["suite/pubmedqa"] == sets["pubmedqa"]["stages"]["after"]["primary"]


def test_a_harness_for_any_model_and_a_limit_of_a_sets_own(tmp_path: Path) -> None:
    done = run_medgrpo(
        tmp_path, "trainer=none", "suite=[medqa,bioasq]", "evaluation.suite.bioasq.limit=5",
        "evaluation.limit=8", "evaluation.answer_cache=null", "tracking=local", "output_dir=run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    suite = read(tmp_path / "run", "suite.json")
    assert [len(pd.read_parquet(tmp_path / "run" / "suite" / name / "predictions.parquet"))
            for name in ("medqa", "bioasq")] == [8, 5]  # fmt: skip
    assert suite["sets"]["medqa"]["stages"]["after"]["answers_cached"] == 0  # switched off
    assert {one["in_domain"] for one in suite["sets"].values()} == {False}  # nothing was trained
    assert suite["sets"]["medqa"]["p"] is None
    assert not list((tmp_path / ".cache").glob("**/answers.sqlite"))


@pytest.mark.slow
def test_training_rows_that_are_also_in_a_set_are_counted(tmp_path: Path) -> None:
    rows = [
        {"question": f"Which drug helps in case {i} of {part}?", "answer_idx": "AB"[i % 2]}
        | {"options": {"A": "aspirin", "B": "heparin"}}
        for part, n in (("train", 60), ("test", 20))
        for i in range(n)
    ]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows[:60])))
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows[60:])))
    leaked = [*rows[60:70], *rows[:7]]
    (tmp_path / "other.jsonl").write_text("\n".join(map(json.dumps, leaked)))
    done = run_medgrpo(
        tmp_path, "dataset.source=path", f"dataset.path={tmp_path}", "dataset.drop_limit=1",
        "+dataset.splits={train: train.jsonl, test: test.jsonl}", "suite=[medqa]",
        "evaluation.suite.medqa.source=path", f"evaluation.suite.medqa.path={tmp_path}",
        "+evaluation.suite.medqa.splits={test: other.jsonl}", "rewards=[formats]",
        "trainer.args.max_steps=1", "tracking=local", "output_dir=run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    counted = read(tmp_path / "run", "suite.json")["sets"]["medqa"]["in_training"]
    assert 0 < counted <= 7  # some of the seven were carved into validation
    assert f"suite: {counted} training rows are also rows of medqa" in done.stderr + done.stdout


@pytest.fixture(scope="module")
def trained_on_a_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with mine.jsonl of 60 rows, and `run`, which was trained on it."""
    cwd = tmp_path_factory.mktemp("mine")
    rows = [
        {"question": f"Which drug helps in case {i}?", "answer_idx": "AB"[i % 2]}
        | {"options": {"A": "aspirin", "B": "heparin"}}
        for i in range(60)
    ]
    (cwd / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = run_medgrpo(
        cwd, "dataset.source=path", "dataset.path=mine.jsonl", "rewards=[formats]",
        "trainer.args.max_steps=1", "tracking=local", "output_dir=run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return cwd


@pytest.mark.slow
@pytest.mark.parametrize(
    ("adapter", "file", "tested"),
    [
        (None, "mine.jsonl", 60),  # nobody was trained on any of it
        ("run", "mine.jsonl", 3),  # 57 rows are those that the adapter was trained on
        ("run/adapter", "mine.jsonl", 3),
        ("run", "other.jsonl", 60),
    ],
)
def test_a_file_is_tested_whole_where_nothing_was_trained_on_it(
    trained_on_a_file: Path, tmp_path: Path, adapter: str | None, file: str, tested: int
) -> None:
    cwd = trained_on_a_file
    (cwd / "other.jsonl").write_text((cwd / "mine.jsonl").read_text().replace("case", "number"))
    more = [f"model.adapter={adapter}"] if adapter else []
    done = run_medgrpo(
        cwd, "trainer=none", "dataset.source=path", f"dataset.path={file}", "tracking=local",
        f"output_dir={tmp_path / 'read'}", *more,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "read", "evaluation.json")["after"]["n"] == tested
    assert ("all rows of" in done.stderr + done.stdout) == (tested == 60)
