"""Scores recorded completions, some verdicts missing, with the real trainer; as rank 0 prints.

    python tests/trainer/recorded.py FOLDER        or the same under torchrun

Twelve completions of three questions, four each: under two processes the middle group lies in
both. NaN in a table stands for a verdict that the judge does not give.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

import torch

from medgrpo.judge.client import Judge, JudgeError, Verdict
from medgrpo.rewards.base import JudgedReward, RuleReward
from medgrpo.rundir import RunFolder

GENERATIONS = 4
NAN = math.nan
TABLES = {
    "first": [1, 0, NAN, 0.5, 0.2, NAN, NAN, 0.9, NAN, NAN, NAN, NAN],
    "second": [0, 1, 1, NAN, NAN, 0.3, 0.6, 0.1, 0.4, 0.8, 0.8, 0.4],
}
RULE = [1, 1, 0, 0, 1, 0, 1, 0, 1, 1, 0, 1]
WEIGHTS = {"first": 2.0, "second": 1.0, "rule": 0.5}
TEXTS = [f"answer number {n}" for n in range(len(RULE))]


class NoJudge(Judge):
    name = "table"

    async def chat(self, messages, schema, logprobs=0):
        raise NotImplementedError


class Table(JudgedReward):
    def __init__(self, judge: Judge, name: str) -> None:
        super().__init__(judge=judge, weight=WEIGHTS[name], name=name, calls=0)

    async def verdict(self, text: str, row: Any) -> Verdict:
        score = TABLES[self.__name__][TEXTS.index(text)]
        if math.isnan(score):
            raise JudgeError("recorded as missing")
        return Verdict(score)


class Rule(RuleReward):
    def score(self, response: str, row: Any) -> float:
        return float(RULE[TEXTS.index(response)])


class Answers:
    """Every response answers itself, and is worth what the rule says."""

    higher_is_better = True

    def read(self, row: Any, response: str, *, truncated: bool) -> tuple[str | None, float]:
        return response, float(RULE[TEXTS.index(response)]) if response in TEXTS else NAN


def trainer_of(folder: str, processes: int, only: list[str], **args: Any) -> Any:
    from datasets import Dataset
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from trl import GRPOConfig

    from medgrpo.model.tiny.build import WEIGHTS as TOKENIZER
    from medgrpo.trainer.grpo_trainer import RecordingGRPOTrainer

    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape, **heads))
    judge = NoJudge()
    rewards = [
        Table(judge, "first"),
        Table(judge, "second"),
        Rule(weight=WEIGHTS["rule"], name="rule"),
    ]
    rewards = [reward for reward in rewards if reward.__name__ in only]
    return RecordingGRPOTrainer(
        model=model,
        reward_funcs=rewards,
        args=GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            report_to="none",
            num_generations=GENERATIONS,
            per_device_train_batch_size=len(TEXTS) // processes,
            reward_weights=[reward.weight for reward in rewards],
            **args,
        ),
        train_dataset=Dataset.from_list(rows()[::GENERATIONS]),
        processing_class=tokenizer,
        folder=RunFolder(folder),
        score=Answers(),
    )


def rows() -> list[dict[str, Any]]:
    row = {"context": [], "options": [], "answer": "", "label": None, "explanation": ""}
    questions = [f"question {n // GENERATIONS}" for n in range(len(TEXTS))]
    return [
        {"id": q, "question": q, "prompt": [{"role": "user", "content": q}], **row}
        for q in questions
    ]


def score(folder: str, only: Sequence[str] = tuple(WEIGHTS), **args: Any) -> dict[str, Any]:
    """The advantages by the rewards `only` and what was logged, of all processes."""
    from accelerate import PartialState

    state = PartialState(cpu=True)
    trainer = trainer_of(folder, state.num_processes, list(only), **args)
    local = answer(trainer, state)
    everyone = trainer.accelerator.gather(local)
    return {
        "advantages": everyone.tolist(),
        "logged": {name: values[-1] for name, values in trainer._metrics["train"].items()},
        "extra": {name: list(values) for name, values in trainer._logs["extra"].items()},
        "main": state.is_main_process,
    }


def answer(trainer: Any, state: Any) -> Any:
    """Have the recorded completions scored; the advantages of this process's."""
    size = len(TEXTS) // state.num_processes
    mine = slice(state.process_index * size, (state.process_index + 1) * size)

    def recorded(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        ids = [trainer.processing_class(text)["input_ids"] for text in TEXTS[mine]]
        return {"prompt_ids": [[1]] * size, "completion_ids": ids, "logprobs": None}

    trainer.rollout_func = recorded
    trainer.model.train()
    return trainer._generate_and_score_completions(rows()[mine])["advantages"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = score(sys.argv[1])
    if found["main"]:
        print(json.dumps(found))
