"""An engine and a model of one's own, from a folder outside the checkout, by the true command."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import ROOT, run_medgrpo

CODE = '''
from dataclasses import dataclass

from medgrpo.evaluation.engines.base import Generation
from medgrpo.model.base import TINY, Policy


class Bare:
    """A model with nothing but what a run asks of one."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def load(self, lora):
        from peft import get_peft_model
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(TINY, dtype="float32")
        tokenizer = AutoTokenizer.from_pretrained(TINY, padding_side="left")
        return Policy(get_peft_model(model, lora.peft_config()), tokenizer)


@dataclass
class Parrot:
    """An engine with nothing but what a run asks of one."""

    word: str

    def generate(self, policy, prompts, decoding, on_answers):
        return [Generation(f"{self.word} {len(prompt)}", 2, True) for prompt in prompts]
'''
ALL = [
    "--config-dir", "own", "trusted_targets=[mine]", "model=bare", "engine=parrot",
    "rewards=[formats]", "tracking=local", "trainer.args.max_steps=1", "evaluation.limit=4",
    "output_dir=run",
]  # fmt: skip


@pytest.fixture
def own(tmp_path):
    """`own("lora.r=4")`: the command in a folder that holds the code and its YAML files."""
    (tmp_path / "mine.py").write_text(CODE)
    for group, name, text in [("model", "bare", "Bare"), ("engine", "parrot", "Parrot\nword: ara")]:
        file = tmp_path / "own" / group / f"{name}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(f"_target_: mine.{text}\n")
    return lambda *more: run_medgrpo(tmp_path, *ALL, *more, PYTHONPATH=f"{ROOT}:{tmp_path}")


def test_they_train_answer_and_are_saved(own, tmp_path):
    done = own("lora.r=4", "model.scale=2.0")
    assert done.returncode == 0, done.stdout + done.stderr
    answers = pq.read_table(tmp_path / "run" / "predictions.parquet").to_pylist()
    assert [row["stage"] for row in answers] == ["before"] * 4 + ["after"] * 4
    assert {row["response"] for row in answers} == {"ara 2"}  # system and user message
    adapter = tmp_path / "run" / "adapter"
    assert json.loads((adapter / "adapter_config.json").read_text())["r"] == 4
    assert "# Bare tuned on" in (adapter / "README.md").read_text()
    assert "report.html" in done.stdout


def test_what_they_cannot_do_is_said_before_anything_is_loaded(own, tmp_path):
    done = own("export=merged_16bit")
    assert done.returncode == 2
    assert "export.merged: Bare does not say where its weights lie" in done.stderr
    assert not list((tmp_path / "run").glob("*.parquet"))


def test_an_engine_says_itself_what_it_cannot_do(own, tmp_path):
    (tmp_path / "mine.py").write_text(CODE + "\n".join([
        "", "    @classmethod", "    def unsupported(cls, *, trains, adapter):",
        "        from medgrpo.config.schema import Problem",
        "        if trains:", "            yield Problem('engine', 'parrots do not learn')",
    ]))  # fmt: skip
    done = own()
    assert done.returncode == 2
    assert "engine (own/engine/parrot.yaml): parrots do not learn" in done.stderr
    assert not (tmp_path / "run").exists()


def test_its_signature_is_its_schema(own, tmp_path):
    done = own("engine.word=3", "model.scal=1")
    assert done.returncode == 2
    assert "engine.word (command line): 3 should be a valid string" in done.stderr
    assert "model.scal (command line): no such key; did you mean model.scale?" in done.stderr
    assert not (tmp_path / "run").exists()


OLD_KEYS = {
    "evaluation.engine": "engine",
    "evaluation.base_url": "engine.base_url",
    "evaluation.served_model": "engine.served_model",
    "evaluation.api_key_env": "engine.api_key_env",
}


def refused(cwd: Path, *overrides: str, **env: str) -> str:
    before = sorted(cwd.rglob("*"))
    done = run_medgrpo(cwd, *overrides, **env)
    assert done.returncode == 2, done.stdout + done.stderr
    assert sorted(path for path in cwd.rglob("*") if "__pycache__" not in path.parts) == before
    return done.stderr


def test_a_key_that_moved_names_the_new_one(tmp_path):
    said = refused(tmp_path, "trainer=none", *(f"{key}=x" for key in OLD_KEYS))
    for old, new in OLD_KEYS.items():
        assert f"{old} (command line): moved: use {new}\n" in said
    said = refused(tmp_path, "+evaluation.engine=vllm", "model.fast_inference=false")
    assert "evaluation.engine (command line): moved: use engine\n" in said
    assert "model.fast_inference (command line): moved: use a model of Unsloth's" in said


def test_a_key_that_moved_is_found_in_a_file(tmp_path):
    file = tmp_path / "own" / "experiment" / "served.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(
        "# @package _global_\ndefaults:\n  - override /trainer: none\n"
        "evaluation:\n  engine: openai\n  base_url: http://localhost:1/v1\n  served_model: x\n"
    )
    said = refused(tmp_path, "--config-dir", "own", "experiment=served")
    for old in ("evaluation.engine", "evaluation.base_url", "evaluation.served_model"):
        assert f"{old} (own/experiment/served.yaml): moved: use {OLD_KEYS[old]}" in said


def test_a_module_that_moved_names_the_new_one(tmp_path):
    """As a target, and imported by a target of one's own."""
    (tmp_path / "mine.py").write_text("from medgrpo.rewards.parse import predict\n")
    said = refused(
        tmp_path,
        "trusted_targets=[mine]",
        "model._target_=mine.Model",
        "dataset._target_=medgrpo.trainer.fields.types_of",
        PYTHONPATH=f"{ROOT}:{tmp_path}",
    )
    assert "medgrpo.rewards.parse moved: use medgrpo.answers.parse" in said
    assert "medgrpo.trainer.fields moved: use medgrpo.config.trl_fields" in said
