"""Evaluation and GRPO with the real vLLM, its build for CPUs, of the range that we admit.

Not covered: server mode, whose weights TRL hands over by NCCL alone, and 4 bit.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT
from gpu_path.environments import answers, python_of, run

from medgrpo.tracking.metrics_log import read_log

pytestmark = pytest.mark.slow

TINY = ROOT / "medgrpo" / "model" / "tiny" / "weights"
ENVIRONMENT = {  # compiling gives nothing for minutes; 1 GB of keys and values
    "TORCH_COMPILE_DISABLE": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'gpu_path' / 'vllm_shim'}",
}
BRIEF = ["tracking=local", "rewards=[formats,verifiable]", "evaluation.limit=32"]
STEPS = ["trainer=grpo_vllm", "trainer.args.max_steps=2"]


@pytest.fixture(scope="module")
def vllm():
    """`vllm(cwd, "engine=vllm", ...)` is the public command where vLLM is."""
    python = python_of("vllm")

    def command(cwd: Path, *overrides: str, multirun: bool = False) -> str:
        flags = ["-m"] if multirun else []
        return run(python, cwd, "-m", "medgrpo", *flags, *BRIEF, *overrides, **ENVIRONMENT)

    return command


@pytest.fixture(scope="module")
def trained(vllm, tmp_path_factory) -> Path:
    """A folder with `a` and `b`, two steps by completions of vLLM at two rates."""
    cwd = tmp_path_factory.mktemp("trained")
    vllm(cwd, *STEPS, "output_dir=a")
    vllm(cwd, *STEPS, "trainer.args.learning_rate=0.02", "output_dir=b")
    return cwd


def test_it_answers_as_transformers_does(vllm, tmp_path):
    vllm(tmp_path, "trainer=none", "output_dir=transformers")
    vllm(tmp_path, "trainer=none", "engine=vllm", "output_dir=vllm")
    assert answers(tmp_path / "vllm") == answers(tmp_path / "transformers")
    assert len(answers(tmp_path / "vllm")) == 32


def test_options_are_as_likely_as_transformers_says(vllm, tmp_path):
    asked = ["trainer=none", "evaluation.option_logprobs=true", "metrics=[standard,calibration]"]
    vllm(tmp_path, *asked, "output_dir=transformers")
    vllm(tmp_path, *asked, "engine=vllm", "output_dir=vllm")
    logs = [
        [one for row in pd.read_parquet(tmp_path / name / "predictions.parquet")["option_logprobs"]
         for one in row]
        for name in ("transformers", "vllm")
    ]  # fmt: skip
    assert len(logs[0]) == 32 * 4
    assert logs[1] == pytest.approx(logs[0], abs=1e-3)


def test_probabilities_of_vllm_are_the_models(trained):
    for name in ("a", "b"):
        key = "sampling/importance_sampling_ratio/mean"
        logged = read_log(trained / name / "metrics.jsonl")
        ratios = [row[key] for row in logged if key in row]
        assert len(ratios) == 2
        assert ratios == pytest.approx([1, 1], abs=0.05)  # the second step has new weights


def test_each_adapter_of_a_sweep_is_evaluated(vllm, trained):
    both = [f"model.adapter={trained / 'a'},{trained / 'b'}", "hydra.sweep.dir=two"]
    vllm(trained, "trainer=none", "engine=vllm", *both, multirun=True)
    jobs = [file.parent for file in sorted(trained.glob("two/*/predictions.parquet"))]
    ours = [answers(job) for job in jobs]
    assert ours == [answers(trained / "a"), answers(trained / "b")]
    assert ours[0] != ours[1]


def test_a_long_context_needs_no_more_cache_than_the_run(vllm, tmp_path):
    """A million positions, whose keys and values (4 GB) do not fit into the cache of 1 GB."""
    model = shutil.copytree(TINY, tmp_path / "long")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 1 << 20}))
    local = ["model=local", f"model.name_or_path={model}"]
    vllm(tmp_path, "trainer=none", "engine=vllm", *local, "output_dir=run")
    assert len(answers(tmp_path / "run")) == 32
