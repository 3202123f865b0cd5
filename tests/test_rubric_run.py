"""Rubrics through the public command, on the embedded conversations."""

import json

import pandas as pd
import pytest
from conftest import ROOT


def held_out(folder) -> dict:
    return json.loads((folder / "evaluation.json").read_text())


def test_the_score_says_who_graded_and_how(medgrpo, tmp_path):
    done = medgrpo("dataset=healthbench", "trainer=none", "evaluation.limit=20", "tracking=local",
                   "prompt=plain", "output_dir=run")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Graded by lexical, a stand-in that counts words: a question a criterion" in done.stdout
    after = held_out(tmp_path / "run")["after"]
    assert after["grader"] == {"judge": "lexical", "calls": "each", "weights": {}}
    assert after["primary"] == after["rubric_score"] is not None
    assert set(after["rubric_score_details"]["tags"]) == {"axis:accuracy", "axis:completeness"}
    graded = pd.read_parquet(tmp_path / "run" / "predictions.parquet")["criteria"].map(json.loads)
    assert graded.map(len).eq(3).all()
    report = (tmp_path / "run" / "report.html").read_text()
    assert "By criteria" in report
    assert "Graded by lexical, a stand-in that counts words" in report
    assert "95 % interval (bootstrap over rows)" in report
    assert "axis:completeness" in report


def test_all_criteria_in_one_question_is_not_the_protocol(medgrpo, tmp_path):
    done = medgrpo("dataset=healthbench", "trainer=none", "evaluation.limit=4", "tracking=local",
                   "grader.calls=all", "output_dir=run")  # fmt: skip
    assert "which is not HealthBench's protocol" in " ".join(done.stdout.split())


def test_training_without_the_reward_is_graded_too_and_its_verdicts_are_kept(
    medgrpo, tmp_path, monkeypatch
):
    brief = ["trainer.args.max_steps=2", "evaluation.limit=8", "tracking=local"]
    done = medgrpo("dataset=healthbench", "rewards=[formats]", *brief, "output_dir=without")
    assert done.returncode == 0, done.stdout + done.stderr
    assert held_out(tmp_path / "without")["before"]["rubric_score"] is not None
    done = medgrpo("dataset=healthbench", "rewards=[rubric,formats]", *brief, "output_dir=with")
    assert "rubric: no answers earn, on 3 rows: empty 0.00, off-topic 0.00" in done.stdout
    [file, *_] = sorted((tmp_path / "with" / "completions").glob("*.parquet"))
    kept = pd.read_parquet(file)["rubric/criteria"].map(json.loads)
    assert {one["met"] for grades in kept for one in grades} == {True, False}
    says = executed(tmp_path / "with", monkeypatch)
    assert "criteria graded by lexical (calls=each): {'after': 24, 'before': 24}" in says
    assert "fault: " in says
    assert "image/png" in says


def executed(run, monkeypatch) -> str:
    """What notebooks/rubric_criteria.ipynb shows of a run."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("MEDGRPO_RUN", str(run))
    notebook = nbformat.read(ROOT / "notebooks" / "rubric_criteria.ipynb", as_version=4)
    for cell in notebook.cells:  # those that are kept are not what it shows of this run
        cell.update({"outputs": []} if "outputs" in cell else {})
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(str(one.get("text", one.get("data", {}))) for one in outputs)


def test_a_rubric_score_needs_a_grader(medgrpo):
    done = medgrpo("dataset=healthbench", "grader=none", "trainer=none")
    assert done.returncode == 2
    assert "add grader=rubric" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_reward_raises_what_held_out_answers_meet(medgrpo, tmp_path, seed):
    """And more than formats alone, which teach the model nothing but tags."""
    rises = {}
    for rewards in ("[rubric,formats]", "[formats]"):
        folder = tmp_path / rewards.strip("[]").replace(",", "-")
        done = medgrpo("dataset=healthbench", f"rewards={rewards}", f"seed={seed}",
                       "tracking=local", f"output_dir={folder}")  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        found = held_out(folder)
        rises[rewards] = [
            found["after"][name] - found["before"][name]
            for name in ("criteria_met", "rubric_score")
        ]
    assert rises["[rubric,formats]"][0] > 0.05
    assert rises["[rubric,formats]"][1] > rises["[formats]"][1] + 0.1
