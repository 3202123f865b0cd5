"""DeepEval's and Evidently's own metric code, run on our judge.

DeepEval's model classes ask unknown models for no structured output and open a client per call;
Evidently's runner has no timeout and loses a batch to one bad row. Both let a caller bring the
model, so every call of either library ends in `Judge.chat`, and what either raises about a
judge's reply ends in JudgeError.
"""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any, Literal, Self

from deepeval.metrics import BaseMetric
from deepeval.metrics.g_eval.schema import ReasonScore
from deepeval.models import DeepEvalBaseLLM
from deepeval.test_case import LLMTestCase
from evidently.legacy.descriptors.llm_judges import CorrectnessLLMEval
from evidently.llm.models import LLMMessage
from evidently.llm.utils.wrapper import LLMRequest, LLMResult, LLMWrapper
from pydantic import BaseModel, Field, model_validator

from medgrpo.judge.client import Judge, JudgeError, Verdict

_ANCHORS = re.compile(r"_{3,}|-{5,}")  # ___text_ends_here___, -----reference_finishes-----


def defused(text: str) -> str:
    """`text` without what either library reads as its own markup.

    `[DEEPEVAL:IMAGE:x]` makes a test case multimodal, which raises; an anchor would end the text
    under judgement early, and let what follows speak to the judge.
    """
    return _ANCHORS.sub(lambda run: run[0][:2], text).replace("[DEEPEVAL:", "[DEEPEVAL ")


class DeepEvalJudge(DeepEvalBaseLLM):  # type: ignore[misc]
    """The model that DeepEval's metrics ask: our judge."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        super().__init__(judge.name)

    def load_model(self) -> DeepEvalJudge:
        return self

    def get_model_name(self) -> str:
        return self.judge.name

    def generate(self, prompt: str, schema: type[BaseModel] | None = None) -> str:
        raise NotImplementedError("metrics are awaited: use a_generate")

    async def a_generate(self, prompt: str, schema: type[BaseModel] | None = None) -> Any:
        """One answer: an instance of `schema`, or text without one."""
        try:
            reply = await self.judge.chat([{"role": "user", "content": prompt}], schema)
            return schema.model_validate_json(reply.text) if schema else reply.text
        except TypeError as error:  # which DeepEval takes to mean: ask again without the schema
            raise JudgeError(f"{type(error).__name__}: {error}") from error

    async def a_generate_raw_response(self, prompt: str, top_logprobs: int) -> tuple[Any, None]:
        """G-Eval's one answer with the probabilities of its tokens, which weight the mark."""
        if not self.judge.logprobs:
            raise AttributeError("without log-probabilities")  # DeepEval then asks for a plain one
        messages = [{"role": "user", "content": prompt}]
        reply = await self.judge.chat(messages, ReasonScore, self.judge.logprobs)
        choice = {"message": {"content": reply.text}, "logprobs": reply.logprobs}
        return json.loads(json.dumps({"choices": [choice]}), object_hook=_object), None

    async def measure(self, metric: BaseMetric, **case: str | list[str]) -> Verdict:
        """The verdict on one test case. `metric` must be new: metrics keep state on themselves."""
        fields = {
            key: defused(value) if isinstance(value, str) else [defused(item) for item in value]
            for key, value in case.items()
        }
        score = await metric.a_measure(LLMTestCase(**fields), _show_indicator=False)
        return Verdict(score, metric.reason if self.judge.reasons else None)


def _object(fields: dict[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(**fields)


class CorrectnessReply(BaseModel):
    """What Evidently's correctness prompt asks for. Its score is 1.0 for a WRONG answer.

    A judge that takes it the other way contradicts its own category: such a reply is none.
    """

    category: Literal["CORRECT", "INCORRECT", "UNKNOWN"]
    score: float = Field(ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        wrong = {"CORRECT": 0.0, "INCORRECT": 1.0}.get(self.category, self.score)
        if abs(self.score - wrong) > 1 / 2:
            raise ValueError(
                f"category {self.category} and score {self.score} contradict each other"
            )
        return self


class ReasonedCorrectnessReply(CorrectnessReply):
    """The same with Evidently's `reasoning`, which its prompt then asks for too."""

    reasoning: str


class EvidentlyJudge(LLMWrapper):  # type: ignore[misc]
    """The model that Evidently's correctness template asks: our judge."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.template = CorrectnessLLMEval(
            target_output="target_output", include_score=True, include_reasoning=judge.reasons
        ).get_template()

    async def complete(self, messages: list[LLMMessage], seed: int | None = None) -> LLMResult[str]:
        asked = [{"role": message.role, "content": message.content} for message in messages]
        schema = ReasonedCorrectnessReply if self.judge.reasons else CorrectnessReply
        reply = await self.judge.chat(asked, schema)
        schema.model_validate_json(reply.text)
        return LLMResult(reply.text, reply.tokens_in, reply.tokens_out)

    async def correctness(self, answer: str, gold: str) -> Verdict:
        """Whether an answer says what `gold` says: 1 - Evidently's score, its target is wrong."""
        request: LLMRequest[dict[str, Any]] = LLMRequest(
            messages=self.template.get_messages(
                {"input": defused(answer), "target_output": defused(gold)}
            ),
            response_parser=self.template.get_parser(),
            response_type=dict,
            retries=0,  # the judge retries, and knows when that makes sense
        )
        found = await self.run(request)
        return Verdict(1.0 - float(found["score"]), found.get("reasoning"))
