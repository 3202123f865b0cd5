"""The Unsloth path through the true command, with a stand-in that records what it is asked."""

import json
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import ROOT, run_medgrpo
from packaging.version import Version

from medgrpo.errors import UserError
from medgrpo.model.lora import LoRA
from medgrpo.model.unsloth_loader import UnslothModel

STANDIN = Path(__file__).parent / "unsloth_standin"
TINY = ROOT / "medgrpo" / "model" / "tiny" / "weights"
BRIEF = [
    "model.device=cpu",
    "dataset.source=sample",
    "dataset.max_prompt_tokens=1024",
    "rewards=[formats]",
    "tracking=local",
    "evaluation.limit=4",
    "evaluation.max_new_tokens=8",
    "trainer.args.max_steps=2",
    "trainer.args.max_completion_length=16",
]


def run(cwd: Path, *overrides: str):
    done = run_medgrpo(
        cwd,
        *BRIEF,
        *overrides,
        PYTHONPATH=f"{STANDIN}:{ROOT}",
        UNSLOTH_CALLS=str(cwd / "calls.jsonl"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def calls(cwd: Path) -> dict[str, dict]:
    read = [json.loads(line) for line in (cwd / "calls.jsonl").read_text().splitlines()]
    return {call.pop("call"): call for call in read}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The published experiment, two steps of it: its folder."""
    if Version(version("trl")) > Version("1.15"):
        pytest.skip("Unsloth admits no TRL as new as this one, which preflight says")
    cwd = tmp_path_factory.mktemp("recipe")
    base = shutil.copytree(TINY, cwd / "base")
    run(cwd, "experiment=medqa_grpo", f"model.name_or_path={base}", "output_dir=run")
    return cwd


@pytest.fixture
def asked(monkeypatch):
    """What `FastLanguageModel.from_pretrained` is asked for, which then raises InterruptedError."""
    arguments = {}

    class Recorder:
        class FastLanguageModel:
            @staticmethod
            def from_pretrained(**given):
                arguments.update(given)
                raise InterruptedError

    monkeypatch.setitem(sys.modules, "unsloth", Recorder)
    return arguments


def test_unsloth_is_imported_first_and_told_the_recipe(recipe):
    made = calls(recipe)
    assert made["import"]["imported_before"] == []
    assert made["from_pretrained"] == {
        "model_name": str(recipe / "base"),
        "max_seq_length": 2048,
        "dtype": None,
        "load_in_4bit": True,
        "full_finetuning": False,
        "revision": None,
        "use_exact_model_name": False,
        "fast_inference": False,
        "gpu_memory_utilization": 0.5,
        "max_lora_rank": 8,
        "random_state": 3407,
    }
    assert made["get_peft_model"] == {
        "r": 8,
        "target_modules": [f"{x}_proj" for x in ("q", "k", "v", "o", "gate", "up", "down")],
        "lora_alpha": 8,
        "lora_dropout": 0.0,
        "bias": "none",
        "use_gradient_checkpointing": "unsloth",
        "use_rslora": False,
        "modules_to_save": None,
        "random_state": 3407,
    }
    summary = json.loads((recipe / "run" / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert (recipe / "run" / "adapter" / "adapter_model.safetensors").exists()


def test_an_adapter_is_gone_on_with(recipe, asked):
    base, run = recipe / "base", recipe / "run"
    model = UnslothModel(name_or_path=str(base), device="cpu", adapter=str(run), revision="abc")
    with pytest.raises(InterruptedError):
        model.load(LoRA())
    assert (asked["model_name"], asked["revision"]) == (str(run / "adapter"), None)


@pytest.mark.parametrize(
    ("base", "loads"),
    [
        ("unsloth/qwen3-4b-unsloth-bnb-4bit", True),  # Unsloth's own copy
        ("Qwen/Qwen3-4B", True),
        ("unsloth/Llama-3.2-3B-Instruct", False),
    ],
)
def test_an_adapter_of_another_base_is_refused(tmp_path, asked, base, loads):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    model = UnslothModel(name_or_path="unsloth/Qwen3-4B", device="cpu", adapter=str(tmp_path))
    said = None if loads else f"was trained on {base}.*; set model.name_or_path={base}"
    with pytest.raises(InterruptedError if loads else UserError, match=said):
        model.load(LoRA())


@pytest.mark.parametrize(
    ("model", "lora", "refused"),
    [
        ({}, {"use_dora": True, "use_rslora": True, "bias": "all"}, []),
        ({}, {"modules_to_save": ["lm_head", "input_layernorm"]}, []),
        ({}, {"modules_to_save": ["mlp"]}, ["lora.modules_to_save"]),
        ({"fast_inference": True}, {"use_dora": True}, ["lora.use_dora"]),
        ({"fast_inference": True}, {"bias": "all"}, ["lora.bias"]),
        ({"fast_inference": True, "revision": "abc"}, {}, ["model.revision"]),
    ],
)
def test_what_unsloth_cannot_do_is_named(model, lora, refused):
    asked = UnslothModel(name_or_path="a/b", device="cuda", **model)
    problems = list(asked.unsupported(LoRA(**lora)))
    assert [problem.partition(":")[0] for problem in problems] == refused


def test_a_pinned_revision_is_loaded_from_the_repository_that_has_it(asked):
    model = UnslothModel(name_or_path="a/b", device="cpu", revision="abc", dtype="float16")
    with pytest.raises(InterruptedError):
        model.load(LoRA(r=32))
    assert (asked["revision"], asked["use_exact_model_name"]) == ("abc", True)
    assert (asked["max_lora_rank"], str(asked["dtype"])) == (32, "torch.float16")


def test_unsloth_counts_no_user_of_ours(recipe):
    assert calls(recipe)["import"]["told"]["UNSLOTH_DISABLE_STATISTICS"] == "1"


@pytest.mark.slow
def test_what_was_merged_is_read_by_unsloth(recipe):
    """Its patched classes run no model that transformers loaded: AttributeError, on a GPU."""
    merge = ["trainer=none", f"model.adapter={recipe / 'run'}", "export=merged_16bit"]
    base = f"model.name_or_path={recipe / 'base'}"
    run(recipe, "experiment=medqa_grpo", base, *merge, "output_dir=merged")
    loads = [json.loads(line) for line in (recipe / "calls.jsonl").read_text().splitlines()]
    assert loads[-1]["model_name"] == str(recipe / "merged" / "merged_16bit")
    assert (loads[-1]["dtype"], loads[-1]["load_in_4bit"]) == ("torch.bfloat16", False)
    assert json.loads((recipe / "merged" / "parity.json").read_text())["agrees"]


def test_unsloth_is_not_imported_after_transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", object())
    monkeypatch.delitem(sys.modules, "unsloth", raising=False)
    with pytest.raises(UserError, match=r"launch\.own_process=true"):
        UnslothModel(name_or_path="a/b", device="cpu").load(None)


def test_what_unsloth_compiles_lies_in_a_folder_of_the_process(recipe):
    assert not (recipe / "unsloth_compiled_cache").exists()
    place = Path(calls(recipe)["import"]["told"]["UNSLOTH_COMPILE_LOCATION"])
    assert place.name.startswith("medgrpo-unsloth-")
    assert not place.exists()  # gone with its process
