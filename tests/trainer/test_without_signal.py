"""Rewards that are the same for all answers to a question teach nothing, whatever their value."""

from __future__ import annotations

import json
import os

import torch
from conftest import ROOT, run_medgrpo
from safetensors.torch import load_file

CONSTANT = """
from medgrpo.rewards.base import RuleReward


class Constant(RuleReward):
    def __init__(self, *, value: float, weight: float, name: str) -> None:
        super().__init__(weight=weight, name=name)
        self.value = value

    def score(self, response, row):
        return self.value
"""


def test_a_constant_reward_leaves_the_model_as_it_is(tmp_path):
    """TRL's mean of eight rewards of 0.2 is not 0.2, and Adam sees no scale."""
    (tmp_path / "constant.py").write_text(CONSTANT)
    forms = ["reasoning_tags", "multiline_compliance", "structure_validation", "response_format"]
    done = run_medgrpo(
        tmp_path,
        "rewards=[formats]",
        *(f"~rewards.{name}" for name in forms),
        "+rewards.constant={_target_: constant.Constant, value: 0.2, weight: 0.7}",
        "trusted_targets=[constant]",
        "trainer.args.max_steps=2",
        "trainer.args.save_steps=1",
        "trainer.validation_rows=0",
        "evaluation.limit=0",
        "tracking.mode=disabled",
        "output_dir=run",
        PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}",
    )
    assert done.returncode == 0, done.stderr
    checkpoints = tmp_path / "run" / "checkpoints"
    first, last = (
        load_file(checkpoints / f"checkpoint-{step}" / "adapter_model.safetensors")
        for step in (1, 2)
    )
    assert all(torch.equal(first[name], last[name]) for name in first)
    assert not any(value.any() for name, value in first.items() if "lora_B" in name)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    rows = [row for row in rows if "grad_norm" in row]
    assert [row["frac_reward_zero_std"] for row in rows] == [1.0, 1.0]
    assert {row["grad_norm"] for row in rows} == {0.0}
