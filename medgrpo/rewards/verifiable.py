"""Rewards that compare the answer with the gold: no judge, no opinion.

A row is one of two kinds, and each reward speaks about one of them: rows with a label (options or
yes / no / maybe) have `ChoiceAccuracyReward` and `ChoiceOverlapReward`, rows without (lists, short
and free answers) have `ListMatchReward` and `TokenF1Reward`. On rows of the other kind a reward has
no verdict: None, as TRL asks of a reward that does not apply. All generations of a group share
their row, so None moves no advantage, and the logged mean is over the rows that the reward is
about. A partial text match on a choice would pay for near misses ("type 1" for "type 2 diabetes").

The answer is read by the same parser as held-out accuracy (medgrpo/answers/parse.py); an
unparsed answer scores 0, and so does one that was cut off before it was stated.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from annotated_types import Interval

from medgrpo.answers.parse import Style, predict
from medgrpo.dataset.example import Example
from medgrpo.metrics.f1 import choice_overlap, list_f1, token_f1
from medgrpo.rewards.base import Completion, RuleReward, each_with_row


class AnswerReward(RuleReward):
    """A reward that reads the answer of a response and compares it with the gold."""

    verifiable = True
    of_labels: ClassVar[bool]  # whether it is about rows with a label, or about those without

    def __init__(self, *, weight: float = 1.0, name: str = "", style: Style = "reasoning") -> None:
        """`style`: how answers are read, the prompt's."""
        super().__init__(weight=weight, name=name)
        self.style = style

    @abstractmethod
    def worth(self, answer: str, row: Example) -> float:
        """What an answer that could be read is worth, in [0, 1]."""

    def score(self, response: str, row: Example, *, truncated: bool = False) -> float | None:
        """0.0 for no answer, None for a row of the other kind.

        `truncated`: the response was cut off at its token limit.
        """
        if (row["label"] is not None) != self.of_labels:
            return None
        answer = predict(response, row, self.style, truncated=truncated)
        return 0.0 if answer is None else self.worth(answer, row)

    def __call__(
        self, completions: list[Completion], truncated: Sequence[bool] = (), **columns: Any
    ) -> list[float | None]:
        """As `RuleReward.__call__`; the column `truncated` says which were cut off, if any."""
        cuts = truncated or [False] * len(completions)
        asked = zip(each_with_row(completions, columns), cuts, strict=True)
        return [self.score(text, row, truncated=cut) for (text, row), cut in asked]


class ChoiceAccuracyReward(AnswerReward):
    """Whether the answer is the right option (letter or text) or the right yes / no / maybe.

    Range {0, 1}; None for rows without a label. Formula: [predicted label = gold label]. Source:
    the accuracy reward of DeepSeek-R1 (Guo et al. 2025, arXiv:2501.12948).

    >>> row = {"options": ["Ethanol", "Ethylene glycol"], "label": "B", "answer": "Ethylene glycol"}
    >>> ChoiceAccuracyReward().score("<answer>(b)</answer>", row)
    1.0
    """

    default_name, of_labels = "choice_accuracy", True

    def worth(self, answer: str, row: Example) -> float:
        return float(answer == row["label"])


class ChoiceOverlapReward(AnswerReward):
    """Partial credit where any number of options may be right.

    Range [0, 1]; None for rows without a label. Formula: options chosen and right / options chosen
    or right; of a row with one right answer, 1 or 0. Source: the Hamming score of FrenchMedMCQA
    (Labrak et al. 2022).

    >>> row = {"options": ["iron", "zinc", "folate"], "label": "{A,C}", "answer": "iron; folate"}
    >>> ChoiceOverlapReward().score("<answer>A) iron</answer>", row)
    0.5
    """

    default_name, of_labels = "choice_overlap", True

    def worth(self, answer: str, row: Example) -> float:
        return choice_overlap(answer, str(row["label"]))


class ListMatchReward(AnswerReward):
    """How much of a list (or short answer) is right, spelling aside.

    Range [0, 1]; None for rows with a label. Formula: F1 over items, see `list_f1`. Source: the
    list questions of BioASQ (Tsatsaronis et al. 2015), with fuzzy instead of exact match.

    >>> row = {"options": [], "label": None, "answer": "BRCA1; BRCA2 | FANCD1"}
    >>> round(ListMatchReward().score("<answer>FANCD1; TP53; brca1</answer>", row), 2)
    0.8
    """

    of_labels = False

    def __init__(
        self,
        *,
        weight: float = 1.0,
        name: str = "list_match",
        style: Style = "reasoning",
        threshold: Annotated[float, Interval(ge=0, le=100)] = 70.0,
    ) -> None:
        """`style`: the prompt's; `threshold`: token-sort ratio from which items match, 0-100."""
        super().__init__(weight=weight, name=name, style=style)
        self.threshold = threshold

    def worth(self, answer: str, row: Example) -> float:
        return list_f1(answer, row["answer"], self.threshold)


class TokenF1Reward(AnswerReward):
    """How many words the answer shares with the gold, for prose.

    Range [0, 1]; None for rows with a label. Formula: F1 over words, see `token_f1`. Source: SQuAD
    (Rajpurkar et al. 2016).

    >>> row = {"options": [], "label": None, "answer": "the oxalate crystals"}
    >>> round(TokenF1Reward().score("<answer>Crystals of oxalate.</answer>", row), 2)
    0.8
    """

    default_name, of_labels = "token_f1", False

    def worth(self, answer: str, row: Example) -> float:
        return token_f1(answer, row["answer"])
