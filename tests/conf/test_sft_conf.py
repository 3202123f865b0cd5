"""What is refused before an SFT or an evaluation starts, and what is not."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import open_dict

from medgrpo.cli import CONF
from medgrpo.config.validate import validate


def problems(*overrides: str) -> dict[str, str]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", [*overrides, "output_dir=x"], return_hydra_config=True)
    with open_dict(cfg):
        del cfg["hydra"]
    return {problem.key: problem.message for problem in validate(cfg)}


@pytest.mark.parametrize(
    "overrides",
    [
        ["trainer=sft"],
        ["trainer=sft", "++trainer.args.packing=true", "++trainer.args.optim=paged_adamw_8bit"],
        ["trainer=sft", "++trainer.args.metric_for_best_model=eval_score",
         "trainer.validation_rows=20", "trainer.patience=2"],
        ["trainer=none", "engine=openai", "engine.base_url=http://localhost:1/v1",
         "engine.served_model=x"],
        ["experiment=sft_then_grpo", "export=merged_16bit", "export.push_to=me/model"],
    ],
    ids=lambda overrides: " ".join(overrides)[:60],
)  # fmt: skip
def test_what_should_work_is_valid(overrides: list[str]) -> None:
    assert problems(*overrides) == {}


@pytest.mark.parametrize(
    ("overrides", "key", "message"),
    [
        (["trainer=sft", "++trainer.args.metric_for_best_model=eval_score"],
         "trainer.validation_rows", "needs some"),
        (["trainer=sft", "++trainer.args.save_strategy=steps"],
         "trainer.args.save_strategy", "eval_strategy"),
        (["trainer=sft", "trainer.patience=2", "++trainer.args.load_best_model_at_end=false"],
         "trainer.patience", "load_best_model_at_end"),
        (["trainer=sft", "++trainer.args.completion_only_loss=false"],
         "trainer.args.completion_only_loss", "set by the run"),
        (["trainer=sft", "++trainer.args.beta=0.1"], "trainer.args.beta", "trl.SFTConfig"),
        (["experiment=sft_then_grpo", "++first_trainer.args.seed=1"],
         "first_trainer.args.seed", "use seed"),
        (["engine=openai", "engine.base_url=http://x", "engine.served_model=x"],
         "engine", "trainer=none"),
        (["experiment=sft_then_grpo", "trainer=none", "engine=openai", "engine.base_url=http://x",
          "engine.served_model=x"], "engine", "trainer=none"),
        (["trainer=none", "engine=openai", "engine.base_url=http://x"],
         "engine.served_model", "no value"),
        (["trainer=none", "engine=vllm", "engine.gpu_memory_utilization=1.0"],
         "engine.gpu_memory_utilization", "less than 1"),
        (["evaluation.samples=-1"], "evaluation.samples", "greater than"),
        (["export.parity_rows=0"], "export.parity_rows", "greater than"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)  # fmt: skip
def test_what_cannot_work_is_named(overrides: list[str], key: str, message: str) -> None:
    found = problems(*overrides)
    assert list(found) == [key]
    assert message in found[key]


@pytest.mark.parametrize("installed", [True, False])
def test_vllm_must_be_installed(installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: installed or None)
    found = problems("trainer=none", "engine=vllm")
    assert list(found) == ([] if installed else ["engine"])
    assert installed or "pip install 'medgrpo[vllm]'" in found["engine"]


def test_a_prompt_typed_beats_the_one_that_sft_chooses() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert compose("config", ["trainer=sft"]).prompt.style == "choice_cot"
        typed = compose("config", ["trainer=sft", "prompt=reasoning"])
    assert typed.prompt.style == "reasoning"
