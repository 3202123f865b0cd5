"""Evaluation on held-out rows: ask the model, read its answers, sum them up.

The same rows, in the same order and greedily, before and after training: what differs is the
model alone.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from annotated_types import Ge, Gt

from medgrpo.answers.parse import Style
from medgrpo.dataset.example import Example
from medgrpo.dataset.fit import LEFT_OUT
from medgrpo.dataset.prompt import Prompt
from medgrpo.errors import UserError
from medgrpo.evaluation.answering import ask
from medgrpo.evaluation.engines.base import Decoding, Engine, Generation
from medgrpo.evaluation.likelihood import note_logprobs
from medgrpo.evaluation.rewarded import grade, reward
from medgrpo.evaluation.shuffled import note_shuffled, shuffle
from medgrpo.metrics.base import Metric, require_rows, row_value
from medgrpo.metrics.compute import compute_metrics
from medgrpo.metrics.prediction import Prediction, read
from medgrpo.model.base import Policy
from medgrpo.rewards.base import Reward
from medgrpo.rewards.rubric import RubricReward

if TYPE_CHECKING:
    from datasets import Dataset

log = logging.getLogger(__name__)

_ONCE: Any = {"samples": 0, "shuffles": 0, "option_logprobs": False}  # each row is asked once


@dataclass(frozen=True)
class Result:
    """What an evaluation found."""

    metrics: dict[str, Any]  # see medgrpo.metrics.compute.compute_metrics
    predictions: list[Prediction]  # one a row, in the split's order
    seconds: float  # taken by answering and scoring

    @property
    def score(self) -> float | None:
        """The primary metric, None where no row defines it."""
        return self.metrics["primary"]

    def rows(self, stage: str) -> list[dict[str, Any]]:
        """The predictions as flat rows of a table, a column `reward/<name>` for each reward."""
        return [
            {
                "stage": stage,
                **{key: found for key, found in row.items() if key != "rewards"},
                **{f"reward/{name}": score for name, score in row["rewards"].items()},
            }
            for row in self.predictions
        ]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How held-out rows are asked, and what is made of the answers."""

    engine: Engine  # answers
    prompt: Prompt  # makes the messages, and says how answers are read
    metrics: Mapping[str, Metric]
    primary_metric: str  # one of `metrics`
    grader: RubricReward | None = None  # grades all answers to rows that have a rubric

    @property
    def metric(self) -> Metric:
        """The primary one."""
        return self.metrics[self.primary_metric]


@dataclass(frozen=True)
class Scorer:
    """Answers rows with a policy as it is now, by the primary metric; reads answers like that."""

    evaluate: Callable[[Dataset], Result]
    metric: Metric
    style: Style
    limit: int | None  # rows that are answered at most

    @property
    def higher_is_better(self) -> bool:
        return self.metric.higher_is_better

    def __call__(self, rows: Dataset) -> float | None:
        return self.evaluate(rows).score

    def read(self, row: Example, response: str, *, truncated: bool) -> tuple[str | None, float]:
        """What a response answers, and what that is worth: NaN where the metric cannot say.

        A metric of many rows has no value of one: there it is whether the answer is right.
        """
        answer = read(row, response, 0, self.style, truncated=truncated)
        if not self.metric.about(answer):
            return answer["predicted"], math.nan
        value = row_value(self.metric, answer)
        return answer["predicted"], answer["token_f1"] if value is None else value


