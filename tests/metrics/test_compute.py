"""The metrics of held-out predictions, and what becomes of them at the edges."""

from __future__ import annotations

import json
from typing import Any

import pytest
from standard_metrics import METRICS

from medgrpo.config.conflicts import IN_A_STAGE
from medgrpo.dataset.example import Example
from medgrpo.errors import UserError
from medgrpo.metrics.base import require
from medgrpo.metrics.compute import compute_metrics
from medgrpo.metrics.intervals import wilson
from medgrpo.metrics.prediction import Prediction, read

YES_NO = Example(
    id="1", question="Does it?", context=[], options=[], answer="yes", label="yes", explanation=""
)
LIST = Example({**YES_NO, "answer": "BRCA1; BRCA2", "label": None})
CHOICE = Example({**YES_NO, "options": ["Ethanol", "Glycol"], "answer": "Glycol", "label": "B"})


def computed(predictions: list[Prediction], primary_metric: str) -> dict[str, Any]:
    return compute_metrics(predictions, METRICS, primary_metric)


def response(answer: str) -> str:
    return f"<reasoning>\nSo.\n</reasoning>\n<answer>\n{answer}\n</answer>"


def yes_no(*pairs: tuple[str, str]) -> list[Prediction]:
    """Predictions of (gold, said)."""
    rows = [(Example({**YES_NO, "label": gold, "answer": gold}), said) for gold, said in pairs]
    return [read(row, response(said), 10, "reasoning") for row, said in rows]


