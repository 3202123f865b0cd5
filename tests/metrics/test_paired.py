"""Base against tuned on the same rows: statistics as published, and edges."""

from __future__ import annotations

import json

import pytest
from standard_metrics import METRICS

from medgrpo.dataset.example import Example
from medgrpo.metrics.intervals import bootstrap_interval
from medgrpo.metrics.paired import compare, mcnemar_p, paired_metrics
from medgrpo.metrics.prediction import Prediction, read

ACCURACY = METRICS["accuracy"]
ROW = Example(
    id="0", question="Does it?", context=[], options=[], answer="yes", label="yes", explanation=""
)


def answers(said: str, **changes: str | None) -> list[Prediction]:
    """One row a letter: y answers yes (right), n answers no (wrong)."""
    words = {"y": "yes", "n": "no"}
    return [
        read(
            Example({**ROW, "id": str(i), **changes}),  # type: ignore[typeddict-item]
            f"<answer>{words[letter]}</answer>",
            1,
            "reasoning",
        )
        for i, letter in enumerate(said)
    ]


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        (9, 2, 0.06543),  # Fay 2010, The R Journal 2(1), exact2x2: b=2, c=9
        (150, 86, 3.716e-05),  # Agresti 2013, table 11.1 (prime minister's rating), exact
        (5, 5, 1.0),
        (0, 0, 1.0),
        (0, 6, 0.03125),  # 2 x 0.5^6
    ],
)
def test_mcnemar_as_published(gained: int, lost: int, p: float) -> None:
    assert mcnemar_p(gained, lost) == pytest.approx(p, rel=1e-3)
    assert mcnemar_p(lost, gained) == pytest.approx(p, rel=1e-3)


def test_bootstrap_as_published() -> None:
    """Agresti 2013, section 11.1.2: 1600 paired ratings, -0.04 with 95 % (-0.06, -0.02)."""
    differences = [-1.0] * 150 + [1.0] * 86 + [0.0] * (794 + 570)
    low, high = bootstrap_interval(differences) or (0, 0)
    assert (low, high) == (pytest.approx(-0.0587, abs=1.5e-3), pytest.approx(-0.0213, abs=1.5e-3))
    assert bootstrap_interval(differences) == (low, high)  # the same each time


def test_what_changed_is_counted_row_by_row() -> None:
    found = compare(answers("yynnn"), answers("ynyyy"), ACCURACY)
    assert (found["n"], found["gained"], found["lost"]) == (5, 3, 1)
    assert found["difference"] == pytest.approx(0.4)
    assert found["interval"][0] < 0.4 < found["interval"][1]
    assert found["mcnemar_p"] == pytest.approx(0.625)  # 2 x (1 + 4) / 2^4


@pytest.mark.parametrize("rows", ["", "y", "yy", "nn"])
def test_edges_are_defined_or_none(rows: str) -> None:
    found = compare(answers(rows), answers(rows), ACCURACY)
    json.dumps(found, allow_nan=False)
    assert (found["difference"] is None) == (rows == "")
    assert (found["interval"] is None) == (len(rows) < 2)
    assert found["mcnemar_p"] == (1.0 if rows else None)


def test_lists_have_an_interval_and_no_mcnemar() -> None:
    before = answers("nn", label=None, answer="yes")
    after = answers("yn", label=None, answer="yes")
    found = compare(before, after, METRICS["list_f1"])
    assert (found["difference"], found["gained"], found["mcnemar_p"]) == (0.5, 1, None)


def test_every_stage_is_compared_with_each_earlier_one() -> None:
    stages = {"before": answers("n"), "after_sft": answers("y"), "after": answers("n")}
    pairs = paired_metrics(stages, ACCURACY)
    assert [(pair["from"], pair["to"], pair["difference"]) for pair in pairs] == [
        ("before", "after_sft", 1.0),
        ("before", "after", 0.0),
        ("after_sft", "after", -1.0),
    ]


def test_different_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        compare(answers("y"), answers("yy"), ACCURACY)
