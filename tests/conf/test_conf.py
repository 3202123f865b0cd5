"""Every shipped choice composes, validates and says what it should."""

import re
from pathlib import Path

import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf, open_dict

from medgrpo.cli import CONF
from medgrpo.config.validate import validate

CHOICES = [
    (file.parent.relative_to(CONF).as_posix(), file.stem)
    for file in sorted(CONF.rglob("*.yaml"))
    if file.parent != CONF and file.parent.name != "hydra"
]

GIVEN = {  # what these choices leave to the user
    ("model", "local"): ["model.name_or_path=."],
    ("dataset", "jsonl"): ["dataset.path=."],
    ("dataset", "frenchmedmcqa"): ["dataset.path=."],
    ("suite", "frenchmedmcqa"): ["evaluation.suite.frenchmedmcqa.path=."],
    ("engine", "openai"): ["trainer=none", "engine.base_url=http://x", "engine.served_model=x"],
    ("engine", "vllm"): ["trainer=none"],
    ("engine", "recorded"): ["trainer=none", "engine.path=x.jsonl"],
    ("metrics", "bioasq"): ["dataset.primary_metric=bioasq_list_f1"],
    ("metrics", "rubric"): ["dataset.primary_metric=rubric_score", "grader=rubric"],
    ("metrics", "sampling"): ["dataset.primary_metric=maj_at_4"],
    ("metrics", "shuffled"): ["dataset.primary_metric=consistency"],
    ("metrics", "calibration"): ["dataset.primary_metric=ece"],
    ("metrics", "abstention"): ["dataset.primary_metric=abstention_score"],
    ("metrics", "multi_select"): ["dataset.primary_metric=choice_overlap"],
}


def composed(*overrides: str):
    """The config of a command without its hydra node."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", [*overrides], return_hydra_config=True)
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def test_there_are_choices():
    assert {"dataset", "model", "rewards", "profile", "trainer"} <= {group for group, _ in CHOICES}


@pytest.mark.parametrize(("group", "choice"), CHOICES, ids=lambda part: part)
def test_choice_is_valid(group, choice, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)  # vLLM is an extra
    selected = f"[{choice}]" if group in ("rewards", "metrics") else choice
    assert validate(composed(f"{group}={selected}", *GIVEN.get((group, choice), []))) == []


@pytest.mark.parametrize("name", ["llama3_2_3b", "qwen3_4b", "gemma3_4b"])
def test_a_model_of_unsloths_may_be_loaded_by_transformers(name):
    loader = "model._target_=medgrpo.model.huggingface.HuggingFaceModel"
    assert validate(composed(f"model={name}", loader)) == []


def test_gpu_profile_is_the_published_recipe():
    cfg = OmegaConf.to_container(composed("profile=gpu", "output_dir=x"), resolve=True)
    model, lora, args = cfg["model"], cfg["lora"], cfg["trainer"]["args"]
    assert model["name_or_path"] == "unsloth/Llama-3.2-3B-Instruct"
    assert (model["load_in_4bit"], model["max_seq_length"], model["device"]) == (True, 2048, "cuda")
    assert (lora["r"], lora["alpha"], lora["dropout"]) == (8, 8, 0.0)
    assert {module.removesuffix("_proj") for module in lora["target_modules"]} == {
        *"qkvo",
        "gate",
        "up",
        "down",
    }
    expected = {
        "learning_rate": 5e-6,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 4,
        "num_generations": 4,
        "max_completion_length": 512,
        "num_train_epochs": 1,
    }
    assert {key: args[key] for key in expected} == expected
    assert (cfg["dataset"]["source"], cfg["dataset"]["max_prompt_tokens"]) == ("hub", 512)
    assert (cfg["judge"]["_target_"], cfg["seed"]) == ("medgrpo.judge.openai.OpenAIJudge", 3407)


def test_default_is_the_laptop_with_the_eight_rewards():
    cfg = composed("output_dir=x")
    assert (cfg.profile.name, cfg.dataset.source, cfg.model.device) == ("laptop", "sample", "cpu")
    assert len(cfg.rewards) == 8


def test_a_profile_yields_to_what_the_user_says(tmp_path: Path):
    own = tmp_path / "dataset" / "mine.yaml"
    own.parent.mkdir()
    own.write_text("defaults: [pubmedqa]\nsource: path\npath: mine.json\n")
    cfg = composed(
        f"hydra.searchpath=[file://{tmp_path}]",
        "profile=gpu",
        "dataset=mine",
        "model=tiny",
        "trainer.args.learning_rate=1e-3",
    )
    assert (cfg.dataset.source, cfg.dataset.path) == ("path", "mine.json")
    assert (cfg.model.name_or_path, cfg.trainer.args.learning_rate) == ("medgrpo/tiny", 1e-3)


def test_the_pages_list_every_choice_of_their_groups():
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (?:any of )?((?:`\w+` ?)+)\|", page, re.MULTILINE)
    listed = {group: set(re.findall(r"`(\w+)`", choices)) for group, choices in rows}
    assert {"dataset", "rewards", "judge", "trainer", "model"} <= listed.keys()
    there = {group: {file.stem for file in (CONF / group).glob("*.yaml")} for group in listed}
    assert listed == there
