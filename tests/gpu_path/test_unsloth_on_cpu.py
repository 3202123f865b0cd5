"""The recipe with the real Unsloth, on a CPU: shim/sitecustomize.py says how, and what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pandas as pd
import pytest
from conftest import ROOT, run_medgrpo
from gpu_path.environments import answers, python_of, run

from medgrpo.tracking.metrics_log import read_log

pytestmark = pytest.mark.slow

SHIM = Path(__file__).parent / "shim"
COT = ROOT / "medgrpo" / "dataset" / "samples" / "medqa_cot" / "train.jsonl"  # Triton is slow here
Command: TypeAlias = Callable[..., str]
TINY = ROOT / "medgrpo" / "model" / "tiny" / "weights"
RECIPE = [
    "experiment=medqa_grpo",
    "dataset.source=sample",
    "judge=lexical",
    "rewards=[formats,verifiable]",
    "tracking=local",
    "model.device=cpu",
    "model.load_in_4bit=false",
    "model.dtype=float32",
    "evaluation.limit=2",
    "evaluation.max_new_tokens=8",
    "trainer.args.max_steps=2",
    "trainer.args.save_steps=1",
    "trainer.args.max_completion_length=8",
]


def command_of(environment: str) -> Command:
    """`command(cwd, "-m", "medgrpo", ...)` runs Python in an environment: what it prints."""
    python = python_of(environment)

    def command(cwd: Path, *arguments: str) -> str:
        return run(python, cwd, *arguments, PYTHONPATH=f"{SHIM}:{ROOT}:{ROOT / 'tests'}")

    return command


@pytest.fixture(scope="module")
def unsloth() -> Command:
    """Where Unsloth is as constraints/unsloth.txt has it."""
    return command_of("unsloth")


@pytest.fixture(scope="module")
def recipe(unsloth, tmp_path_factory) -> Path:
    """A folder with `run`, two steps of the recipe to its end, merged."""
    cwd = tmp_path_factory.mktemp("recipe")
    grpo(unsloth, cwd, "export=merged_16bit", "output_dir=run")
    return cwd


def grpo(unsloth: Command, cwd: Path, *overrides: str, multirun: bool = False) -> str:
    flags = ["-m"] if multirun else []
    settings = {word.partition("=")[0]: word for word in [*RECIPE, *overrides]}
    base = f"model.name_or_path={TINY}"
    return unsloth(cwd, "-m", "medgrpo", *flags, *settings.values(), base)


def steps(run: Path) -> list[int]:
    return [row["step"] for row in read_log(run / "metrics.jsonl") if row.get("loss") is not None]


def test_the_recipe_reaches_its_end(recipe):
    run = recipe / "run"
    assert json.loads((run / "summary.json").read_text())["status"] == "finished"
    assert steps(run) == [1, 2]
    assert json.loads((run / "best.json").read_text())["step"] in (1, 2)
    stages = json.loads((run / "evaluation.json").read_text())
    assert (stages["before"]["n"], stages["after"]["n"]) == (2, 2)
    sampled = pd.concat(map(pd.read_parquet, sorted((run / "completions").glob("*.parquet"))))
    assert sampled["step"].nunique() == 2


def test_the_merged_model_is_the_adapters(recipe):
    found = json.loads((recipe / "run" / "parity.json").read_text())
    assert found["agrees"], found
    assert found["rows"] == 2


def test_plain_peft_answers_as_unsloth_did(recipe):
    """The same rows in this environment, which has no Unsloth."""
    plain = "model._target_=medgrpo.model.huggingface.HuggingFaceModel"
    settings = [word for word in RECIPE if not word.startswith("trainer.")]
    again = ["trainer=none", "model.adapter=run", f"model.name_or_path={TINY}", "output_dir=again"]
    done = run_medgrpo(recipe, *settings, plain, *again)
    assert done.returncode == 0, done.stderr
    assert answers(recipe / "again") == answers(recipe / "run")


def test_the_trainer_is_unsloths(unsloth, tmp_path):
    script = (
        "import unsloth; from medgrpo.trainer.grpo_trainer import RecordingGRPOTrainer as Trainer;"
        "print('bases', [base.__name__ for base in Trainer.__mro__])"
    )
    (bases,) = [
        line for line in unsloth(tmp_path, "-c", script).splitlines() if line.startswith("bases")
    ]
    assert "UnslothGRPOTrainer" in bases


def test_missing_verdicts_are_imputed_as_in_plain_trl(unsloth, tmp_path):
    from trainer import recorded

    ours = recorded.score(str(tmp_path / "plain"))
    script = """