@dataclass(kw_only=True)
class HeldOut:
    """Greedy evaluation of a model on the first rows of a split."""

    batch_size: Annotated[int, Ge(1)]  # prompts answered at a time
    max_new_tokens: Annotated[int, Ge(1)]  # a response's length at most
    batch_prompt_tokens: Annotated[int, Ge(1)] | None = None  # of longer prompts fewer at a time
    max_prompt_tokens: Annotated[int, Ge(1)] | None = None  # None: what the model has room for
    limit: Annotated[int, Ge(0)] | None = None  # rows, None for all
    split: Literal["test", "validation"] = "test"  # which one the run passes in
    validation_limit: Annotated[int, Ge(0)] | None = None  # rows; None: as many as are tested on
    samples: Annotated[int, Ge(0)] = 0  # further answers a row, sampled, for maj@k
    shuffles: Annotated[int, Ge(0)] = 0  # further answers a row, its options in other orders
    option_logprobs: bool = False  # how likely each option's label is, directly after the prompt
    option_lead: str | None = None  # and this text; None: an answer's start, by the prompt's style
    temperature: Annotated[float, Gt(0)] = 0.7  # of the samples
    reward_rows: Annotated[int, Ge(0)] | None = 20  # first rows that rewards score, too; None: all
    evidently: bool = False  # also write Evidently's HTML report of tuned against base
    answer_cache: str | None = None  # file of greedy answers; None: each is made anew
    suite: dict[str, Any] = field(default_factory=dict)  # further benchmarks (suite.py), by name
    suite_rewards: bool = False  # whether the rewards score the first answers to these as well
    in_domain: list[str] | None = None  # sets like the training rows; None: the one trained on

    def prompt_budget(self, model: Any, trained: int, engine: Engine | None = None) -> int:
        """Tokens of a held-out prompt: `trained`, or all that there is room for. No model: any."""
        if not getattr(engine, "asks", True):
            return sys.maxsize
        room = getattr(model, "max_seq_length", 0) - self.max_new_tokens
        return self.max_prompt_tokens or max(trained, room)

    def on_validation(self, tested: int) -> HeldOut:
        """The same on rows of validation, without samples: what a setting may be chosen by."""
        limit = tested if self.validation_limit is None else self.validation_limit
        return replace(self, split="validation", limit=limit, reward_rows=0, **_ONCE)

    def require_rows(self, metric: Metric, rows: Dataset) -> None:
        """UserError where there is nothing to evaluate, or nothing that `metric` is about."""
        if not len(rows) and self.limit != 0:
            other = "validation" if self.split == "test" else "test"
            raise UserError(
                f"evaluation.split: there are no {self.split} rows with a gold answer; choose "
                f"evaluation.split={other}, or evaluation.limit=0 for no evaluation"
            )
        groups = rows.select_columns("group")[: self.limit]["group"]
        if groups:
            require_rows(metric, set(groups), self.split)

    def __call__(
        self,
        policy: Policy,
        dataset_split: Dataset | Sequence[Example],
        reading: Reading,
        rewards: Sequence[Reward] = (),
    ) -> Result:
        """Evaluate on `dataset_split`, a datasets.Dataset (or list) of Examples.

        The first responses are also scored by `rewards`. A row's answer is None, and counted, where
        none is found.
        """
        engine, prompt, grader = reading.engine, reading.prompt, reading.grader
        start = time.monotonic()
        n = len(dataset_split) if self.limit is None else min(self.limit, len(dataset_split))
        rows = [cast(Example, dataset_split[index]) for index in range(n)]
        messages = [prompt.messages(row) for row in rows]
        engine = for_rows(rows) if (for_rows := getattr(engine, "for_rows", None)) else engine
        repeated = [one for one in messages for _ in range(self.samples)]
        prefilled = prompt.prefilled(policy.tokenizer) if getattr(engine, "renders", True) else ""
        metric = reading.metric

        def value(place: int, answer: Generation) -> float | None:
            text, cut = prefilled + answer.text, answer.truncated
            return row_value(metric, read(rows[place], text, 0, prompt.style, truncated=cut))

        asking = partial(ask, engine, policy, cache=self.answer_cache)
        decoding, sampling = self._decoding(prompt), self._decoding(prompt, self.temperature)
        greedy, cached, saved = asking(
            messages, decoding, name=f"evaluating ({self.split})",
            measure=metric.label or metric.name, value=value,
        )  # fmt: skip
        sampled = asking(repeated, sampling, name=f"sampling ({self.split})").answers
        votes = [(prefilled + answer.text, answer.truncated) for answer in sampled]
        predictions = [
            read(
                row,
                prefilled + answer.text,
                answer.tokens,
                prompt.style,
                votes[i * self.samples :][: self.samples],
                truncated=answer.truncated,
            )
            for i, (row, answer) in enumerate(zip(rows, greedy, strict=True))
        ]
        if self.shuffles:
            asked = shuffle(rows, self.shuffles)
            reordered = [prompt.messages(one.row) for one in asked]
            again = asking(reordered, decoding, name=f"options shuffled ({self.split})")
            note_shuffled(predictions, asked, again.answers, prompt.style, prefilled)
        if self.option_logprobs:
            likely = partial(engine.option_logprobs, policy, decoding=decoding)
            note_logprobs(predictions, rows, prompt, likely, self.option_lead)
        graded = grader and any(row.get("rubric") for row in rows)
        facts = {"grader": grade(grader, rows, predictions)} if grader and graded else {}
        if answered_by := getattr(engine, "answered_by", None):
            facts["answered_by"] = answered_by
        n_rewarded = len(rows) if self.reward_rows is None else self.reward_rows
        cut = [answer.truncated for answer in greedy]
        reward(rewards, rows[:n_rewarded], predictions, cut[:n_rewarded])
        computed = compute_metrics(predictions, reading.metrics, reading.primary_metric)
        computed["prompts_trimmed"] = sum(bool(row.get(LEFT_OUT)) for row in rows)
        computed["responses_cut_off"] = sum(cut)
        computed |= {"answers_cached": cached, "seconds_saved": saved, **facts}
        return Result(computed, predictions, round(time.monotonic() - start, 1))

    def scorer(self, policy: Policy, reading: Reading) -> Scorer:
        """What scores greedy answers to the first `limit` rows, without samples and rewards."""
        plain = replace(self, answer_cache=None, **_ONCE)  # the weights are new each time
        evaluate = partial(plain, policy, reading=reading)
        return Scorer(evaluate, reading.metric, reading.prompt.style, self.limit)

    def _decoding(self, prompt: Prompt, temperature: float = 0.0) -> Decoding:
        """How it is answered: greedily, unless at a `temperature`."""
        tokens = self.batch_prompt_tokens and self.batch_prompt_tokens + self.max_new_tokens
        return Decoding(
            batch_size=self.batch_size,
            max_new_tokens=self.max_new_tokens,
            batch_tokens=tokens and self.batch_size * tokens,
            temperature=temperature,
            chat_template_kwargs=prompt.chat_template_kwargs,
        )
