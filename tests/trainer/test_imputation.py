"""A verdict that is missing neither punishes nor rewards, in one process and in two."""

import json
import math
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import recorded
import torch

from medgrpo.trainer.judging import impute_missing

ROOT = Path(__file__).parents[2]


def advantages(scores: np.ndarray) -> np.ndarray:
    """GRPO's by definition: the weighted total against its group, in its standard deviations."""
    total = (scores * list(recorded.WEIGHTS.values())).sum(axis=1)
    groups = total.reshape(-1, recorded.GENERATIONS)
    centred = groups - groups.mean(axis=1, keepdims=True)
    return (centred / (groups.std(axis=1, ddof=1, keepdims=True) + 1e-4)).ravel()


def table(fill) -> np.ndarray:
    """The recorded scores with `fill(group)` in place of what is missing."""
    columns = []
    for scores in [*recorded.TABLES.values(), recorded.RULE]:
        groups = np.array(scores, dtype=float).reshape(-1, recorded.GENERATIONS)
        columns.append(np.concatenate([np.where(np.isnan(g), fill(g), g) for g in groups]))
    return np.stack(columns, axis=1)


def group_mean(group: np.ndarray) -> float:
    known = group[~np.isnan(group)]
    return known.mean() if known.size else 0.0  # any constant: a whole group shares it


def check(found: dict) -> None:
    assert found["advantages"] == pytest.approx(advantages(table(group_mean)), abs=1e-4)
    punished = advantages(table(lambda group: 0.0))
    assert not np.allclose(found["advantages"], punished, atol=0.1)
    logged = found["logged"]
    assert logged["judge/first/failures"] == 7
    assert logged["judge/first/missing_rate"] == pytest.approx(7 / 12)
    assert logged["rewards/first/mean"] == pytest.approx((1.5 + 0.5 + 1.1 + 1.1 + 4 * 0.52) / 12)
    missing = found["extra"]["first/missing"]
    assert missing == [math.isnan(score) for score in recorded.TABLES["first"]]


def test_advantages_are_the_imputed_ones(tmp_path):
    check(recorded.score(str(tmp_path)))


@pytest.mark.slow
def test_advantages_are_the_imputed_ones_in_two_processes(tmp_path):
    script = str(Path(recorded.__file__))
    command = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", script]
    done = subprocess.run(
        [sys.executable, *command, str(tmp_path)],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    check(json.loads(done.stdout.splitlines()[-1]))


def test_a_group_without_any_verdict_has_no_advantage_from_it():
    scores = torch.tensor([[1.0, 1.0], [0.0, 1.0], [math.nan, 0.0], [math.nan, 1.0]])
    assert impute_missing(scores, 2, [0])[2:, 0].tolist() == [0.5, 0.5]
    nothing = torch.full((4, 1), math.nan)
    assert impute_missing(nothing, 2, [0]).isnan().all()


def test_a_completion_that_nothing_scores_is_not_among_its_group(tmp_path):
    """Their deviation is that of those that were judged, and not of them and copies of the mean."""
    found = recorded.score(str(tmp_path), only=["first"])
    half = 0.5 / math.sqrt(0.25)  # of 1, 0 and 0.5
    judged = 0.35 / (0.7 / math.sqrt(2))  # of 0.2 and 0.9; with two means beside them: 1.22
    expected = [half, -half, 0, 0, -judged, 0, 0, judged, 0, 0, 0, 0]
    assert found["advantages"] == pytest.approx(expected, abs=1e-3)


def test_a_group_of_which_few_are_judged_is_left_out_of_that_reward(tmp_path):
    """2 of 8: filled with means, the two would get advantages of 1.87 where 0.94 is the most."""
    rule = torch.tensor([1.0, 0.0] * 8)
    judged = torch.full((16,), math.nan)
    judged[[0, 1, 8, 9, 10]] = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.5])
    filled = impute_missing(torch.stack([rule, judged], dim=1), 8, [1])
    assert filled[:, 0].tolist() == rule.tolist()
    assert filled[:8, 1].tolist() == [0.5] * 8
    assert filled[8:, 1].tolist() == [1.0, 0.0, 0.5] + [0.5] * 5


def test_rows_that_a_reward_is_not_about_are_not_imputed(tmp_path):
    """The middle group has its verdicts of the other two alone, and counts as if it had no gap."""
    about = {"question 0", "question 2"}
    trainer = recorded.trainer_of(str(tmp_path), 1, ["first", "second"])
    first = trainer._watch.rewards[0]
    first.applies = lambda row: row["question"] in about
    rows = recorded.rows()
    prompts = [row["prompt"] for row in rows]
    completions = [[{"role": "assistant", "content": text}] for text in recorded.TEXTS]
    trainer.num_generations = recorded.GENERATIONS
    ids = [[5, trainer.processing_class.eos_token_id]] * len(rows)
    scores = trainer._calculate_rewards(rows, prompts, completions, ids)
    assert scores[4:8, 0].isnan().all()
    assert not scores[:4].isnan().any()
    logged = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    assert logged["judge/first/missing_rate"] == 5 / 8  # NaN of the table in both other groups
    assert logged["judge/first/failures"] == 5
    assert logged["judge/first/groups_left_out"] == pytest.approx(1 / 3)  # the last one


def test_how_many_groups_are_left_out_is_logged(tmp_path):
    logged = recorded.score(str(tmp_path))["logged"]
    assert logged["judge/first/groups_left_out"] == pytest.approx(1 / 3)
    assert logged["judge/second/groups_left_out"] == 0.0


def test_what_a_rule_leaves_out_stays_out():
    scores = torch.tensor([[1.0, math.nan], [math.nan, math.nan], [0.0, 1.0], [1.0, 0.0]])
    filled = impute_missing(scores, 2, [0])
    assert filled[:, 1].isnan().tolist() == [True, True, False, False]
    assert filled[:, 0].isnan().tolist() == [False, True, False, False]


@pytest.mark.slow
def test_unsloth_leaves_the_hook_alone(tmp_path):
    """Unsloth rewrites methods of TRL's trainer from source: read in its wheel, not installed."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(tmp_path)]
    packages = ["unsloth>=2026.10.7,!=2026.10.9", "unsloth_zoo"]
    done = subprocess.run([*command, *packages], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"Unsloth's wheel cannot be had here: {done.stderr.strip()[-200:]}")
    source = ""
    for wheel in tmp_path.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith(".py")]
            source += "".join(archive.read(name).decode() for name in names)
    assert "_generate_and_score_completions" in source  # what it does rewrite
    named = re.findall(r".*_calculate_rewards.*", source)
    call = r"rewards_per_func = self\._calculate_rewards\(\w+, \w+, \w+, completion_ids_list\)"
    assert named  # it reads that line of TRL and writes it back:
    assert all(re.search(call, line) for line in named), named