import unsloth, runpy, transformers
model = transformers.LlamaForCausalLM  # made without Unsloth here, whose models have these two
model.for_training = model.for_inference = lambda self, **settings: None
runpy.run_module("trainer.recorded", run_name="__main__")
"""
    told = unsloth(tmp_path, "-c", script, "rewritten").splitlines()
    (theirs,) = [json.loads(line) for line in told if line.startswith('{"advantages"')]
    assert theirs["advantages"] == pytest.approx(ours["advantages"], abs=1e-6)
    assert theirs["extra"] == ours["extra"]


def test_scoring_leaves_gradient_checkpointing_on(unsloth, tmp_path):
    """SFT that is scored on validation rows would train on without it."""
    script = f"""
from medgrpo.evaluation.engines.base import Decoding
from medgrpo.evaluation.engines.transformers_engine import TransformersEngine
from medgrpo.model.lora import LoRA
from medgrpo.model.unsloth_loader import UnslothModel
import torch
torch.manual_seed(1)
policy = UnslothModel(name_or_path={str(TINY)!r}, device="cpu", dtype="float32").load(LoRA())
def state():
    return [
        (getattr(m, "gradient_checkpointing", None), hasattr(m, "_flag_for_generation"), m.training)
        for m in policy.model.modules()
    ]
policy.model.train()
before = state()
prompt = [{{"role": "user", "content": "Which organ releases thyroxine?"}}]
decoding = Decoding(max_new_tokens=4, batch_size=1)
TransformersEngine().generate(policy, [prompt], decoding)
assert any(checkpointing for checkpointing, _, _ in before)
assert state() == before
"""
    unsloth(tmp_path, "-c", script)


def test_sft_that_is_scored_on_validation_rows(unsloth, tmp_path):
    """Through the command: scored after each epoch, the best checkpoint kept, and to the end."""
    examples = [json.loads(line) for line in COT.read_text().splitlines()]
    for name, rows in {
        "train": examples[:4],  # Unsloth looks at the third
        "valid": examples[4:5],
        "test": examples[5:7],
    }.items():
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = {word.partition("=")[0]: word for word in RECIPE if "steps" not in word}
    given = "experiment", "rewards", "judge", "dataset.source", "trainer.args.max_completion_length"
    for word in given:
        settings.pop(word)
    unsloth(
        tmp_path, "-m", "medgrpo", "experiment=medqa_cot_sft", *settings.values(),
        f"model.name_or_path={TINY}", "dataset.source=path", "dataset.path=.",
        "dataset.drop_limit=1", "trainer.validation_rows=1",
        "trainer.args.metric_for_best_model=eval_score", "trainer.args.num_train_epochs=1",
        "trainer.args.per_device_train_batch_size=4", "trainer.args.optim=adamw_torch",
        "trainer.args.gradient_accumulation_steps=1", "trainer.args.max_length=256",
        "model.max_seq_length=256", "dataset.max_prompt_tokens=128",
        "trainer.args.use_liger_kernel=false", "output_dir=run",
    )  # fmt: skip
    rows = read_log(tmp_path / "run" / "metrics.jsonl")
    scores = [row["eval_score"] for row in rows if row.get("eval_score") is not None]
    assert len(scores) >= 2
    best = json.loads((tmp_path / "run" / "best.json").read_text())
    assert best["measure"] == "eval_score"
    assert best["value"] == max(scores)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "finished"


def test_a_run_is_resumed(unsloth, tmp_path):
    grpo(unsloth, tmp_path, "output_dir=run", "trainer.args.max_steps=1")
    grpo(unsloth, tmp_path, "resume=run", "trainer.args.max_steps=2")
    assert steps(tmp_path / "run") == [1, 2]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "finished"


def test_a_sweep_of_two_jobs(unsloth, tmp_path):
    settings = ["lora.r=4,8", "trainer.args.max_steps=1", "hydra.sweep.dir=sweep"]
    grpo(unsloth, tmp_path, *settings, "launch.own_process=true", multirun=True)
    ranks = [
        json.loads(path.read_text())["r"]
        for path in sorted((tmp_path / "sweep").glob("*/adapter/adapter_config.json"))
    ]
    assert ranks == [4, 8]
    assert (tmp_path / "sweep" / "comparison.csv").exists()
