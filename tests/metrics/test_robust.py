"""What an accuracy alone does not say: worked values, and planted models that are found out."""

import math
import random

import pytest
from sklearn.metrics import brier_score_loss, log_loss

from medgrpo.dataset.example import LETTERS
from medgrpo.errors import UserError
from medgrpo.evaluation.engines.base import Generation
from medgrpo.evaluation.shuffled import note_shuffled, shuffle
from medgrpo.metrics.abstention import AbstentionRate, AbstentionScore, AccuracyAnswered
from medgrpo.metrics.base import aggregate
from medgrpo.metrics.calibration import (
    Brier,
    ExpectedCalibrationError,
    LikelihoodAccuracy,
    MassOutside,
    NegativeLogLikelihood,
)
from medgrpo.metrics.prediction import read
from medgrpo.metrics.sampling import MajAtK, PassAtK
from medgrpo.metrics.shuffled import AllOrdersRight, Consistency, ShuffledAccuracy


def sampled(label: str, votes: str) -> dict:
    """`votes`: a letter a sample, "-" for one that could not be read."""
    said = [None if vote == "-" else vote for vote in votes]
    return {"label": label, "votes": said, "options": list("wxyz")}


def test_pass_at_k_is_unbiased():
    """Chen et al.'s formula; the plug-in 1-(1-c/n)^k would say .6836."""
    row = sampled("B", "B" * 4 + "A" * 12)
    assert PassAtK(k=1).value(row) == 0.25
    assert PassAtK(k=4).value(row) == pytest.approx(0.7280, abs=5e-5)
    assert PassAtK(k=13).value(row) == 1.0  # no choice of 13 is without a right one
    assert PassAtK(k=8).details([row])["by_chance"] == pytest.approx(0.90, abs=5e-3)


def test_maj_at_k_is_of_every_choice():
    row = sampled("B", "B" * 6 + "A" * 5 + "C" * 3 + "--")
    for k, expected in ((1, 0.375), (5, 0.501), (16, 1.0)):
        assert MajAtK(k=k).value(row) == pytest.approx(expected, abs=5e-4)


def test_maj_at_k_is_what_drawing_gives():
    """Ties are split, and silence never wins: counted, it is what all draws average to."""
    from itertools import combinations

    row = sampled("B", "BBAAC--")
    for k in range(1, 8):
        won = []
        for drawn in combinations(row["votes"], k):
            votes = [vote for vote in drawn if vote]
            top = max((votes.count(vote) for vote in votes), default=0)
            tied = {vote for vote in votes if votes.count(vote) == top}
            won.append(1 / len(tied) if "B" in tied else 0.0)
        assert MajAtK(k=k).value(row) == pytest.approx(sum(won) / len(won))


def test_more_samples_are_asked_for_than_there_are():
    with pytest.raises(UserError, match=r"metrics\.pass_at_4: k=4 of 2 samples; set evaluation"):
        PassAtK(k=4, name="pass_at_4").value(sampled("B", "BA"))


ROWS = [  # probabilities of A to D, and the gold answer
    ((0.70, 0.15, 0.10, 0.05), "A"),
    ((0.40, 0.35, 0.15, 0.10), "B"),
    ((0.05, 0.90, 0.03, 0.02), "B"),
    ((0.30, 0.28, 0.22, 0.20), "D"),
    ((0.10, 0.10, 0.75, 0.05), "C"),
]


def likely(ps, label: str, options: str = "wxyz", outside: float = 0.0) -> dict:
    logs = [math.log(p * (1 - outside)) for p in ps]
    return {"label": label, "options": list(options), "option_logprobs": logs}


def test_calibration_has_the_worked_values():
    rows = [likely(*row) for row in ROWS]
    assert aggregate(Brier(), rows) == pytest.approx(0.3391, abs=5e-5)
    assert aggregate(ExpectedCalibrationError(), rows) == pytest.approx(0.27, abs=5e-3)
    assert aggregate(NegativeLogLikelihood(), rows) == pytest.approx(0.6818, abs=5e-5)
    assert aggregate(LikelihoodAccuracy(), rows) == 0.6
    assert LikelihoodAccuracy().details(rows)["coverage"] == {
        "25%": 1.0, "50%": 1.0, "75%": 0.75, "100%": 0.6,
    }  # fmt: skip
    assert aggregate(Brier(), [likely([0.25] * 4, "A")]) == pytest.approx(0.75)
    assert Brier().details([likely([0.25] * 4, "A")])["skill"] == pytest.approx(0)


def test_calibration_is_scikit_learns():
    draws = random.Random(0)
    rows, truth, given = [], [], []
    for _ in range(200):
        weights = [draws.random() for _ in range(4)]
        ps = [weight / sum(weights) for weight in weights]
        label = draws.choice("ABCD")
        rows.append(likely(ps, label, outside=0.4))  # what lies outside changes nothing
        truth.append(label)
        given.append(ps)
    brier = brier_score_loss(truth, given, labels=list("ABCD"), scale_by_half=False)
    assert aggregate(Brier(), rows) == pytest.approx(brier)
    assert aggregate(NegativeLogLikelihood(), rows) == pytest.approx(log_loss(truth, given))
    assert aggregate(MassOutside(), rows) == pytest.approx(0.4)


def test_a_calibrated_model_has_the_level_that_is_told():
    """ECE is biased upwards: .093 at 100 rows for a model that is right as often as it says."""
    draws = random.Random(1)
    found = []
    for _ in range(30):
        rows = []
        for _ in range(100):
            top = draws.uniform(0.3, 1.0)
            rest = [(1 - top) / 3] * 3
            right = draws.random() < top
            rows.append(likely([top, *rest], "A" if right else "B"))
        ece = ExpectedCalibrationError()
        found.append((ece.aggregate(rows), ece.details(rows)["if_calibrated"]))
    mean, told = (sum(values) / len(found) for values in zip(*found, strict=True))
    assert mean == pytest.approx(told, abs=0.01)
    assert 0.05 < mean < 0.12


