"""What a run exports loads in plain transformers and peft, elsewhere, and answers the same."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import yaml

from medgrpo.dataset.medqa_cot import MedQACoT
from medgrpo.dataset.prompt import Prompt
from medgrpo.errors import UserError
from medgrpo.evaluation.export import push
from medgrpo.metrics.recorded import Evaluation
from medgrpo.model.base import TINY
from medgrpo.model.huggingface import HuggingFaceModel
from medgrpo.model.save import merge
from medgrpo.model.unsloth_loader import UnslothModel
from medgrpo.report.model_card import model_card
from medgrpo.rundir import RunFolder

ANSWER = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
torch.set_num_threads(1)
if sys.argv[1] == "adapter":
    from peft import AutoPeftModelForCausalLM as AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[2], dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[2])
for line in open(sys.argv[3]):
    batch = tokenizer.apply_chat_template(
        json.loads(line), add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    out = model.generate(**batch, max_new_tokens=64, do_sample=False)
    said = out[0, batch["input_ids"].shape[1]:]
    print(json.dumps(tokenizer.decode(said, skip_special_tokens=True)))
"""


@pytest.fixture(scope="module")
def prompts(sft_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The messages of the first ten held-out rows."""
    config = yaml.safe_load((sft_run / ".hydra" / "config.yaml").read_text())
    given = {"answer_with": "", "primary_metric": "accuracy", "max_prompt_tokens": 1024}
    rows = MedQACoT(source="sample", **given).load()["test"].select(range(10))
    fields = {key: config["prompt"][key] for key in ("system", "user", "style")}
    prompt = Prompt(**fields, answer_with=config["dataset"]["answer_with"])
    file = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    file.write_text("\n".join(json.dumps(prompt.messages(row)) for row in rows))
    return file


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), [("adapter", "adapter"), ("merged", "merged_16bit")])
def test_it_answers_in_a_fresh_process_as_the_run_did(
    sft_run: Path, prompts: Path, tmp_path: Path, kind: str, name: str
) -> None:
    command = [sys.executable, "-c", ANSWER, kind, str(sft_run / name), str(prompts)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    said = list(map(json.loads, done.stdout.splitlines()))
    rows = pq.read_table(sft_run / "predictions.parquet").to_pylist()
    assert said == [row["response"] for row in rows if row["stage"] == "after"][:10]
    assert len(set(said)) > 5


def test_the_merged_model_was_compared_with_the_adapter(sft_run: Path) -> None:
    found = json.loads((sft_run / "parity.json").read_text())
    assert found["agrees"] is True
    assert (found["rows"], found["same_answers"]) == (20, 1.0)
    assert 0 < found["mean_logprob_difference"] < 0.01  # rounded to 16 bit, and no more
    config = json.loads((sft_run / "merged_16bit" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert not (sft_run / "merged_16bit" / "adapter_config.json").exists()


def test_an_adapter_of_unsloths_copy_is_merged_into_the_weights_before_it(
    sft_run: Path, tmp_path: Path
) -> None:
    """Unsloth's adapters name its own 4-bit repository as their base."""
    adapter = shutil.copytree(sft_run / "adapter", tmp_path / "adapter")
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "unsloth/tiny-unsloth-bnb-4bit"
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    source = UnslothModel(name_or_path=f"{TINY}-bnb-4bit", device="cpu")
    assert source.weights() == str(TINY)
    merge(source, adapter, tmp_path / "merged", "bfloat16")
    name = "model.safetensors"
    expected = (sft_run / "merged_16bit" / name).read_bytes()
    assert (tmp_path / "merged" / name).read_bytes() == expected


def test_a_base_that_is_stored_in_4_bit_is_not_merged_into(sft_run: Path, tmp_path: Path) -> None:
    base = shutil.copytree(TINY, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (base / "config.json").write_text(json.dumps(config))
    source = HuggingFaceModel(name_or_path=str(base), device="cpu")
    with pytest.raises(UserError, match=r"is stored quantised; set model\.name_or_path"):
        merge(source, sft_run / "adapter", tmp_path / "merged", "bfloat16")


def test_the_card_says_data_config_results_and_limits(sft_run: Path) -> None:
    card = (sft_run / "adapter" / "README.md").read_text("utf-8")
    figures = json.loads((sft_run / "evaluation.json").read_text())
    _, header, body = card.split("---\n", 2)
    assert yaml.safe_load(header)["tags"] == ["medgrpo", "sft", "medical-question-answering"]
    for part in ("no medical device", "embedded sample", "## Limits", "num_train_epochs: 8"):
        assert part in body
    for stage in ("before", "after"):
        assert f"{figures[stage]['accuracy']:.3f}" in body
    assert f"{figures['paired'][0]['gained']} gained" in body
    assert "Not\nfor patients" in body
    assert "derives from medgrpo/tiny (see its card)" in body


def test_the_card_takes_the_licence_of_the_base(tmp_path: Path) -> None:
    """From the base model's own card, where that lies in its folder."""
    (tmp_path / "README.md").write_text("---\nlicense: llama3.2\n---\n# Llama\n")
    config = {
        "dataset": {"_target_": "x.MedQA", "source": "hub", "dataset_id": "a/medqa"},
        "model": {"_target_": "x.Y", "name_or_path": str(tmp_path)},
        "trainer": {"_target_": "x.SFT"}, "lora": {},
    }  # fmt: skip
    stage = {"n": 1, "n_labelled": 1, "primary_metric": "accuracy", "accuracy": 1.0, "primary": 1.0}
    _, header, body = model_card(config, Evaluation({"after": stage})).split("---\n", 2)
    assert yaml.safe_load(header)["license"] == "llama3.2"
    assert yaml.safe_load(header)["datasets"] == ["a/medqa"]
    assert "(llama3.2), whose terms hold for it" in body


class Hub:
    """Stands for the network: what was asked of the hub."""

    calls: list[tuple[str, object]]

    def create_repo(self, repository: str, **options: object) -> None:
        self.calls.append((repository, options["private"]))

    def upload_folder(self, *, repo_id: str, folder_path: Path, **options: object) -> None:
        self.calls.append((repo_id, folder_path.name))


def test_an_upload_is_private_unless_said_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    hub = Hub()
    hub.calls = []
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    folder = RunFolder(tmp_path)
    push(folder, "me/model", private=True, beside=[folder.merged, folder.gguf])
    uploaded = [("me/model", name) for name in ("adapter", "merged_16bit", "gguf")]
    assert hub.calls == [("me/model", True), *uploaded]


def test_a_hub_that_refuses_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(create_repo=refuse))
    with pytest.raises(UserError, match=r"export\.push_to: me/model"):
        push(RunFolder(tmp_path), "me/model", private=True, beside=[])
