"""What decides an answer is in the key of the cache; what does not is not."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from medgrpo.evaluation.answer_cache import AnswerCache
from medgrpo.evaluation.answering import ask
from medgrpo.evaluation.engines.base import Decoding
from medgrpo.evaluation.engines.transformers_engine import TransformersEngine
from medgrpo.model.base import Policy
from medgrpo.model.identity import weights_hash

PROMPTS = [[{"role": "user", "content": f"w{i} w{i + 7} w{3 * i}"}] for i in range(6)]
DECODING = Decoding(batch_size=4, max_new_tokens=5)


class Counting(TransformersEngine):
    """The engine, and how many prompts it was asked."""

    asked = 0

    def generate(self, policy: Any, prompts: Any, *more: Any) -> Any:
        self.asked += len(prompts)
        return super().generate(policy, prompts, *more)


def model_of(seed: int = 0, **settings: Any) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    size = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256}
    return LlamaForCausalLM(LlamaConfig(**{**size, **heads, **settings})).eval()


def answered(
    model: Any, tokenizer: Any, file: Path, prompts: Any = PROMPTS, decoding: Any = DECODING
) -> tuple[Any, int]:
    """What is answered, and how many prompts had to be asked for it."""
    engine = Counting()
    found = ask(
        engine, Policy(model, tokenizer), prompts, decoding, name="evaluating", cache=str(file)
    )
    assert found.cached == len(prompts) - engine.asked
    return found.answers, engine.asked


def test_what_was_answered_is_not_asked_again(tokenizer: Any, tmp_path: Path) -> None:
    model, file = model_of(), tmp_path / "answers.sqlite"
    plain = TransformersEngine().generate(Policy(model, tokenizer), PROMPTS, DECODING)
    assert answered(model, tokenizer, file, PROMPTS[:4]) == (plain[:4], 4)
    assert answered(model, tokenizer, file) == (plain, 2)  # in the order of the prompts
    assert answered(model_of(), tokenizer, file, PROMPTS[::-1]) == (plain[::-1], 0)  # same weights


def test_seconds_saved_are_those_that_the_answers_took(tokenizer: Any, tmp_path: Path) -> None:
    policy, file = Policy(model_of(), tokenizer), str(tmp_path / "answers.sqlite")
    first = AnswerCache(file, TransformersEngine(), policy)
    first.generate(PROMPTS, DECODING, lambda answers: None)
    again = AnswerCache(file, TransformersEngine(), policy)
    again.generate(PROMPTS, DECODING, lambda answers: None)
    assert (first.hits, first.seconds_saved) == (0, 0.0)
    assert again.hits == 6
    assert 0 < again.seconds_saved < 60


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda: model_of(seed=1), id="weights"),
        pytest.param(lambda: model_of().to(torch.bfloat16), id="type"),
        pytest.param(lambda: model_of(rms_norm_eps=1e-3), id="architecture"),
        pytest.param(lambda: model_of(attn_implementation="eager"), id="attention"),
    ],
)
def test_another_model_is_asked(other: Any, tokenizer: Any, tmp_path: Path) -> None:
    answered(model_of(), tokenizer, tmp_path / "answers.sqlite")
    assert answered(other(), tokenizer, tmp_path / "answers.sqlite")[1] == 6


def test_tokens_that_end_an_answer_count(tokenizer: Any, tmp_path: Path) -> None:
    """Of the same weights, by another generation_config.json or a mended tokenizer."""
    model, file = model_of(), tmp_path / "answers.sqlite"
    answered(model, tokenizer, file)
    model.generation_config.eos_token_id = [2, 9]
    assert answered(model, tokenizer, file)[1] == 6
    mended = deepcopy(tokenizer)
    mended.eos_token = "w9"
    assert answered(model, mended, file)[1] == 6
    assert answered(model, mended, file)[1] == 0


def test_one_changed_weight_is_seen(tokenizer: Any, tmp_path: Path) -> None:
    model, file = model_of(), tmp_path / "answers.sqlite"
    answered(model, tokenizer, file)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[3, 5] += 1e-3
    assert answered(model, tokenizer, file)[1] == 6


def test_a_longer_answer_is_another_one_and_a_sampled_one_is_never_kept(
    tokenizer: Any, tmp_path: Path
) -> None:
    model, file = model_of(), tmp_path / "answers.sqlite"
    answered(model, tokenizer, file)
    longer = Decoding(batch_size=4, max_new_tokens=6)
    assert answered(model, tokenizer, file, decoding=longer)[1] == 6
    sampled = Decoding(batch_size=4, max_new_tokens=5, temperature=0.7)
    for _ in range(2):
        assert answered(model, tokenizer, file, decoding=sampled)[1] == 6


def adapted(scale: float = 0.0, **settings: Any) -> PeftModel:
    """The model with an adapter whose B is filled with `scale`."""
    torch.manual_seed(5)
    config = LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], **settings})
    tuned = get_peft_model(model_of(), config)
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                weight.fill_(scale)
    return tuned.eval()


def test_a_fresh_adapter_answers_as_its_base_and_a_trained_one_does_not(
    tokenizer: Any, tmp_path: Path
) -> None:
    file = tmp_path / "answers.sqlite"
    base, _ = answered(model_of(), tokenizer, file)
    assert answered(adapted(), tokenizer, file) == (base, 0)
    assert answered(adapted(r=8), tokenizer, file) == (base, 0)  # of another rank, as in a sweep
    tuned, asked = answered(adapted(3.0), tokenizer, file)
    assert asked == 6
    assert tuned != base
    assert answered(adapted(3.0), tokenizer, file) == (tuned, 0)


def test_scaling_and_a_switched_off_adapter_count() -> None:
    hashes = {
        "plain": weights_hash(model_of()),
        "alpha 8": weights_hash(adapted(3.0)),
        "alpha 16": weights_hash(adapted(3.0, lora_alpha=16)),
        "rslora": weights_hash(adapted(3.0, use_rslora=True)),
        "dora": weights_hash(adapted(0.0, use_dora=True)),
    }
    assert len(set(hashes.values())) == len(hashes)
    tuned = adapted(3.0)
    with tuned.disable_adapter():
        assert weights_hash(tuned) == hashes["plain"]
    assert weights_hash(tuned) == hashes["alpha 8"]


class Reconsidering(TransformersEngine):
    """Returns other answers than come meanwhile."""

    def generate(self, *asked: Any) -> Any:
        return [answer._replace(text="on reflection") for answer in super().generate(*asked)]


def test_an_answer_that_the_engine_replaced_is_not_kept(tokenizer: Any, tmp_path: Path) -> None:
    policy, file = Policy(model_of(), tokenizer), str(tmp_path / "answers.sqlite")
    for _ in range(2):
        found = ask(Reconsidering(), policy, PROMPTS, DECODING, name="evaluating", cache=file)
        assert {answer.text for answer in found.answers} == {"on reflection"}
    assert found.cached == 6
