"""What we pass to libraries that cannot be imported here, against their own source.

The source is read, never imported: of the installed distribution, or (slow) of the wheel of the
pinned release, which pip downloads.
"""

import ast
import importlib.util
import inspect
import re
import subprocess
import sys
import tomllib
import zipfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT
from omegaconf import OmegaConf
from packaging.requirements import Requirement
from packaging.version import Version

from medgrpo.config.trl_fields import defaults_of
from medgrpo.evaluation.engines import vllm_engine
from medgrpo.model.base import Policy
from medgrpo.model.lora import LoRA
from medgrpo.model.unsloth_loader import UnslothModel, _lora_arguments
from medgrpo.trainer.grpo import GRPO

PINNED = {"unsloth": "2026.10.7", "vllm": "0.27.1"}
TRL = Path(importlib.util.find_spec("trl").origin).parent
HARMLESS = {  # Unsloth's defaults that change no update: logs, evaluation while training, spelling
    "logging_nan_inf_filter",
    "per_device_eval_batch_size",
    "eval_accumulation_steps",
    "torch_empty_cache_steps",
    "include_tokens_per_second",
    "include_num_input_tokens_seen",
    "generation_kwargs",
    "router_aux_loss_coef",  # of mixtures of experts
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """`source(package, where)`: the folder of a package's source."""

    @cache
    def find(package: str, where: str) -> Path:
        if where == "installed":
            spec = importlib.util.find_spec(package)
            if spec is None:
                pytest.skip(f"{package} is not installed")
            return Path(spec.origin).parent
        folder = tmp_path_factory.mktemp(package)
        wanted = f"{package}=={PINNED[package]}"
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", wanted]
        subprocess.run([*command, "-d", folder], check=True)
        wheel = next(folder.glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith(".py")]
            archive.extractall(folder, names)
        wheel.unlink()
        return folder / package

    return find


ANYWHERE = pytest.mark.parametrize(
    "where", ["installed", pytest.param("wheel", marks=pytest.mark.slow)]
)


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def function(file: Path, owner: str, name: str) -> ast.FunctionDef:
    """A method of a class, or (owner "") a function."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.ClassDef) and node.name == owner:
            return next(n for n in node.body if getattr(n, "name", None) == name)
        if not owner and isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    raise AssertionError(f"{file} has no {owner}.{name}")


def parameters(node: ast.FunctionDef) -> set[str]:
    return {argument.arg for argument in [*node.args.args, *node.args.kwonlyargs]}


def passed(file: Path, callee: str) -> set[str]:
    """Keywords of the calls of `callee` in a file."""
    return {
        keyword.arg
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(callee)
        for keyword in node.keywords
        if keyword.arg
    }


def fields(file: Path, owner: str) -> list[str]:
    """The annotated fields of a class, in their order."""
    return [
        ast.unparse(node.target)
        for definition in ast.walk(tree(file))
        if isinstance(definition, ast.ClassDef) and definition.name == owner
        for node in definition.body
        if isinstance(node, ast.AnnAssign)
    ]


# Unsloth


@ANYWHERE
def test_unsloth_knows_every_argument_of_loading(source, where):
    models = source("unsloth", where) / "models"
    ours = passed(Path(inspect.getfile(UnslothModel)), "language_model.from_pretrained")
    assert len(ours) > 8
    assert ours <= parameters(
        function(models / "loader.py", "FastLanguageModel", "from_pretrained")
    )


@ANYWHERE
@pytest.mark.parametrize(
    ("file", "owner"), [("llama", "FastLlamaModel"), ("vision", "FastBaseModel")]
)
def test_unsloth_knows_every_argument_of_the_adapter(source, where, file, owner):
    """Both ways: Llama and Qwen3 go through the first, Gemma 3 through the second."""
    models = source("unsloth", where) / "models"
    adapt = function(models / f"{file}.py", owner, "get_peft_model")
    assert {*_lora_arguments(LoRA()), "random_state"} <= parameters(adapt)
    assert adapt.args.kwarg is not None  # use_dora comes by **kwargs, and reaches PEFT:
    given = {"llama": "arguments", "vision": "local_variables"}[file]
    assert any(
        isinstance(node, ast.Assign)
        and ast.unparse(node.targets[0]) == given
        and "**kwargs" in ast.unparse(node.value)
        for node in ast.walk(adapt)
    )
    assert "lora_config = LoraConfig(**" in ast.unparse(adapt)


@ANYWHERE
def test_defaults_that_unsloth_replaces_are_spelled_out(source, where):
    """A field left to the library would train otherwise with Unsloth than without."""
    patch = function(
        source("unsloth", where) / "models" / "rl.py", "", "_patch_trl_rl_trainers_impl"
    )
    replaced = {}
    for node in ast.walk(patch):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "replacements":
            values = ast.literal_eval(node.value)
            replaced |= values if values != {"loss_type": "nll"} else {}  # that one is for SFT
    trls = defaults_of("GRPOConfig")
    changed = {name for name, value in replaced.items() if name in trls and trls[name] != value}
    assert {"optim", "weight_decay", "loss_type"} <= changed
    said = OmegaConf.load(ROOT / "conf" / "trainer" / "grpo.yaml").args.keys()
    assert changed - said - GRPO.managed.keys() - HARMLESS == set()


@ANYWHERE
def test_what_we_override_of_trls_trainer_unsloth_leaves_alone(source, where):
    models = source("unsloth", where) / "models"
    rewritten = {
        node.name.removeprefix("grpo_trainer_")
        for node in tree(models / "rl_replacements.py").body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("grpo_trainer_")
    }
    assert overridden() & rewritten == {WRAPPED}
    patches = (models / "rl.py").read_text() + (models / "rl_replacements.py").read_text()
    call = (
        "rewards_per_func = "
        "self._calculate_rewards(inputs, prompts, completions, completion_ids_list)"
    )
    assert call in patches  # what it rewrites still calls our method
    assert call in (TRL / "trainer" / "grpo_trainer.py").read_text()
    assert "self._logs" not in patches
    assert "class Unsloth{RLTrainer_name}(_Unsloth{RLTrainer_name})" in patches
    assert 'f"trl.{RLTrainer_name} = created_module.Unsloth{RLTrainer_name}"' in patches


WRAPPED = "_generate_and_score_completions"  # called, and its result corrected


def overridden() -> set[str]:
    """Methods of TRL's trainer that ours defines anew, its constructor aside."""
    theirs = ast.unparse(tree(TRL / "trainer" / "grpo_trainer.py"))
    ours = tree(ROOT / "medgrpo" / "trainer" / "grpo_trainer.py")
    names = {node.name for node in ast.walk(ours) if isinstance(node, ast.FunctionDef)}
    return {name for name in names if f"def {name}(" in theirs} - {"__init__"}


def test_trl_calls_what_we_override():
    assert overridden() == {"_calculate_rewards", "log", WRAPPED}
    trainer = (TRL / "trainer" / "grpo_trainer.py").read_text()
    assert f"self.{WRAPPED}(" in trainer
    assert '"advantages": advantages,' in trainer  # what we correct in its result
    assert 'self._logs["advantages"].extend(' in trainer
    theirs = function(TRL / "trainer" / "grpo_trainer.py", "GRPOTrainer", "_calculate_rewards")
    assert [argument.arg for argument in theirs.args.args] == [
        "self",
        "inputs",
        "prompts",
        "completions",
        "completion_ids_list",
    ]


# vLLM


@ANYWHERE
def test_vllm_knows_what_trl_asks_of_it(source, where):
    vllm = source("vllm", where)
    generation = TRL / "generation" / "vllm_generation.py"
    assert {"model", "gpu_memory_utilization"} <= passed(generation, "LLM")
    assert passed(generation, "LLM") <= {*fields(vllm / "engine" / "arg_utils.py", "EngineArgs")}
    sampling = {"n", "temperature", "top_p", "top_k", "min_p", "max_tokens", "repetition_penalty"}
    assert sampling <= {*fields(vllm / "sampling_params.py", "SamplingParams")}
    assert {f'"{name}"' for name in sampling} <= set(
        generation.read_text().replace(":", " ").split()
    )


@ANYWHERE
def test_vllm_knows_what_the_engine_asks_of_it(source, where):
    vllm, ours = source("vllm", where), Path(vllm_engine.__file__)
    config = SimpleNamespace(_name_or_path="", _commit_hash=None)
    made = vllm_engine._base(Policy(SimpleNamespace(config=config, dtype="torch.float32"), None))
    asked = {*made} | passed(ours, "_load")
    assert {"revision", "max_model_len", "max_lora_rank"} <= asked
    assert asked <= {*fields(vllm / "engine" / "arg_utils.py", "EngineArgs")}
    assert passed(ours, "SamplingParams") <= {
        *fields(vllm / "sampling_params.py", "SamplingParams")
    }
    answer = function(vllm / "entrypoints" / "llm.py", "LLM", "generate")
    assert [argument.arg for argument in answer.args.args][1:3] == ["prompts", "sampling_params"]
    assert passed(ours, "llm.generate") <= parameters(answer)
    request = fields(vllm / "lora" / "request.py", "LoRARequest")
    assert request[:3] == ["lora_name", "lora_int_id", "lora_path"]
    ranks = re.search(r"MaxLoRARanks = Literal\[(.+)\]", (vllm / "config" / "lora.py").read_text())
    assert f"1, 8, {', '.join(map(str, vllm_engine.RANKS))}" == ranks[1]


def test_the_extras_ask_for_what_was_checked():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for package, version in PINNED.items():
        assert Requirement(extras[package][0]).specifier.contains(version)
    # The range that TRL states for vLLM, in its own words: that of 1.14.2, and that of 1.16.0.
    stated = r'Version\("(0\.2[02])\.0"\) <= _vllm_base_version <= Version\("(0\.3[01])\.0"\)'
    assert re.search(stated, (TRL / "import_utils.py").read_text())
    wanted = Requirement(extras["vllm"][0]).specifier
    assert not any(map(wanted.contains, map(Version, ["0.19.1", "0.31.0", "0.33.0"])))


# TRL


@pytest.mark.parametrize("trainer", ["grpo", "grpo_vllm"])
def test_trl_knows_every_argument(trainer):
    args = OmegaConf.load(ROOT / "conf" / "trainer" / f"{trainer}.yaml").args
    assert args.keys() <= defaults_of("GRPOConfig").keys() - GRPO.managed.keys()


def test_trl_knows_every_argument_of_the_trainer():
    given = passed(ROOT / "medgrpo" / "trainer" / "grpo.py", "self._shared(self.trainer_class)")
    theirs = function(TRL / "trainer" / "grpo_trainer.py", "GRPOTrainer", "__init__")
    assert {"model", "args", "train_dataset", "reward_funcs"} <= given
    assert given - {"folder", "prefilled", "score"} <= parameters(theirs)
