"""Rows in, metrics and predictions out, in the split's order; with a real, tiny model."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from datasets import Dataset
from standard_metrics import METRICS

from medgrpo.dataset.example import Example
from medgrpo.dataset.prompt import Prompt
from medgrpo.evaluation.engines.base import Decoding, prompt_ids
from medgrpo.evaluation.engines.transformers_engine import TransformersEngine
from medgrpo.evaluation.export import parity
from medgrpo.evaluation.heldout import HeldOut, Reading, Result
from medgrpo.model.base import Policy
from medgrpo.rewards.base import Reward

ENGINE = TransformersEngine()
PROMPT = Prompt(system="", user="{{ question }}", answer_with="yes or no", style="reasoning")
READING = Reading(engine=ENGINE, prompt=PROMPT, metrics=METRICS, primary_metric="accuracy")
ROWS = [
    Example(
        id=str(i),
        question=" ".join(f"w{(i * j) % 58}" for j in range(1, 12 - i)),
        context=[],
        options=[],
        answer="no" if i % 2 else "yes",
        label="no" if i % 2 else "yes",
        explanation="",
    )
    for i in range(10)
]


def evaluate(
    model: Any, tokenizer: Any, prompt: Prompt = PROMPT, rewards: Any = (), **settings: Any
) -> Result:
    held_out = HeldOut(**{"batch_size": 4, "max_new_tokens": 3, **settings})
    rows = Dataset.from_list(ROWS)
    policy = Policy(model, tokenizer)
    return held_out(policy, rows, replace(READING, prompt=prompt), rewards)


def test_a_model_that_says_yes(yes_model: Any, tokenizer: Any) -> None:
    result = evaluate(yes_model, tokenizer)
    assert {row["response"] for row in result.predictions} == {"yes"}
    assert [row["correct"] for row in result.predictions] == [True, False] * 5
    assert result.score == result.metrics["accuracy"] == 0.5
    assert result.metrics["recall"] == {"no": 0.0, "yes": 1.0}
    assert result.metrics["mean_tokens"] == 1


def test_a_response_that_was_cut_off_has_not_answered(yes_model: Any, tokenizer: Any) -> None:
    yes_model.generation_config.eos_token_id = tokenizer.eos_token_id
    result = evaluate(yes_model, tokenizer, samples=1)
    assert {row["response"] for row in result.predictions} == {"yes yes yes"}
    assert {row["predicted"] for row in result.predictions} == {None}
    assert {tuple(row["votes"]) for row in result.predictions} == {(None,)}
    assert result.metrics["responses_cut_off"] == 10
    assert evaluate(yes_model, tokenizer, limit=0).metrics["responses_cut_off"] == 0
    assert result.metrics["unparsed_rate"] == 1.0


def test_a_response_begins_with_what_the_template_wrote(yes_model: Any, tokenizer: Any) -> None:
    tagged = deepcopy(tokenizer)
    tagged.chat_template += "{% if add_generation_prompt %}<answer> {% endif %}"
    result = evaluate(yes_model, tagged)
    assert {row["response"] for row in result.predictions} == {"<answer> yes"}
    assert result.score == 0.5


def test_prompts_that_lost_passages_are_counted(yes_model: Any, tokenizer: Any) -> None:
    rows = Dataset.from_list([{**row, "passages_left_out": i // 7} for i, row in enumerate(ROWS)])
    held_out = HeldOut(batch_size=4, max_new_tokens=3)
    result = held_out(Policy(yes_model, tokenizer), rows, READING)
    assert result.metrics["prompts_trimmed"] == 3


def test_held_out_prompts_have_all_the_room_that_there_is() -> None:
    model = SimpleNamespace(max_seq_length=2048)
    assert HeldOut(batch_size=1, max_new_tokens=48).prompt_budget(model, 512) == 2000
    assert HeldOut(batch_size=1, max_new_tokens=48).prompt_budget(object(), 512) == 512
    own = HeldOut(batch_size=1, max_new_tokens=48, max_prompt_tokens=64)
    assert own.prompt_budget(model, 512) == 64


def test_predictions_are_in_the_order_of_rows(model: Any, tokenizer: Any) -> None:
    """Each response is the one that its row gets alone."""
    result = evaluate(model, tokenizer, max_new_tokens=8)
    policy = Policy(model, tokenizer)
    for row, prediction in zip(ROWS, result.predictions, strict=True):
        asked = [PROMPT.messages(row)]
        (alone,) = ENGINE.generate(policy, asked, Decoding(batch_size=1, max_new_tokens=8))
        assert (prediction["id"], prediction["response"]) == (row["id"], alone.text)
    assert len({row["response"] for row in result.predictions}) > 5


def test_the_prompts_template_arguments_are_used(model: Any, tokenizer: Any) -> None:
    loud = Prompt(
        system="", user="{{ question }}", answer_with="", chat_template_kwargs={"loud": True}
    )
    plain = [row["response"] for row in evaluate(model, tokenizer).predictions]
    assert [row["response"] for row in evaluate(model, tokenizer, loud).predictions] != plain


@pytest.mark.parametrize(("limit", "n"), [(None, 10), (3, 3), (10, 10), (99, 10), (0, 0)])
def test_limit_takes_the_first_rows(
    yes_model: Any, tokenizer: Any, limit: int | None, n: int
) -> None:
    result = evaluate(yes_model, tokenizer, limit=limit)
    assert [row["id"] for row in result.predictions] == [str(i) for i in range(n)]
    assert result.metrics["n"] == n
    assert (result.score is None) == (n == 0)


def test_samples_vote_beside_the_greedy_answer(yes_model: Any, tokenizer: Any) -> None:
    result = evaluate(yes_model, tokenizer, samples=3)
    assert [row["votes"] for row in result.predictions] == [["yes"] * 3] * 10
    assert (result.metrics["k"], result.metrics["maj_at_k"]) == (3, 0.5)
    assert evaluate(yes_model, tokenizer).metrics["maj_at_k"] is None


class Length(Reward):
    """Called as TRL calls a reward; with a verdict on all but one row."""

    def __call__(self, completions: list[str], *, id: list[str], **columns: Any) -> list[Any]:
        return [None if i == "1" else len(c) / 10 for c, i in zip(completions, id, strict=True)]


class Judged(Length):
    async def __call__(self, completions: list[str], **columns: Any) -> list[Any]:  # type: ignore[override]
        return [0.5 for _ in completions]


def test_rewards_score_the_first_responses(yes_model: Any, tokenizer: Any) -> None:
    rewards = [Length(weight=1, name="length"), Judged(weight=1, name="judged")]
    result = evaluate(yes_model, tokenizer, rewards=rewards, reward_rows=4)
    scores = [row["rewards"]["length"] for row in result.predictions]
    assert scores == [0.3, None, 0.3, 0.3] + [None] * 6
    assert result.metrics["rewards"] == {
        "judged": {"n": 4, "mean": 0.5},
        "length": {"n": 3, "mean": pytest.approx(0.3)},
    }
    assert result.rows("after")[0]["reward/judged"] == 0.5


def test_an_export_is_compared_on_what_was_asked_and_written(
    yes_model: Any, tokenizer: Any
) -> None:
    """By the prompt's own template arguments, and without writing a second time what it opens."""
    tagged, seen = deepcopy(tokenizer), []
    tagged.chat_template += "{% if add_generation_prompt %}<answer> {% endif %}"
    loud = replace(PROMPT, chat_template_kwargs={"loud": True})
    policy = Policy(yes_model, tagged)
    prompts = [{**row, "prompt": loud.messages(row)} for row in ROWS]
    result = evaluate(yes_model, tagged, loud)
    hook = yes_model.register_forward_pre_hook(lambda _, args: seen.append(args[0].tolist()[0]))
    found = parity(
        policy,
        policy,
        prompts,
        result,
        prompt=loud,
        evaluate=lambda *_: result,
    )
    hook.remove()
    asked = prompt_ids(tagged, [row["prompt"] for row in prompts], {"loud": True})
    yes = tokenizer("yes", add_special_tokens=False)["input_ids"]
    assert seen == [ids + yes for ids in asked for _ in range(2)]
    assert found["mean_logprob_difference"] == 0.0


def test_a_score_needs_no_samples(yes_model: Any, tokenizer: Any) -> None:
    """It is asked for at every probe."""
    held_out, asked = HeldOut(batch_size=4, max_new_tokens=3, samples=3, limit=4), []
    write = yes_model.generate
    yes_model.generate = lambda **options: asked.append(1) or write(**options)
    policy, rows = Policy(yes_model, tokenizer), Dataset.from_list(ROWS)
    assert held_out.scorer(policy, READING)(rows) == 0.5
    assert len(asked) == 1
