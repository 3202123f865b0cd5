"""BioASQ's measures, against the official scorer's values worked out by hand."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from statistics import mean

import pytest
import yaml
from hydra.utils import instantiate

from medgrpo.config.provenance import CONF
from medgrpo.dataset.bioasq import BioASQ
from medgrpo.dataset.pubmedqa import PubMedQA
from medgrpo.metrics.base import Metric, aggregate
from medgrpo.metrics.bioasq import gold_items, items, list_scores
from medgrpo.metrics.prediction import Prediction, read

NODES = yaml.safe_load((CONF / "metrics" / "bioasq.yaml").read_text())
METRICS: dict[str, Metric] = {name: instantiate(node, name=name) for name, node in NODES.items()}
REAL = Path(__file__).parents[3] / "shared" / "data"
real = pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data is not here")


def answered(group: str, gold: str, answer: str | None) -> Prediction:
    label = gold if gold in ("yes", "no") else None
    row = {
        "id": "1", "question": "?", "context": [], "options": [], "answer": gold, "label": label,
        "explanation": "", "group": group,
    }  # fmt: skip
    response = "" if answer is None else f"<answer>{answer}</answer>"
    return read(row, response, 1, "reasoning")


def measured(rows: list[Prediction]) -> dict[str, float | None]:
    return {name: aggregate(metric, rows) for name, metric in METRICS.items()}


def test_yes_no() -> None:
    answers = [*["yes"] * 5, None, *["no"] * 2, "yes", None]
    rows = [answered("yesno", g, a) for g, a in zip(["yes"] * 6 + ["no"] * 4, answers, strict=True)]
    found = measured(rows)
    assert found["bioasq_yesno_accuracy"] == pytest.approx(0.7)
    assert found["bioasq_yesno_macro_f1"] == pytest.approx((10 / 13 + 4 / 7) / 2)  # .6703
    assert found["bioasq_yesno_macro_f1_sklearn"] == pytest.approx(0.75)
    assert found["bioasq_list_f1"] is found["bioasq_factoid_mrr"] is None


FACTOIDS = [
    ("Dystrophin | DMD protein", "dystrophin; utrophin", (1, 1, 1)),
    ("TP53 | p53", "BRCA1; p53; TP53", (0, 1, 0.5)),
    ("MERCI", "MERCI.", (0, 0, 0)),
    ("Imatinib", None, (0, 0, 0)),
    ("aspirin", "a; b; c; d; e; aspirin", (0, 0, 0)),  # beyond the five that may be named
]


def test_factoids() -> None:
    names = ("bioasq_factoid_strict", "bioasq_factoid_lenient", "bioasq_factoid_mrr")
    for gold, answer, scores in FACTOIDS:
        found = measured([answered("factoid", gold, answer)])
        assert tuple(found[name] for name in names) == scores
    found = measured([answered("factoid", gold, answer) for gold, answer, _ in FACTOIDS])
    assert [found[name] for name in names] == pytest.approx([0.2, 0.4, 0.3])


CYTOKINES = "IL-6 | interleukin-6; TNF | TNF-alpha; IL-1; IFN-gamma"


@pytest.mark.parametrize(
    ("answer", "scores"),
    [
        ("IL-6; tnf-alpha; CRP", (2 / 3, 1 / 2, 4 / 7)),
        ("IL-6; interleukin-6; TNF", (2 / 3, 1 / 2, 4 / 7)),  # a synonym is a false positive
        ("IL-6; IL-6", (1 / 2, 1 / 4, 1 / 3)),
        ("IL-6, tnf-alpha and CRP", (2 / 3, 1 / 2, 4 / 7)),
        ("1. IL-6\n2. tnf-alpha\n3. CRP", (2 / 3, 1 / 2, 4 / 7)),
        ("Th17", (0, 0, 0)),
        (None, (0, 0, 0)),
    ],
)
def test_lists(answer: str | None, scores: tuple[float, float, float]) -> None:
    found = measured([answered("list", CYTOKINES, answer)])
    names = ("bioasq_list_precision", "bioasq_list_recall", "bioasq_list_f1")
    assert [found[name] for name in names] == pytest.approx(scores)


def test_the_f1_of_lists_is_a_mean_of_f1s() -> None:
    golds = ["a; b; c; d", "e; f"]
    rows = [
        answered("list", gold, text) for gold, text in zip(golds, ["a", "e; f; g; h"], strict=True)
    ]
    assert measured(rows)["bioasq_list_f1"] == pytest.approx((0.4 + 2 / 3) / 2)  # .5333
    assert measured(rows)["bioasq_yesno_accuracy"] is None


@real
@pytest.mark.parametrize("batch", ["7B1_golden", "8B2_golden"])
def test_a_second_annotator_of_the_real_questions(batch: str) -> None:
    """Who takes yes for all, the second synonym of each item and half of the items; and by hand."""
    given = {"answer_with": "", "primary_metric": "bioasq_list_f1", "max_prompt_tokens": 9}
    file = REAL / "bioasq" / f"{batch}.json"
    splits = BioASQ(source="path", path=str(file), **given).load()
    rows = {row["id"]: row for rows in splits.values() for row in rows}
    predictions, expected = [], defaultdict(list)
    for question in json.loads(file.read_text())["questions"]:
        row, exact = rows.get(question["id"]), question.get("exact_answer")
        if row is None or question["type"] == "summary":
            continue
        names = [[name.lower() for name in names] for names in exact if isinstance(names, list)]
        if question["type"] == "yesno":
            answer, score = "yes", float(exact.lower() == "yes")
        elif question["type"] == "factoid":
            wrong = len(expected["factoid"]) % 2  # every other one names something else first
            answer, score = "; ".join(["zzz"] * wrong + [names[0][-1]]), 1 / (1 + wrong)
        else:
            told = names[: (len(names) + 1) // 2]
            answer = "; ".join(each[0].upper() for each in told)
            score = 2 * len(told) / (len(told) + len(names))
        expected[question["type"]].append(score)
        predictions.append(read(row, f"<answer>{answer}</answer>", 1, "reasoning"))
    assert {kind: len(scores) for kind, scores in expected.items()} == {
        "7B1_golden": {"yesno": 29, "factoid": 39, "list": 12},
        "8B2_golden": {"yesno": 36, "factoid": 25, "list": 14},
    }[batch]
    found = measured(predictions)
    assert found["bioasq_yesno_accuracy"] == pytest.approx(mean(expected["yesno"]))
    assert found["bioasq_factoid_mrr"] == pytest.approx(mean(expected["factoid"]))
    assert found["bioasq_list_f1"] == pytest.approx(mean(expected["list"]), abs=0.02)


@real
def test_the_gold_lists_score_full_marks_and_one_digit_more_none() -> None:
    for batch in ("7B1_golden", "8B2_golden"):
        for question in json.loads((REAL / "bioasq" / f"{batch}.json").read_text())["questions"]:
            if question["type"] != "list":
                continue
            gold = [{name.lower() for name in names} for names in question["exact_answer"]]
            first = [names[0] for names in question["exact_answer"]]
            if len({name.lower() for name in first}) == len(first):
                assert list_scores(first, gold)[2] == 1.0
            assert list_scores([f"{name}77" for name in first], gold)[2] == 0.0


@real
def test_the_second_annotator_of_pubmedqa() -> None:
    """`reasoning_required_pred` of the 500 rows that are not the test: accuracy and macro F1."""
    from sklearn.metrics import accuracy_score, f1_score

    file = REAL / "pubmedqa" / "ori_pqal_nontest500.json"
    given = {"answer_with": "", "primary_metric": "accuracy", "max_prompt_tokens": 9}
    splits = PubMedQA(source="path", path=str(file), **given).load()
    records = json.loads(file.read_text())
    rows = [row for rows in splits.values() for row in rows]
    said = [records[row["id"]]["reasoning_required_pred"] for row in rows]
    predictions = [
        read(row, f"<answer>{answer}</answer>", 1, "reasoning")
        for row, answer in zip(rows, said, strict=True)
    ]
    standard = yaml.safe_load((CONF / "metrics" / "standard.yaml").read_text())
    found = {
        name: aggregate(instantiate(standard[name], name=name), predictions)
        for name in ("accuracy", "macro_f1")
    }
    gold = [row["label"] for row in rows]
    assert len(rows) == 500
    assert found["accuracy"] == pytest.approx(accuracy_score(gold, said))
    assert found["macro_f1"] == pytest.approx(f1_score(gold, said, average="macro"))


def test_items_and_gold() -> None:
    assert items("1,25-dihydroxyvitamin D") == ["1,25-dihydroxyvitamin D"]
    assert items(" ; \n") == []
    assert gold_items("TNF | cachexin; IL6") == [{"tnf", "cachexin"}, {"il6"}]
