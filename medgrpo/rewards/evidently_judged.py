"""A judged reward that is Evidently's correctness evaluation: https://docs.evidentlyai.com.

Evidently is imported when the reward is made, not with this module.
"""

from __future__ import annotations

from medgrpo.dataset.example import Example
from medgrpo.judge.client import Judge, Verdict
from medgrpo.rewards.base import JudgedReward
from medgrpo.rewards.shown import final_answer, gold_shown


class EvidentlyCorrectnessLLMReward(JudgedReward):
    """Does the answer say what the gold answer says, no less and nothing else?

    Range: [0, 1]. Formula: 1 - score, because Evidently's classifier has INCORRECT as its target:
    its score is 1.0 for a wrong answer. Judged: the answer block, the whole response when there
    is none, against the gold text. Calls: 1, for `category` and `score`, which is a probability
    of INCORRECT; where they contradict each other there is no verdict.
    Source: `evidently.descriptors.CorrectnessLLMEval`, its prompt and its parser.
    """

    def __init__(
        self, *, judge: Judge, weight: float = 1.0, name: str = "evidently_correctness"
    ) -> None:
        from medgrpo.judge.adapters import EvidentlyJudge

        super().__init__(
            judge=judge, weight=weight, name=name, calls=1, parameters={"replies": "agree"}
        )
        self._model = EvidentlyJudge(judge)

    def reads(self, response: str, row: Example) -> str:
        return final_answer(response, row)

    async def verdict(self, text: str, row: Example) -> Verdict:
        return await self._model.correctness(text, gold_shown(row))
