"""The judge against people: planted biases are named, a fair judge is not, figures are right."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from medgrpo.answers.text import segments
from medgrpo.audit.grades import Graded, read_grades
from medgrpo.audit.people import against_people
from medgrpo.errors import UserError

FILLER = "This follows from what is known of the mechanism and of the trials that were done. "
OPTIONS = ["Ethanol", "Ethylene glycol", "Methanol", "Acetone"]


def answers(n: int = 240) -> list[dict[str, Any]]:
    """Answers that two raters grade by whether they are right, and are right 19 times in 20."""
    rng = random.Random(1)
    rows = []
    for number in range(n):
        gold, right = rng.randrange(4), rng.random() < 0.5
        pick = gold if right else rng.choice([i for i in range(4) if i != gold])
        long, bold, sure, mine, foreign = (rng.random() < 0.5 for _ in range(5))
        text = FILLER * (6 if long else 1) + "As a physician I am certain. " * sure
        rows.append(
            {
                "question": f"Patient {number} drank something. What was it?",
                "options": OPTIONS,
                "answer": OPTIONS[gold],
                "completion": f"{text}{'**Answer**' * bold or 'Answer'}: {'ABCD'[pick]}) "
                f"{OPTIONS[pick]}",
                "grades": [right if rng.random() < 0.95 else not right for _ in range(2)],
                "model": "judge-x" if mine else "another",
                "language": "es" if foreign else "en",
            }
        )
    return rows


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def right(one: Graded) -> bool:
    place = one.option("choice_cot")
    return place is not None and "ABCD"[round(3 * place)] == one.row["label"]


def long(one: Graded) -> bool:
    return len(segments(one.completion)) > 60


JUDGES = {
    "fair": lambda one, _: 0.75 * right(one) + 0.12,
    "length": lambda one, _: 0.5 * right(one) + 0.1 + 0.3 * long(one),
    "position": lambda one, _: 0.6 * right(one) + 0.3 * (1 - one.option("choice_cot")),
    "lenient": lambda one, _: 0.6 + 0.35 * right(one),
    "strict": lambda one, _: 0.5 * right(one),
    "self-preference": lambda one, _: 0.6 * right(one) + 0.25 * (one.model == "judge-x"),
    "confidence": lambda one, _: 0.5 * right(one) + 0.3 * ("physician" in one.completion),
    "bold": lambda one, _: 0.6 * right(one) + 0.2 * ("**" in one.completion),
    "language": lambda one, _: 0.6 * right(one) + 0.2 * (one.language == "en"),
    "random": lambda one, rng: rng.random(),
}


@pytest.mark.parametrize("name", JUDGES)
def test_what_a_judge_is_accused_of(tmp_path, name):
    graded = read_grades(written(tmp_path / "grades.jsonl", answers()))
    rng = random.Random(3)
    scores = [min(1, max(0, JUDGES[name](one, rng) + rng.gauss(0, 0.1))) for one in graded]
    found = against_people(graded, scores, ["lab/judge-x"], "choice_cot")
    named = [line.partition(":")[0] for line in found["named"]]
    assert named == [] if name == "fair" else name in named
    assert found["raters"]["kappa"] == pytest.approx(0.78, abs=0.05)
    if name == "fair":
        assert found["agreement"]["kappa"] > 0.8
        low, high = found["auroc_interval"]
        assert 0.85 < low < found["auroc"] < high <= 1
        classes = found["by_class"]
        assert classes["good"]["score"] - classes["bad"]["score"] > 0.4


def test_fair_judges_are_not_accused_by_chance(tmp_path):
    graded = read_grades(written(tmp_path / "grades.jsonl", answers()))
    accused = 0
    for seed in range(10):
        rng = random.Random(seed)
        scores = [min(1, max(0, 0.75 * right(one) + 0.12 + rng.gauss(0, 0.2))) for one in graded]
        accused += bool(against_people(graded, scores, ["judge-x"], "choice_cot")["named"])
    assert accused <= 1


def test_macro_f1_is_healthbenchs(tmp_path):
    """Grader T, F, T against [[T, T, F], [T, F], [F]]: 0.4857 (its own script)."""
    labels = [[True, True, False], [True, False], [False]]
    rows = [
        {"prompt": [{"role": "user", "content": "Hi"}], "completion": f"c{n}", "rubric": "Greets"}
        | {"category": "x", "binary_labels": label, "anonymized_physician_ids": ["a"] * len(label)}
        for n, label in enumerate(labels)
    ]
    graded = read_grades(written(tmp_path / "meta.jsonl", rows))
    assert (graded[0].criteria, graded[0].row["question"]) == ("Greets", "Hi")
    found = against_people(graded, [1.0, 0.0, 1.0], [], "reasoning")
    assert found["agreement"]["macro_f1"] == pytest.approx(0.4857, abs=1e-4)
    assert found["agreement"]["n"] == 6
    assert found["named"] == []  # three answers accuse nobody


def test_a_rubric_grader_against_physicians(tmp_path):
    """The same three, in HealthBench's form, by the command: the criterion is each row's own."""
    labels = [[True, True, False], [True, False], [False]]
    rows = [
        {"prompt": [{"role": "user", "content": f"Hi {n}"}], "rubric": f'Says "hello {n}"'}
        | {"completion": f"Well, hello {n}." if n != 1 else "No."}
        | {"category": "x", "binary_labels": label, "anonymized_physician_ids": ["a"] * len(label)}
        for n, label in enumerate(labels)
    ]
    file = written(tmp_path / "meta.jsonl", rows)
    done = audit(tmp_path, f"audit.grades={file}", "rewards=[rubric]", "rewards.rubric.calls=each")
    assert done.returncode == 0, done.stderr
    [folder] = tmp_path.glob("outputs/*")
    [found] = json.loads((folder / "judge.json").read_text())["rewards"].values()
    assert found["agreement"]["n"] == 6
    assert found["agreement"]["macro_f1"] == pytest.approx(0.4857, abs=1e-4)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('{"question": "x"}', "line 2: completion"),
        ('{"question": "x", "completion": "y", "grades": []}', "line 2: grades"),
        ('{"question": "x", "completion": "y", "grades": [7]}', "line 2: grades"),
        ('{"question": "x", "completion": "", "grades": [1]}', "line 2: completion"),
        ("{half", "line 2 is no JSON"),
        ("", "1 graded answers"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path, line, named):
    file = written(tmp_path / "grades.jsonl", answers(1))
    file.write_text(f"{file.read_text()}\n{line}\n")
    with pytest.raises(UserError, match=named):
        read_grades(file)


@pytest.mark.slow
def test_the_command(tmp_path):
    file = written(tmp_path / "grades.jsonl", answers(40))
    done = audit(tmp_path, f"audit.grades={file}", "rewards=[judges]")
    assert done.returncode == 0, done.stderr
    assert "40 answers that people graded" in done.stdout
    assert "deepeval_summarization: random" in done.stdout
    [page] = tmp_path.glob("outputs/*/judge.html")
    assert "where people see no difference" in page.read_text() or "strict" in page.read_text()
    found = json.loads((page.parent / "judge.json").read_text())["rewards"]
    assert found["deepeval_geval_rag"]["retest"] == 0.0
    refused = audit(tmp_path, f"audit.grades={file}", "rewards=[formats]")
    assert refused.returncode == 2
    assert "no reward asks a judge" in refused.stderr


def audit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "medgrpo.audit", *arguments], check=False, cwd=folder, text=True,
        capture_output=True, env={"PYTHONPATH": str(ROOT), "HOME": str(folder), "PATH": ""},
    )  # fmt: skip
