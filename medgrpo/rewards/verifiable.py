"""Rewards that compare the answer with the gold: no judge, no opinion.

A row is one of two kinds, and each reward speaks about one of them: rows with a label (options or
yes / no / maybe) have `ChoiceAccuracyReward`, rows without (lists, short and free answers) have
`ListMatchReward` and `TokenF1Reward`. On rows of the other kind a reward has no verdict: None,
as TRL asks of a reward that does not apply. All generations of a group share their row, so None
moves no advantage, and the logged mean is over the rows that the reward is about. A partial text
match on a choice would pay for near misses ("type 1" for "type 2 diabetes").

The answer is read by the same parser as held-out accuracy (medgrpo/answers/parse.py); an
unparsed answer scores 0.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Interval

from medgrpo.answers.parse import Style, predict
from medgrpo.dataset.example import Example
from medgrpo.metrics.f1 import list_f1, token_f1
from medgrpo.rewards.base import RuleReward


class ChoiceAccuracyReward(RuleReward):
    """Whether the answer is the right option (letter or text) or the right yes / no / maybe.

    Range {0, 1}; None for rows without a label. Formula: [predicted label = gold label]. Source:
    the accuracy reward of DeepSeek-R1 (Guo et al. 2025, arXiv:2501.12948).

    >>> row = {"options": ["Ethanol", "Ethylene glycol"], "label": "B", "answer": "Ethylene glycol"}
    >>> ChoiceAccuracyReward().score("<answer>(b)</answer>", row)
    1.0
    """

    def __init__(
        self, *, weight: float = 1.0, name: str = "choice_accuracy", style: Style = "reasoning"
    ) -> None:
        """`style`: how answers are read, the prompt's."""
        super().__init__(weight=weight, name=name)
        self.style = style

    def score(self, response: str, row: Example) -> float | None:
        """1.0 for the gold label, 0.0 for another or none, None where there is no label."""
        if row["label"] is None:
            return None
        return float(predict(response, row, self.style) == row["label"])


class ListMatchReward(RuleReward):
    """How much of a list (or short answer) is right, spelling aside.

    Range [0, 1]; None for rows with a label. Formula: F1 over items, see `list_f1`. Source: the
    list questions of BioASQ (Tsatsaronis et al. 2015), with fuzzy instead of exact match.

    >>> row = {"options": [], "label": None, "answer": "BRCA1; BRCA2 | FANCD1"}
    >>> round(ListMatchReward().score("<answer>FANCD1; TP53; brca1</answer>", row), 2)
    0.8
    """

    def __init__(
        self,
        *,
        weight: float = 1.0,
        name: str = "list_match",
        style: Style = "reasoning",
        threshold: Annotated[float, Interval(ge=0, le=100)] = 70.0,
    ) -> None:
        """`style`: the prompt's; `threshold`: token-sort ratio from which items match, 0-100."""
        super().__init__(weight=weight, name=name)
        self.style = style
        self.threshold = threshold

    def score(self, response: str, row: Example) -> float | None:
        """The F1 of the answer's items, None where there is a label."""
        if row["label"] is not None:
            return None
        answer = predict(response, row, self.style)
        return 0.0 if answer is None else list_f1(answer, row["answer"], self.threshold)


class TokenF1Reward(RuleReward):
    """How many words the answer shares with the gold, for prose.

    Range [0, 1]; None for rows with a label. Formula: F1 over words, see `token_f1`. Source: SQuAD
    (Rajpurkar et al. 2016).

    >>> row = {"options": [], "label": None, "answer": "the oxalate crystals"}
    >>> round(TokenF1Reward().score("<answer>Crystals of oxalate.</answer>", row), 2)
    0.8
    """

    def __init__(
        self, *, weight: float = 1.0, name: str = "token_f1", style: Style = "reasoning"
    ) -> None:
        """`style`: how answers are read, the prompt's."""
        super().__init__(weight=weight, name=name)
        self.style = style

    def score(self, response: str, row: Example) -> float | None:
        """The F1 of the answer's words, None where there is a label."""
        if row["label"] is not None:
            return None
        answer = predict(response, row, self.style)
        return 0.0 if answer is None else token_f1(answer, row["answer"])
