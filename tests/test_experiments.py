"""The published GRPO recipes, value for value, as `--cfg job` shows them."""

import re

import pytest
import yaml
from conftest import ROOT, run_medgrpo

DATA = {
    "medqa": ("medgrpo.dataset.medqa.MedQA", "GBaker/MedQA-USMLE-4-options"),
    "bioasq": ("medgrpo.dataset.bioasq.BioASQ", "enelpol/rag-mini-bioasq"),
    "pubmedqa": ("medgrpo.dataset.pubmedqa.PubMedQA", "qiaojin/PubMedQA"),
}
REFERENCE = {  # the reference pipeline's hyperparameters, as the rows of docs/recipes.md
    "model.name_or_path": "unsloth/Llama-3.2-3B-Instruct",
    "model.load_in_4bit": True,
    "model.max_seq_length": 2048,
    "lora.r": 8,
    "lora.alpha": 8,
    "lora.dropout": 0.0,
    "lora.target_modules": [f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")],
    "trainer.args.learning_rate": 5e-6,
    "trainer.args.per_device_train_batch_size": 1,
    "trainer.args.gradient_accumulation_steps": 4,
    "trainer.args.num_generations": 4,
    "dataset.max_prompt_tokens": 512,
    "trainer.args.max_completion_length": 512,
    "trainer.args.num_train_epochs": 1,
    "seed": 3407,
}
REWARDS = [
    "deepeval_geval_rag",
    "deepeval_summarization",
    "deepeval_answer_relevancy",
    "evidently_correctness",
    "reasoning_tags",
    "multiline_compliance",
    "structure_validation",
    "response_format",
]


def shown(cwd, *overrides):
    """What `--cfg job --resolve` prints, as data."""
    done = run_medgrpo(cwd, "--cfg", "job", "--resolve", *overrides, "output_dir=x")
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


def at(config, key):
    for part in key.split("."):
        config = config[part]
    return config


@pytest.mark.parametrize("name", DATA)
def test_the_experiment_is_the_reference(tmp_path, name):
    config = shown(tmp_path, f"experiment={name}_grpo")
    assert {key: at(config, key) for key in REFERENCE} == REFERENCE
    dataset = config["dataset"]
    assert (dataset["_target_"], dataset["dataset_id"]) == DATA[name]
    assert dataset["source"] == "hub"
    assert config["model"]["_target_"].endswith("UnslothModel")
    assert config["judge"]["_target_"] == "medgrpo.judge.openai.OpenAIJudge"
    assert list(config["rewards"]) == REWARDS
    assert {node["weight"] for node in config["rewards"].values()} == {1.0}
    assert config["profile"]["name"] == "gpu"


def test_what_is_typed_beats_the_experiment(tmp_path):
    config = shown(
        tmp_path,
        "experiment=medqa_grpo",
        "profile=laptop",
        "dataset=bioasq",
        "lora.r=16",
        "trainer.args.learning_rate=1e-5",
    )
    assert (config["profile"]["name"], config["model"]["device"]) == ("laptop", "cpu")
    assert config["model"]["name_or_path"] == "medgrpo/tiny"
    assert config["dataset"]["dataset_id"] == DATA["bioasq"][1]
    assert (config["lora"]["r"], config["trainer"]["args"]["learning_rate"]) == (16, 1e-5)


def test_a_model_brings_its_template_options(tmp_path):
    """In one place, prompt.chat_template_kwargs, whatever the prompt; the user has the say."""
    qwen = shown(tmp_path, "model=qwen3_4b", "prompt=choice_cot")
    assert qwen["prompt"]["chat_template_kwargs"] == {"enable_thinking": False}
    thinking = "prompt.chat_template_kwargs.enable_thinking=true"
    assert shown(tmp_path, "model=qwen3_4b", thinking)["prompt"]["chat_template_kwargs"] == {
        "enable_thinking": True
    }
    assert shown(tmp_path)["prompt"]["chat_template_kwargs"] == {}


def test_an_own_model_file_may_start_from_a_shipped_one(tmp_path):
    own = tmp_path / "conf" / "model" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("defaults: [qwen3_4b, _self_]\nname_or_path: me/my-qwen\n")
    config = shown(tmp_path, "--config-dir", str(tmp_path / "conf"), "model=mine")
    assert config["model"]["name_or_path"] == "me/my-qwen"
    assert config["model"]["_target_"].endswith("UnslothModel")
    assert config["prompt"]["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model.fast_inference=true"], "choose trainer=grpo_vllm"),
        (["trainer=grpo_vllm"], "model.fast_inference=true"),
        (["trainer=grpo_vllm", "trainer.args.vllm_mode=server"], "server cannot take 4-bit"),
        (["trainer=grpo_vllm", "trainer.args.vllm_mode=server", "model.device=cpu"], "over NCCL"),
        (["lora=none"], "4-bit weights cannot be trained in full"),
    ],
)
def test_what_cannot_work_together_is_refused(tmp_path, overrides, said):
    done = run_medgrpo(tmp_path, "experiment=medqa_grpo", *overrides)
    assert done.returncode == 2
    assert said in done.stderr
    assert "nothing was started" in done.stderr


