"""Three judged rewards that are DeepEval metrics, unchanged: https://deepeval.com/docs.

DeepEval is imported when a reward is made, not with this module. Reasons are asked for on
request only (`judge.reasons`): nobody reads them in training, and each is a call.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Literal

from medgrpo.dataset.example import Example
from medgrpo.errors import UserError
from medgrpo.judge.client import Judge, Verdict
from medgrpo.rewards.base import JudgedReward
from medgrpo.rewards.shown import context_shown, final_answer, gold_shown, question_shown

_log = logging.getLogger(__name__)


class DeepEvalGEvalRAGReward(JudgedReward):
    """Does the response meet the criterion, given question, context and gold answer?

    Range: [0, 1]. Formula: the judge's mark from 0 to 10, divided by 10 and clipped (a judge may
    answer 87). Judged: the whole response without tags. Calls: 1, with `evaluation_steps: null` 2.
    Source: G-Eval (Liu et al. 2023, arXiv:2303.16634) as `deepeval.metrics.GEval`.
    """

    def __init__(
        self,
        *,
        judge: Judge,
        criteria: str,
        evaluation_steps: Sequence[str] | None,
        weight: float = 1.0,
        name: str = "deepeval_geval_rag",
    ) -> None:
        """`evaluation_steps` follow the criterion; None lets the judge derive them from it.

        Raises UserError when there is no criterion.
        """
        from deepeval.metrics import GEval
        from deepeval.test_case import SingleTurnParams

        from medgrpo.judge.adapters import DeepEvalJudge

        if not criteria.strip():
            raise UserError(f"rewards.{name}.criteria is empty: say what a response must do")
        super().__init__(
            judge=judge,
            weight=weight,
            name=name,
            calls=2 if evaluation_steps is None else 1,
            parameters={"criteria": criteria, "steps": evaluation_steps},
        )
        self._model = DeepEvalJudge(judge)
        self._metric = partial(
            GEval,
            name=name,
            criteria=criteria,
            evaluation_steps=None if evaluation_steps is None else [criteria, *evaluation_steps],
            evaluation_params=[
                SingleTurnParams.INPUT,
                SingleTurnParams.ACTUAL_OUTPUT,
                SingleTurnParams.EXPECTED_OUTPUT,
                SingleTurnParams.RETRIEVAL_CONTEXT,
            ],
            model=self._model,
            top_logprobs=judge.logprobs,
        )

    async def verdict(self, text: str, row: Example) -> Verdict:
        return await self._model.measure(
            self._metric(),
            input=row["question"],
            actual_output=text,
            expected_output=gold_shown(row),
            retrieval_context=context_shown(row),
        )


class DeepEvalSummarizationReward(JudgedReward):
    """Is what the response says in the context, and does it say what matters there?

    Range: [0, 1]. Formula: `summarization` is min(alignment, coverage), alignment the share of
    the response's claims that the context supports, coverage the share of five questions that the
    context answers and the response answers too; `faithfulness` is the share of claims that the
    context does not contradict. Judged: the whole response without tags. Calls: 6, or 3.
    A question that stands alone (MedQA) has no passages: it is its own context, and repeating the
    vignette is rewarded; with `without_context="none"` the reward is not about such rows.
    Source: `deepeval.metrics.SummarizationMetric` (after QAGS, Wang et al. 2020,
    arXiv:2004.04228) and `FaithfulnessMetric`.
    """

    def __init__(
        self,
        *,
        judge: Judge,
        metric: Literal["summarization", "faithfulness"] = "summarization",
        without_context: Literal["question", "none"] = "question",
        weight: float = 1.0,
        name: str = "deepeval_summarization",
    ) -> None:
        from deepeval.metrics import FaithfulnessMetric, SummarizationMetric

        from medgrpo.judge.adapters import DeepEvalJudge

        super().__init__(
            judge=judge,
            weight=weight,
            name=name,
            calls=(6 if metric == "summarization" else 3) + judge.reasons,
            parameters={"metric": metric},
        )
        self.metric = metric
        self.without_context = without_context
        self._told = False
        self._model = DeepEvalJudge(judge)
        self._metric = partial(
            {"summarization": SummarizationMetric, "faithfulness": FaithfulnessMetric}[metric],
            model=self._model,
            include_reason=judge.reasons,
            eval_mode="llm",
        )

    def applies(self, row: Example) -> bool:
        return bool(row["context"]) or self.without_context == "question"

    async def verdict(self, text: str, row: Example) -> Verdict:
        context = context_shown(row)
        if not row["context"] and not self._told:
            self._told = True
            _log.info(
                "%s: rows without passages are held against the question;\n"
                "  rewards.%s.without_context=none leaves them out", self.__name__, self.__name__,
            )  # fmt: skip
        if self.metric == "summarization":
            return await self._model.measure(
                self._metric(), input="\n\n".join(context), actual_output=text
            )
        return await self._model.measure(
            self._metric(), input=row["question"], actual_output=text, retrieval_context=context
        )


class DeepEvalAnswerRelevancyReward(JudgedReward):
    """Does the answer speak to the question?

    Range: [0, 1]. Formula: the share of the answer's statements that are relevant to the question
    with its options; right or wrong does not count. Judged: the answer block, the whole response
    when there is none. Calls: 2.
    Source: `deepeval.metrics.AnswerRelevancyMetric` (after RAGAS, Es et al. 2023,
    arXiv:2309.15217).
    """

    def __init__(
        self, *, judge: Judge, weight: float = 1.0, name: str = "deepeval_answer_relevancy"
    ) -> None:
        from deepeval.metrics import AnswerRelevancyMetric

        from medgrpo.judge.adapters import DeepEvalJudge

        super().__init__(judge=judge, weight=weight, name=name, calls=2 + judge.reasons)
        self._model = DeepEvalJudge(judge)
        self._metric = partial(
            AnswerRelevancyMetric, model=self._model, include_reason=judge.reasons, eval_mode="llm"
        )

    def reads(self, response: str, row: Example) -> str:
        return final_answer(response, row)

    async def verdict(self, text: str, row: Example) -> Verdict:
        return await self._model.measure(
            self._metric(), input=question_shown(row), actual_output=text
        )
