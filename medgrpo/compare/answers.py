"""Held-out answers of many runs, row by row: for the paired tests, and for reading side by side.

Rows are the same when id, question, options and gold answer are the same: ids alone repeat from
one data set to the next.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medgrpo.compare.records import RunRecord, damaged
from medgrpo.rundir import RunFolder

if TYPE_CHECKING:
    import numpy as np

MOST_QUESTIONS = 40  # shown of a test set
MOST_CHARACTERS = 4_000_000  # of all answers shown
LONGEST = 4_000  # characters shown of one answer

Key = tuple[str, str, str]  # a row: test set, id, and what was asked


@dataclass
class Answers:
    """The answers after training. `scores` [runs, rows] is NaN where a run has no such row."""

    keys: list[Key]
    scores: np.ndarray
    exact: list[bool]  # whether all scores of a run are 0 or 1
    asked: list[set[Key]]  # of each run, its rows

    def unlike(self, jobs: Sequence[RunRecord]) -> dict[str, tuple[int, int]]:
        """Test sets whose runs were asked different rows: how many all of them share, of how many.

        Runs without answers do not count.
        """
        found: dict[str, tuple[int, int]] = {}
        for test_set in dict.fromkeys(job.test_set for job in jobs):
            rows = [
                asked
                for job, asked in zip(jobs, self.asked, strict=True)
                if asked and job.test_set == test_set
            ]
            shared, of = (set.intersection(*rows), set.union(*rows)) if rows else (set(), set())
            if len(shared) < len(of):
                found[test_set] = len(shared), len(of)
        return found


@dataclass
class Question:
    """One held-out row and what the runs (by their places) answered."""

    test_set: str
    question: str
    options: list[str]
    answer: str
    answers: dict[int, dict[str, Any]] = field(default_factory=dict)  # text, predicted, score


def check_answers(job: RunRecord) -> RunRecord:
    """The run; a damaged one where its predictions cannot be read."""
    try:
        for _, row in _rows(job, "response", "predicted"):
            _score(job, row)
            _cut(row["response"])
    except Exception as error:  # whatever another machine, or a full disk, left there
        return damaged(job, error)
    return job


def read_answers(jobs: Sequence[RunRecord]) -> Answers:
    """The score of each run on each held-out row."""
    import numpy as np

    found: list[dict[Key, float]] = []
    for job in jobs:
        found.append({key: _score(job, row) for key, row in _rows(job)})
    keys = list(dict.fromkeys(key for rows in found for key in rows))
    scores = np.array([[rows.get(key, np.nan) for key in keys] for rows in found], dtype=float)
    exact = [all(score in (0.0, 1.0) for score in rows.values()) for rows in found]
    return Answers(keys, scores.reshape(len(jobs), len(keys)), exact, [*map(set, found)])


def most_disputed(jobs: Sequence[RunRecord], answers: Answers) -> list[Question]:
    """The questions on which the runs disagree most, within what a page can hold."""
    chosen = _disputed_keys(answers)
    questions: dict[Key, Question] = {}
    for place, job in enumerate(jobs):
        for key, row in _rows(job, "response", "predicted"):
            if key in chosen:
                asked = Question(job.test_set, row["question"], row["options"], row["answer"])
                questions.setdefault(key, asked).answers[place] = {
                    "text": _cut(row["response"]),
                    "predicted": row["predicted"],
                    "score": _score(job, row),
                }
    room = MOST_CHARACTERS
    shown: list[Question] = []
    for key in chosen:
        room -= sum(len(answer["text"]) for answer in questions[key].answers.values())
        if room < 0 and shown:
            break
        shown.append(questions[key])
    return shown


def _disputed_keys(answers: Answers) -> list[Key]:
    """At most MOST_QUESTIONS rows of each test set, those first that set the runs apart."""
    import numpy as np

    known = np.isfinite(answers.scores)
    count = np.maximum(known.sum(0), 1)
    values = np.where(known, answers.scores, 0.0)
    spread = (values**2).sum(0) / count - (values.sum(0) / count) ** 2
    taken: defaultdict[str, int] = defaultdict(int)
    chosen = []
    for place in np.argsort(-spread, kind="stable"):
        key = answers.keys[place]
        taken[key[0]] += 1
        if taken[key[0]] <= MOST_QUESTIONS:
            chosen.append(key)
    return chosen


def _rows(job: RunRecord, *more: str) -> Iterator[tuple[Key, dict[str, Any]]]:
    """The predictions after training; nothing for a run that did not come so far, or is damaged."""
    import pyarrow.parquet as pq

    file = RunFolder(job.path).predictions
    if job.status == "damaged" or not file.exists():
        return
    wanted = {"id", "question", "options", "answer", job.spec.column, *more}
    columns = [name for name in pq.read_schema(file).names if name in wanted]
    if not columns:  # the file of a run without held-out rows has none
        return
    table = pq.read_table(file, columns=columns, filters=[("stage", "==", "after")])
    for row in table.to_pylist():
        asked = json.dumps([row["question"], row["options"], row["answer"]])
        yield (job.test_set, row["id"], asked), row


def _score(job: RunRecord, row: dict[str, Any]) -> float:
    """What the row is worth in the run's primary metric; NaN where it defines nothing."""
    value = row.get(job.spec.column or "")
    return float("nan") if value is None else float(value)


def _cut(text: str) -> str:
    left = len(text) - LONGEST
    return text if left <= 0 else f"{text[:LONGEST]}\n[{left} more characters in the run's folder]"
