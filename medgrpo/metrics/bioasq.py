"""BioASQ's own measures of exact answers (Task B, phase B), by the type of question.

After the official scorer (BioASQ/Evaluation-Measures 8c8e689, EvaluatorTask1b): texts are equal
when they are in lower case, and nothing else is folded; an item is used up by the first synonym
that hits it. Where that scorer takes what is no answer for "no", ours takes it for none: answers
are read as everywhere (medgrpo/answers/), and one that is missing counts as wrong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from medgrpo.metrics.base import RowMetric
from medgrpo.metrics.prediction import Prediction

MOST_CANDIDATES = 5  # of a factoid answer, by the rules of the submission
YES_NO = ("yes", "no")
_MARK = re.compile(r"(?:[-*•]|\d+[.)])\s+")


def items(answer: str, commas: bool = False) -> list[str]:
    """The items of an answer as it was written, in its order: lines, or parted by ";".

    `commas` part the items of a list that has neither. Marks go where all items have one.

    >>> items("1. TNF\\n2. IL-6"), items("TNF, IL-6 and IL-1", commas=True)
    (['TNF', 'IL-6'], ['TNF', 'IL-6', 'IL-1'])
    """
    separator = (
        r";|\n" if re.search(r";|\n", answer) or not commas else r",\s+(?:and\s+)?|\s+and\s+"
    )
    parts = [part.strip() for part in re.split(separator, answer) if part.strip()]
    return [_MARK.sub("", part) for part in parts] if all(map(_MARK.match, parts)) else parts


def gold_items(answer: str) -> list[set[str]]:
    """The items of `Example.answer`, each with its synonyms, in lower case."""
    return [set(item.lower().split(" | ")) for item in answer.split("; ")]


def list_scores(predicted: Sequence[str], gold: Sequence[set[str]]) -> tuple[float, float, float]:
    """Precision, recall and F1 of one list question.

    >>> list_scores(["IL-6", "interleukin-6"], [{"il-6", "interleukin-6"}, {"tnf"}])
    (0.5, 0.5, 0.5)
    """
    left = list(gold)
    for item in predicted:
        hit = next((names for names in left if item.lower() in names), None)
        if hit is not None:
            left.remove(hit)
    hits = len(gold) - len(left)
    if not hits:
        return 0.0, 0.0, 0.0
    precision, recall = hits / len(predicted), hits / len(gold)
    return precision, recall, 2 * precision * recall / (precision + recall)


def yes_no_f1(gold: Sequence[str], predicted: Sequence[str | None], label: str) -> float:
    """The official F1 of one label: what is no answer counts as the other label."""
    pairs = list(zip(gold, predicted, strict=True))
    hits = sum(truth == answer == label for truth, answer in pairs)
    wrong = sum(truth != answer for truth, answer in pairs)
    return 2 * hits / (2 * hits + wrong) if hits else 0.0


class TypeOfQuestion(RowMetric):
    """About the rows of one type, which BioASQ calls yesno, factoid, list and summary."""

    group: str

    def about(self, row: Prediction) -> bool:
        return row["group"] == self.group


class YesNoAccuracy(TypeOfQuestion):
    """Share of yes/no questions that are answered right."""

    label, group, binary = "yes/no accuracy", "yesno", True

    def value(self, row: Prediction) -> float:
        return float(row["correct"] is True)


class YesNoMacroF1(TypeOfQuestion):
    """The mean of the official F1 of yes and of no, the headline of yes/no questions."""

    label, group = "yes/no macro F1", "yesno"

    def aggregate(self, rows: Sequence[Prediction]) -> float:
        truth, answers = [row["answer"] for row in rows], [row["predicted"] for row in rows]
        return sum(yes_no_f1(truth, answers, label) for label in YES_NO) / len(YES_NO)


class YesNoMacroF1Sklearn(TypeOfQuestion):
    """The textbook's: what is no answer is a miss of its own label alone."""

    label, group = "yes/no macro F1 (sklearn)", "yesno"

    def aggregate(self, rows: Sequence[Prediction]) -> float:
        from sklearn.metrics import f1_score

        truth, answers = [row["answer"] for row in rows], [row["predicted"] or "" for row in rows]
        return f1_score(truth, answers, labels=YES_NO, average="macro", zero_division=0.0)


class Factoid(TypeOfQuestion):
    """About factoid questions, which have one item; an answer names candidates, best first."""

    group = "factoid"

    def rank(self, row: Prediction) -> int | None:
        """The place of the first candidate that is right, from 1; None where none is."""
        names = set().union(*gold_items(row["answer"]))
        candidates = items(row["predicted"] or "")[:MOST_CANDIDATES]
        return next((i for i, name in enumerate(candidates, 1) if name.lower() in names), None)


class FactoidStrict(Factoid):
    """Whether the first candidate is right."""

    label, binary = "factoid strict accuracy", True

    def value(self, row: Prediction) -> float:
        return float(self.rank(row) == 1)


class FactoidLenient(Factoid):
    """Whether one of five candidates is right."""

    label, binary = "factoid lenient accuracy", True

    def value(self, row: Prediction) -> float:
        return float(self.rank(row) is not None)


class FactoidMRR(Factoid):
    """The mean of 1 / rank of the first right candidate, the headline of factoid questions."""

    label = "factoid MRR"

    def value(self, row: Prediction) -> float:
        rank = self.rank(row)
        return 1 / rank if rank else 0.0


class ListMeasure(TypeOfQuestion):
    """About list questions: the mean over questions."""

    group = "list"
    place: int  # in `list_scores`

    def value(self, row: Prediction) -> float:
        predicted = items(row["predicted"] or "", commas=True)
        return list_scores(predicted, gold_items(row["answer"]))[self.place]


class ListPrecision(ListMeasure):
    """Share of the items named that are right."""

    label, place = "list precision", 0


class ListRecall(ListMeasure):
    """Share of the right items that are named."""

    label, place = "list recall", 1


class ListF1(ListMeasure):
    """The harmonic mean of both, the headline of list questions."""

    label, place = "list F1", 2