def test_worked_example() -> None:
    """Ten answers, counted by hand."""
    said = computed(
        yes_no(
            *[("yes", "yes")] * 4, ("yes", "no"), ("yes", "?"), ("no", "no"), ("no", "yes"),
            ("maybe", "yes"), ("maybe", "I cannot say"),
        ),
        "accuracy",
    )  # fmt: skip
    assert said["n"] == said["n_labelled"] == 10
    assert said["primary"] == said["accuracy"] == 0.5
    assert said["accuracy_parsed"] == 5 / 8
    assert (said["unparsed"], said["unparsed_rate"]) == (2, 0.2)
    assert said["support"] == {"maybe": 2, "no": 2, "yes": 6}
    assert said["recall"] == {"maybe": 0.0, "no": 0.5, "yes": pytest.approx(4 / 6)}
    # F1: yes 2*4/(6+6), no 2*1/(2+2), maybe 0
    assert said["macro_f1"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert said["majority_baseline"] == 0.6
    assert said["accuracy_interval"] == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert said["format_compliance"] == 1.0
    assert said["mean_tokens"] == 10


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3 (Wilson)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_as_published(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_the_interval_of_nothing_is_not_defined() -> None:
    assert wilson(0, 0) is None


@pytest.mark.parametrize(
    "predictions",
    [
        [],
        yes_no(("yes", "yes")),
        yes_no(("yes", "?")),
        yes_no(("yes", "?"), ("no", "?")),
        yes_no(("yes", "yes"), ("yes", "no")),
        [read(LIST, "", 0, "reasoning")],
    ],
    ids=["no rows", "one row", "one unparsed", "all unparsed", "one class", "no labels"],
)
@pytest.mark.parametrize("metric", ["accuracy", "list_f1", "token_f1"])
def test_edges_give_metrics_or_none(predictions: list[Prediction], metric: str) -> None:
    """json refuses NaN here; nothing raises."""
    said = computed(predictions, metric)
    assert json.loads(json.dumps(said, allow_nan=False))["n"] == len(predictions)
    assert set(said) == set(computed(yes_no(("yes", "yes")), metric))


def test_no_metric_can_take_the_name_of_something_else() -> None:
    beside = computed([], "accuracy").keys() - METRICS.keys() - {"accuracy_interval"}
    of_answering = {"prompts_trimmed", "responses_cut_off", "answers_cached", "seconds_saved"}
    assert beside | of_answering | {"answered_by", "grader"} == set(IN_A_STAGE)


def test_what_has_no_rows_is_not_defined() -> None:
    nothing = computed([], "accuracy")
    undefined = {key for key, value in nothing.items() if value is None}
    assert undefined == {
        "primary", "accuracy", "accuracy_interval", "accuracy_parsed", "majority_baseline",
        "macro_f1", "list_f1", "token_f1", "unparsed_rate", "format_compliance", "mean_tokens",
        "random_baseline", "maj_at_k",
    }  # fmt: skip
    unparsed = computed(yes_no(("yes", "?")), "accuracy")
    assert (unparsed["accuracy"], unparsed["accuracy_parsed"]) == (0.0, None)


def test_lists_and_choices_in_one_set() -> None:
    """BioASQ asks for both: accuracy is about labelled rows, F1 about all."""
    said = computed(
        [
            read(LIST, response("BRCA1"), 4, "reasoning"),
            read(LIST, response(""), 2, "reasoning"),
            read(YES_NO, response("yes"), 3, "reasoning"),
            read(CHOICE, response("A) Ethanol"), 3, "reasoning"),
        ],
        "list_f1",
    )
    assert said["primary"] == said["list_f1"] == pytest.approx((2 / 3 + 0 + 1 + 0) / 4)
    assert (said["n"], said["n_labelled"], said["accuracy"]) == (4, 2, 0.5)
    assert said["unparsed"] == 1
    assert said["format_compliance"] == 0.75
    assert said["mean_tokens"] == 3


def test_style_decides_how_answers_are_read() -> None:
    said = "It was antifreeze.\nTherefore, the answer is (B) Glycol."
    assert read(CHOICE, said, 9, "choice_cot")["complies"]
    assert not read(CHOICE, said, 9, "reasoning")["complies"]
    assert read(CHOICE, said, 9, "choice_cot")["correct"] is True


def test_guessing_depends_on_the_number_of_options() -> None:
    rows = [read(CHOICE, "", 0, "reasoning"), *yes_no(("yes", "yes"))]
    assert computed(rows, "accuracy")["random_baseline"] == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_the_commonest_sample_counts_and_unparsed_ones_do_not_vote() -> None:
    def voted(*answers: str) -> float | None:
        row = read(YES_NO, "", 0, "reasoning", [(response(answer), False) for answer in answers])
        return computed([row], "accuracy")["maj_at_k"]

    assert voted("yes", "no", "yes") == 1.0
    assert voted("no", "no", "yes") == 0.0
    assert voted("?", "?", "yes") == 1.0
    assert voted("?", "?", "?") == 0.0
    assert voted("no", "yes") == 0.0  # a tie: the first
    assert voted() is None


def test_subgroups_have_their_own_metrics() -> None:
    rows = yes_no(("yes", "yes"), ("yes", "no"), ("no", "no"))
    for row, group in zip(rows, ("step1", "step1", "step2&3"), strict=True):
        row["group"] = group
    groups = computed(rows, "accuracy")["groups"]
    assert {name: (found["n"], found["accuracy"]) for name, found in groups.items()} == {
        "step1": (2, 0.5),
        "step2&3": (1, 1.0),
    }
    assert groups["step1"]["interval"] == pytest.approx(wilson(1, 2))
    assert computed(yes_no(("yes", "yes")), "accuracy")["groups"] == {}


def test_unknown_metric_is_the_users_mistake() -> None:
    """Of a dataset that brings a name of its own; what the config says is checked by the cli."""
    with pytest.raises(UserError, match=r"dataset\.primary_metric: .*'f1'"):
        require(METRICS, "f1")


def test_an_outsider_finds_the_same() -> None:
    """Every metric again from the predictions, by scikit-learn and statsmodels alone."""
    from sklearn.metrics import accuracy_score, classification_report
    from statsmodels.stats.proportion import proportion_confint

    classes = ("yes", "no", "maybe", "neither")
    pairs = [(classes[i % 3], classes[(i * i + i // 5) % 4]) for i in range(97)]
    predictions = yes_no(*pairs)
    said = computed(predictions, "accuracy")

    rows: list[dict[str, Any]] = json.loads(json.dumps(predictions))
    truth = [row["label"] for row in rows]
    claims = [row["predicted"] or "" for row in rows]
    report = classification_report(
        truth, claims, labels=sorted(set(truth)), output_dict=True, zero_division=0.0
    )
    parsed = [(t, c) for t, c in zip(truth, claims, strict=True) if c]
    hits = sum(t == c for t, c in zip(truth, claims, strict=True))
    assert 0 < len(parsed) < len(rows)
    assert said["accuracy"] == accuracy_score(truth, claims)
    assert said["accuracy_parsed"] == accuracy_score(*zip(*parsed, strict=True))
    assert said["macro_f1"] == pytest.approx(report["macro avg"]["f1-score"])
    assert said["recall"] == {
        name: pytest.approx(report[name]["recall"]) for name in said["recall"]
    }
    assert said["support"] == {name: report[name]["support"] for name in said["support"]}
    assert said["accuracy_interval"] == pytest.approx(
        proportion_confint(hits, len(rows), method="wilson")
    )
    assert said["unparsed_rate"] == pytest.approx(1 - len(parsed) / len(rows))
    assert said["majority_baseline"] == max(map(truth.count, truth)) / len(rows)