ABSTAIN = ["flu", "cold", "I don't know or cannot answer"]


def test_abstention_is_found_by_its_text():
    def answered(predicted, label="A"):
        return {
            "label": label, "options": ABSTAIN, "predicted": predicted,
            "correct": predicted == label,
        }  # fmt: skip

    rows = [answered("A"), answered("B"), answered("C"), answered("C", "C"), answered(None)]
    assert aggregate(AbstentionRate(), rows) == 0.4
    assert aggregate(AccuracyAnswered(), rows) == pytest.approx(1 / 3)  # unparsed: answered, wrong
    assert aggregate(AbstentionScore(penalty=0.5), rows) == pytest.approx(
        (1 - 0.5 + 0 + 1 - 0.5) / 5
    )
    assert aggregate(AbstentionRate(), [{**rows[0], "options": ["flu", "cold"]}]) is None


def question(number: int, gold: str = "A") -> dict:
    """Options of one length but for a wrong one, which is the longest."""
    texts = [f"drug {number} {letter}" for letter in "abcd"]
    texts[(LETTERS.index(gold) + 1) % 4] += " with a long and careful description"
    return {
        "id": str(number), "question": f"Which drug, {number}?", "context": [], "options": texts,
        "answer": texts[LETTERS.index(gold)], "label": gold, "explanation": "",
    }  # fmt: skip


def asked(picker, rows, orders: int = 4) -> list[dict]:
    """Predictions of a model that picks the letter `picker(row)` in every order."""
    predictions = [read(row, f"<answer>{picker(row)}</answer>", 1, "reasoning") for row in rows]
    them = shuffle(rows, orders)
    said = [Generation(f"<answer>{picker(one.row)}</answer>", 1, False) for one in them]
    note_shuffled(predictions, them, said, "reasoning", "")
    return predictions


def longest(row) -> str:
    return LETTERS[max(range(4), key=lambda n: len(row["options"][n]))]


def knows(share: float):
    """Right on this share of the questions, wherever the right option stands; else it guesses."""

    def pick(row):
        draws = random.Random(row["question"])
        if draws.random() < share:
            return row["label"]
        return random.Random(repr(row["options"])).choice("ABCD")

    return pick


MODELS = {
    "always C": (lambda row: "C", "place C: 100% of the answers, by chance 25%"),
    "the longest": (longest, "the longest option: 100% of the wrong answers, by chance 33%"),
    "half C": (
        lambda row: "C" if random.Random(repr(row["options"])).random() < 0.5 else row["label"],
        "place C: ",
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_preference_is_named(name):
    picker, named = MODELS[name]
    rows = [question(number, "ABCD"[number % 4]) for number in range(60)]
    found = ShuffledAccuracy().details(asked(picker, rows))
    (told,) = found["preferences"]
    assert told.startswith(named)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 1.0])
def test_a_fair_model_is_not(share):
    """Whatever it knows: twenty times over, of different questions."""
    for start in range(0, 1200, 60):
        rows = [question(start + n, "ABCD"[n % 4]) for n in range(60)]
        assert ShuffledAccuracy().details(asked(knows(share), rows))["preferences"] == []


def test_the_figures_of_orders_have_their_worked_values():
    """Three questions in four orders: 4, 2 and 1 right."""
    rows = [
        {"label": "A", "options": ["x", "y", "z"], "orders": ["BAC", "CAB", "BCA", "CBA"],
         "shuffled": picks}
        for picks in (["A", "A", "A", "A"], ["A", "A", "B", "B"], ["A", "C", "C", "C"])
    ]  # fmt: skip
    assert aggregate(ShuffledAccuracy(), rows) == pytest.approx(0.5833, abs=5e-5)
    assert aggregate(AllOrdersRight(), rows) == pytest.approx(0.3333, abs=5e-5)
    rows[2]["shuffled"] = ["C"] * 4
    assert aggregate(Consistency(), rows) == pytest.approx(0.6667, abs=5e-5)
    rows[2]["shuffled"] = ["C", None, "C", "C"]  # unparsed is not the same answer
    assert aggregate(Consistency(), rows) == pytest.approx(0.3333, abs=5e-5)


def test_the_deviation_of_recalls_has_its_worked_value(monkeypatch):
    from medgrpo.metrics import shuffled

    recalls = dict(zip("ABCD", (0.72, 0.61, 0.58, 0.49), strict=True))
    monkeypatch.setattr(shuffled, "recall_by_place", lambda rows: recalls)
    rows = asked(lambda row: row["label"], [question(n) for n in range(3)])
    assert ShuffledAccuracy().details(rows)["recall_deviation"] == pytest.approx(0.0822, abs=5e-5)


def test_options_that_speak_of_others_stay():
    row = {**question(1), "options": ["flu", "cold", "measles", "None of the above"]}
    orders = [one.order for one in shuffle([row], 6)]
    assert {order[3] for order in orders} == {"D"}
    assert len(set(orders)) > 1
    assert "ABCD" not in orders
    assert shuffle([{**row, "options": ["flu", "cold", "Both A and B", "measles"]}], 3) == []
    assert shuffle([{**row, "label": "{A,C}"}], 3) == []
    for one in shuffle([row], 6):
        assert one.row["options"][LETTERS.index(one.row["label"])] == "flu"
