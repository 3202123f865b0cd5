"""The closing table: what changed, and where everything lies, at 80 columns."""

from __future__ import annotations

import pytest

from medgrpo.dataset.example import Example
from medgrpo.evaluation.score import figures, read
from medgrpo.report.closing import closing_table
from medgrpo.rundir import RunFolder
from medgrpo.tracking.metrics_log import MetricsLog

RIGHT = "<reasoning>\nIt is.\n</reasoning>\n<answer>\nA) aspirin\n</answer>"
WRONG = RIGHT.replace("A) aspirin", "B) heparin")


def held_out(responses: list[str], metric: str = "accuracy", label: str | None = "A") -> dict:
    """The figures that evaluation itself makes of these responses to one question."""
    row: Example = {
        "id": "1",
        "question": "Which one blocks cyclooxygenase?",
        "context": [],
        "options": ["aspirin", "heparin"] if label else [],
        "answer": "aspirin",
        "label": label,
        "explanation": "",
    }
    return figures([read(row, text, 10 + 2 * len(text), "reasoning") for text in responses], metric)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> RunFolder:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return RunFolder(tmp_path / "outputs" / "now")


def cells(output: str, figure: str) -> list[str]:
    (line,) = [line for line in output.splitlines() if line.strip().startswith(figure)]
    return line.strip().removeprefix(figure).split()


def test_figures_stand_side_by_side_with_their_difference(folder, capsys):
    before, after = held_out([RIGHT, WRONG, "?", "?"]), held_out([RIGHT, RIGHT, RIGHT, "?"])
    closing_table(before, after, "accuracy", folder)
    output = capsys.readouterr().out
    assert "Held-out rows: 4" in output
    assert cells(output, "accuracy  ") == ["0.250", "0.750", "+0.500"]
    assert cells(output, "accuracy given parsed") == ["0.500", "1.000", "+0.500"]
    assert cells(output, "unparsed rate") == ["0.500", "0.250", "-0.250"]
    assert cells(output, "format compliance") == ["0.500", "0.750", "+0.250"]
    assert cells(output, "95 % interval") == ["0.046", "to", "0.699", "0.301", "to", "0.954"]
    assert len(cells(output, "mean length in tokens")) == 3
    assert max(map(len, output.splitlines())) <= 80


def test_a_list_metric_has_no_interval_and_no_accuracy(folder, capsys):
    before = held_out(["?"], "list_f1", label=None)
    after = held_out([RIGHT.replace("A) ", "")], "list_f1", label=None)
    closing_table(before, after, "list_f1", folder)
    output = capsys.readouterr().out
    assert cells(output, "list_f1") == ["0.000", "1.000", "+1.000"]
    assert "interval" not in output
    assert "accuracy" not in output


def test_the_reward_row_compares_the_first_and_the_last_tenth(folder, capsys):
    log = MetricsLog(folder)
    for step in range(1, 21):
        log.log(step, {"reward": step / 10})
    closing_table({}, {}, "accuracy", folder)
    output = capsys.readouterr().out
    assert cells(output, "training reward, first/last tenth") == ["0.150", "1.950", "+1.800"]


def test_it_names_what_lies_in_the_folder_and_nothing_else(folder, capsys):
    folder.write_json(folder.evaluation, {})
    folder.adapter.mkdir()
    closing_table({}, {}, "accuracy", folder)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Everything is in outputs/now"
    assert [line.split()[0] for line in lines[1:]] == ["evaluation.json", "adapter/"]
