"""report.html of a real run: complete, self-contained, and safe from what models write."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from standard_metrics import METRICS

from medgrpo.report.run_report import write_report
from medgrpo.rundir import RunFolder


class Page(HTMLParser):
    """Its text, tags and attributes that name something to load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self.loads, self.open = "", [], [], []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(sft_run: Path) -> Page:
    return Page((sft_run / "report.html").read_text("utf-8"))


def test_it_is_well_formed_and_loads_nothing(page: Page) -> None:
    assert not page.open
    assert page.loads
    assert all(value.startswith("data:") for value in page.loads)
    assert "script" not in page.tags


def test_it_tells_what_was_run_and_found(page: Page, sft_run: Path) -> None:
    evaluation = json.loads((sft_run / "evaluation.json").read_text())
    text = re.sub(r"\s+", " ", page.text)
    assert "trainer=sft dataset=medqa_cot" in text
    assert "no medical device" in text
    for stage in ("before", "after"):
        assert f"{evaluation[stage]['accuracy']:.3f}" in text
        assert f"{evaluation[stage]['accuracy_interval'][0]:.3f} to" in text
    assert "McNemar" in text
    assert "Over-fitting begins in epoch" in text
    assert "Merged model against adapter, 20 rows: they agree" in text
    for label in evaluation["after"]["recall"]:
        assert label in text
    assert "choice_accuracy" in text
    assert json.loads((sft_run / "passport.json").read_text())["dataset"]["train"]["sha256"] in text


def test_twenty_questions_with_both_answers(page: Page, sft_run: Path) -> None:
    rows = pq.read_table(sft_run / "predictions.parquet").to_pylist()
    shown = [row for row in rows if row["response"].strip() and row["response"] in page.text]
    assert page.tags.count("details") == 20 + 3
    assert len(shown) >= 2 * 20
    assert {row["stage"] for row in shown} == {"before", "after"}


def test_an_interval_is_called_what_it_is(sft_run: Path, tmp_path: Path) -> None:
    """Also of a share that has details, as the accuracy by likelihood has."""
    shutil.copytree(sft_run, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    stages = json.loads(folder.evaluation.read_text())
    for details, name in (({"coverage": {"50%": 1.0}}, "Wilson"), ({"bootstrap_std": 0.1}, "boot")):
        stages["after"]["accuracy_details"] = details
        folder.write_json(folder.evaluation, stages)
        write_report(folder)
        assert f"its 95 % interval ({name}" in folder.report.read_text("utf-8")


def test_what_a_model_writes_stays_text(sft_run: Path, tmp_path: Path) -> None:
    shutil.copytree(sft_run, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    rows = pq.read_table(folder.predictions).to_pylist()
    rows[0]["response"] = rows[0]["question"] = "</pre><script>alert(1)</script>{{ 7 * 7 }}"
    folder.write_parquet(folder.predictions, rows)
    write_report(folder)
    page = Page(folder.report.read_text("utf-8"))
    assert "script" not in page.tags
    assert "<script>alert(1)</script>{{ 7 * 7 }}" in page.text


def test_a_run_of_no_rows_and_no_training_has_a_report(sft_run: Path, tmp_path: Path) -> None:
    """What `trainer=none evaluation=none` leaves behind."""
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(sft_run / ".hydra", folder.path / ".hydra")
    shutil.copy(sft_run / "passport.json", folder.passport)
    folder.update_summary(started="2026-01-01T00:00:00+00:00")
    from medgrpo.evaluation.heldout import Result
    from medgrpo.evaluation.write import write_evaluation
    from medgrpo.metrics.compute import compute_metrics

    nothing = Result(compute_metrics([], METRICS, "accuracy"), [], 0.0)
    write_evaluation(
        folder, {"before": nothing, "after": nothing}, METRICS, "accuracy", evidently=False
    )
    write_report(folder)
    page = Page(folder.report.read_text("utf-8"))
    assert not page.open
    assert "accuracy – → –" in re.sub(r"\s+", " ", page.text)
