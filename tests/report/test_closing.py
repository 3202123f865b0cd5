"""The closing table: what changed, and where everything lies, at 80 columns."""

from __future__ import annotations

import pytest
from standard_metrics import METRICS

from medgrpo.dataset.example import Example
from medgrpo.evaluation.heldout import Result
from medgrpo.evaluation.write import write_evaluation
from medgrpo.judge.usage import Usage, report
from medgrpo.metrics.compute import compute_metrics
from medgrpo.metrics.prediction import read
from medgrpo.report.closing import closing_table
from medgrpo.rundir import RunFolder
from medgrpo.tracking.metrics_log import MetricsLog

RIGHT = "<reasoning>\nIt is.\n</reasoning>\n<answer>\nA) aspirin\n</answer>"
WRONG = RIGHT.replace("A) aspirin", "B) heparin")


def held_out(responses: list[str], metric: str = "accuracy", label: str | None = "A") -> Result:
    """What evaluation itself makes of these responses to as many questions."""
    row: Example = {
        "id": "1",
        "question": "Which one blocks cyclooxygenase?",
        "context": [],
        "options": ["aspirin", "heparin"] if label else [],
        "answer": "aspirin",
        "label": label,
        "explanation": "",
    }
    predictions = [read(row, text, 10 + 2 * len(text), "reasoning") for text in responses]
    return Result(compute_metrics(predictions, METRICS, metric), predictions, 0.0)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> RunFolder:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return RunFolder(tmp_path / "outputs" / "now")


@pytest.fixture
def close(folder, capsys):
    """`close(stages, metric)`: the table of these stages, as printed."""

    def printed(stages: dict[str, Result], metric: str = "accuracy") -> str:
        write_evaluation(folder, stages, METRICS, metric, evidently=False)
        closing_table(folder)
        return capsys.readouterr().out

    return printed


def test_one_sentence_says_what_was_found_and_how_sure_it_is(close):
    wrong, mixed, right = held_out([WRONG] * 40), held_out([RIGHT, WRONG] * 20), [RIGHT] * 40
    told = " ".join(close({"before": wrong, "after": held_out(right)}).split())
    assert "Accuracy rose from 0.000 to 1.000 on 40 held-out rows (+1.000, 95 % interval" in told
    told = " ".join(close({"before": held_out(right), "after": mixed}).split())
    assert "Accuracy fell from 1.000 to 0.500 on 40 held-out rows (-0.500, " in told
    assert ", which is worse." in told
    told = " ".join(close({"before": mixed, "after": held_out([WRONG, RIGHT] * 20)}).split())
    assert "No change of accuracy was shown: from 0.500 to 0.500" in told
    assert "which may be chance." in told
    told = " ".join(close({"after": mixed}).split())
    assert "Accuracy is 0.500 on 40 held-out rows, 95 % interval 0.352 to 0.648." in told


def test_fewer_tokens_are_no_harm(close):
    """What is better when it falls is not called worse."""
    long = held_out([RIGHT + " " * 40] * 30, "mean_tokens")
    told = close({"before": long, "after": held_out([RIGHT] * 30, "mean_tokens")}, "mean_tokens")
    assert "worse" not in told.split("Mean tokens fell")[1].split(".\n")[0]


def cells(output: str, metric: str) -> list[str]:
    rows = [line.strip() for line in output.splitlines() if "  " in line.strip()]  # of tables
    (line,) = [line for line in rows if line.startswith(metric)]
    return line.strip().removeprefix(metric).split()