RECIPES = (ROOT / "docs" / "recipes.md").read_text()


def tables(heading: str) -> list[list[str]]:
    """The rows of the tables below a heading of docs/recipes.md, cell by cell."""
    below = RECIPES.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| (`[\w.]+` .+) \|$", below, flags=re.MULTILINE)
    return [[cell.strip(" `") for cell in line.split(" | ")] for line in lines]


def test_the_recipes_differ_as_documented(tmp_path):
    rows = [row for row in tables("Beside the reference") if len(row) == 4]
    assert [row[0] for row in rows] == [
        f"dataset.{key}" for key in ("dataset_id", "primary_metric", "test_ids")
    ]
    configs = [shown(tmp_path, f"experiment={name}_grpo") for name in DATA]
    for key, *values in rows:
        name = key.rpartition(".")[2]
        assert [config["dataset"].get(name, "-") for config in configs] == values


def test_the_objectives_are_as_documented(tmp_path):
    heading = RECIPES.partition("## Which objective")[2].partition("| `trainer=` |")[2]
    keys = re.findall(r"`(\w+)`", heading.splitlines()[0])
    rows = tables("Which objective")
    assert [row[0] for row in rows] == ["grpo", "grpo_paper", "dr_grpo", "gspo"]
    for name, *values in rows:
        args = shown(tmp_path, f"trainer={name}")["trainer"]["args"]
        assert [args[key] for key in keys] == [yaml.safe_load(v) for v in values[: len(keys)]], name


@pytest.mark.parametrize("processes", [1, 4])
def test_the_sft_recipe_is_as_documented(tmp_path, processes):
    launch = f"launch.nproc_per_node={processes}"
    config = shown(tmp_path, "experiment=medqa_cot_sft", launch)
    args = config["trainer"]["args"]
    batch = args["per_device_train_batch_size"] * args["gradient_accumulation_steps"] * processes
    assert batch == 64
    rows = {key: yaml.safe_load(ours) for key, _, ours in tables("The SFT recipe")}
    assert len(rows) == 17
    args.setdefault("use_liger_kernel", False)  # TRL's default
    rows["trainer.args.gradient_accumulation_steps"] //= processes
    assert {key: at(config, key) for key in rows} == rows


def test_the_rubric_recipe_is_as_documented(tmp_path):
    config = shown(tmp_path, "experiment=rubric_grpo")
    rows = {key: yaml.safe_load(ours) for key, _, ours in tables("The rubric recipe")}
    assert len(rows) == 21
    assert {key: at(config, key) for key in rows} == rows
    args = config["trainer"]["args"]
    assert args["per_device_train_batch_size"] * args["gradient_accumulation_steps"] == 96
    assert list(config["rewards"]) == ["rubric", *REWARDS[4:]]


def test_the_models_are_as_documented(tmp_path):
    rows = tables("Models")
    assert {row[0] for row in rows} == {path.stem for path in (ROOT / "conf" / "model").glob("*")}
    for name, loader, _ in rows:
        given = ["model.name_or_path=."] if name == "local" else []
        model = shown(tmp_path, f"model={name}", *given)["model"]
        unsloth = model["_target_"].endswith("UnslothModel")
        assert loader == ("Unsloth, 4 bit" if unsloth else "transformers")
        assert model["load_in_4bit"] is unsloth


def test_what_is_documented_to_save_memory_is_valid(tmp_path):
    below = RECIPES.partition("To go smaller")[2].partition("## Models")[0]
    rows = re.findall(r"^\| (`.+?`) \| ", below, flags=re.MULTILINE)
    assert len(rows) == 4
    for row in rows:
        for overrides in re.findall(r"`(.+?)`", row):
            shown(tmp_path, "experiment=medqa_grpo", *overrides.split())


def test_a_recipe_says_what_it_lacks(monkeypatch):
    from medgrpo.config import conflicts
    from medgrpo.config.trl_fields import defaults_of

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    args = defaults_of("SFTConfig") | {"optim": "adamw_torch_4bit", "use_liger_kernel": True}
    node = {"args": args, "validation_rows": 0, "patience": None}
    lacking = {problem.key: problem.message for problem in conflicts._sft("trainer", node)}
    assert "torchao: pip install -e '.[sft]'" in lacking["trainer.args.optim"]
    assert "liger-kernel: pip install -e '.[sft]'" in lacking["trainer.args.use_liger_kernel"]


def test_a_batch_that_cannot_be_made_is_refused(tmp_path):
    done = run_medgrpo(tmp_path, "experiment=medqa_cot_sft", "launch.nproc_per_node=3")
    assert done.returncode == 2
    assert "a batch of 64 is no multiple of 4 a device on 3" in done.stderr


def test_the_documented_table_is_the_config(tmp_path):
    """docs/recipes.md: each `key` of its table, with our value in the third column."""
    rows = [row for row in tables("Beside the reference") if len(row) == 3]
    config = shown(tmp_path, "experiment=medqa_grpo")
    assert {key for key, *_ in rows} >= REFERENCE.keys()
    for key, reference, ours in rows:
        value = at(config, key)
        assert yaml.safe_load(ours) == value, key
        assert reference == "not stated" or yaml.safe_load(reference) == value, key