def test_metrics_stand_side_by_side_with_their_difference(close):
    before, after = held_out([RIGHT, WRONG, "?", "?"]), held_out([RIGHT, RIGHT, RIGHT, "?"])
    output = close({"before": before, "after": after})
    assert "Held-out rows: 4" in output
    assert cells(output, "accuracy  ") == ["0.250", "0.750", "+0.500"]
    assert cells(output, "accuracy given parsed") == ["0.500", "1.000", "+0.500"]
    assert cells(output, "unparsed rate") == ["0.500", "0.250", "-0.250"]
    assert cells(output, "format compliance") == ["0.500", "0.750", "+0.250"]
    assert cells(output, "random baseline") == ["0.500", "0.500", "+0.000"]
    assert cells(output, "95 % interval") == ["0.046", "to", "0.699", "0.301", "to", "0.954"]
    assert len(cells(output, "mean tokens")) == 3
    assert "after against before: +0.500 (95 %" in output
    assert "2 gained, 0 lost, p = 0.5" in output
    assert max(map(len, output.splitlines())) <= 80


def test_each_stage_has_a_column_and_is_compared_with_the_others(close):
    stages = {name: held_out([RIGHT] * n + [WRONG] * (4 - n)) for name, n in
              (("before", 0), ("after_sft", 3), ("after", 4))}  # fmt: skip
    output = close(stages)
    assert cells(output, "accuracy  ") == ["0.000", "0.750", "1.000", "+1.000"]
    for pair in ("after sft against before", "after against before", "after against after sft"):
        assert pair in output
    assert max(map(len, output.splitlines())) <= 80


def test_a_list_metric_has_no_interval_and_no_accuracy(close):
    before = held_out(["?"], "list_f1", label=None)
    after = held_out([RIGHT.replace("A) ", "")], "list_f1", label=None)
    output = close({"before": before, "after": after}, "list_f1")
    assert cells(output, "list F1 (fuzzy)") == ["0.000", "1.000", "+1.000"]
    assert "interval" not in output
    assert "accuracy" not in output


def test_no_rows_are_not_defined(close):
    output = close({"before": held_out([]), "after": held_out([])})
    assert cells(output, "accuracy") == ["-", "-", "-"]
    assert "after against before: not defined" in output


def test_the_reward_row_compares_the_first_and_the_last_tenth(folder, close):
    log = MetricsLog(folder)
    for step in range(1, 21):
        log.log(step, {"reward": step / 10})
    output = close({"before": held_out([RIGHT]), "after": held_out([RIGHT])})
    assert cells(output, "reward, first and last tenth") == ["0.150", "1.950", "+1.800"]


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (0.25, "Best checkpoint: step 7, by eval_loss = 0.2500"),
        (None, "Best checkpoint: the last, step 7 (no validation rows were measured)"),
    ],
)
def test_the_best_checkpoint_is_named(folder, close, value, line):
    folder.write_json(folder.best, {"step": 7, "epoch": 1, "measure": "eval_loss", "value": value})
    assert line in close({"before": held_out([RIGHT]), "after": held_out([RIGHT])})


def test_it_names_what_lies_in_the_folder_and_nothing_else(folder, close):
    folder.adapter.mkdir(parents=True)
    output = close({"before": held_out([RIGHT]), "after": held_out([RIGHT])})
    lines = output[output.index("Everything is in") :].splitlines()
    assert lines[0] == "Everything is in outputs/now"
    assert [line.split()[0] for line in lines[1:]] == [
        "evaluation.json",
        "predictions.parquet",
        "adapter/",
    ]


def test_what_judging_took_is_said(close, folder):
    usage = Usage(verdicts=1234, failures=5, calls=70, cache_hits=8, verdict_hits=9, shared=1)
    usage.tokens_in, usage.tokens_out, usage.cost = 1_000_000, 40_000, 0.126
    usage.latencies.extend([0.5, 0.5, 2.0])
    folder.summary["judge"] = report({"deepeval_answer_relevancy": usage})
    output = close({"before": held_out([WRONG]), "after": held_out([RIGHT])})
    assert "Judge: 1,234 verdicts, 5 failed, 70 calls, 18 answered again, $0.13" in output
    row = ["1234", "5", "70", "18", "1,040k", "0.5/2.0", "0.13"]
    assert cells(output, "deepeval_answer_relevancy") == row
    assert cells(output, "total") == row
    assert max(map(len, output.splitlines())) <= 80
