"""What vLLM is asked for, by a stand-in that loads and forgets adapters as vLLM 0.28 to 0.32 do."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from medgrpo.errors import UserError
from medgrpo.evaluation.engines import vllm_engine
from medgrpo.evaluation.engines.base import Decoding
from medgrpo.evaluation.engines.vllm_engine import VLLMEngine
from medgrpo.model.base import Policy

PROMPTS = [[{"role": "user", "content": " ".join(["w1"] * n)}] for n in (3, 1, 9)]
LENGTH = 13  # tokens of the longest: "user :", nine words, "assistant :"


class LoRARequest(NamedTuple):
    lora_name: str
    lora_int_id: int
    lora_path: str


class LLM:
    """Answers a prompt with its length and the sum of the adapter's weights."""

    living = False
    made: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, **settings: Any) -> None:
        assert not LLM.living, "the GPU holds another model"
        LLM.living = True
        LLM.made.append(settings)
        self.adapters: dict[int, str] = {}
        self.sampling: list[Any] = []

    def __del__(self) -> None:
        LLM.living = False

    def generate(
        self, prompts: Any, sampling: Any, *, use_tqdm: bool, lora_request: LoRARequest | None
    ) -> list[Any]:
        self.sampling = sampling
        adapter = "no adapter"
        if lora_request:
            file = Path(lora_request.lora_path, "adapter_model.safetensors")
            if lora_request.lora_int_id not in self.adapters:  # an id that it knows is not read
                weights = load_file(file).values()
                self.adapters[lora_request.lora_int_id] = f"{sum(w.sum() for w in weights):.3f}"
            adapter = self.adapters[lora_request.lora_int_id]
        texts = [f"{len(prompt['prompt_token_ids'])} tokens, {adapter}" for prompt in prompts]
        return [
            SimpleNamespace(outputs=[SimpleNamespace(
                text=text, token_ids=[1] * 5, finish_reason=["stop", "length"][index % 2]
            )])
            for index, text in enumerate(texts)
        ]  # fmt: skip


@pytest.fixture(autouse=True)
def vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    library = SimpleNamespace(LLM=LLM, SamplingParams=lambda **given: given)
    monkeypatch.setitem(sys.modules, "vllm", library)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "vllm.lora", SimpleNamespace())  # type: ignore[arg-type]
    request = SimpleNamespace(LoRARequest=LoRARequest)
    monkeypatch.setitem(sys.modules, "vllm.lora.request", request)  # type: ignore[arg-type]
    monkeypatch.setattr(vllm_engine, "_loaded", {})
    LLM.living, LLM.made = False, []


def ask(
    model: Any,
    tokenizer: Any,
    prompts: Any = PROMPTS,
    on_answers: Any = lambda answers: None,
    **options: Any,
) -> list[Any]:
    engine = VLLMEngine(gpu_memory_utilization=0.3)
    decoding = Decoding(batch_size=4, max_new_tokens=6, **options)
    return engine.generate(Policy(model, tokenizer), prompts, decoding, on_answers)


def adapted(model: Any, rank: int) -> Any:
    return filled(get_peft_model(model, LoraConfig(r=rank, target_modules=["q_proj"])), 0.5)


def filled(tuned: Any, value: float) -> Any:
    """The model with another adapter."""
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                parameter.fill_(value)
    return tuned


def test_it_is_made_for_what_is_asked(model: Any, tokenizer: Any) -> None:
    model.config._name_or_path, model.config._commit_hash = "some/base", "abc"
    seen: list[dict[int, Any]] = []
    answers = ask(model, tokenizer, on_answers=seen.append)
    assert LLM.made == [
        {
            "model": "some/base",
            "revision": "abc",
            "dtype": "float32",
            "enable_lora": False,
            "max_lora_rank": 16,
            "max_num_seqs": 4,
            "max_model_len": LENGTH + 6,
            "gpu_memory_utilization": 0.3,
        }
    ]
    lengths = [int(answer.text.partition(" ")[0]) for answer in answers]
    assert lengths == [LENGTH - 6, LENGTH - 8, LENGTH]
    assert seen == [dict(enumerate(answers))]
    assert [answer.tokens for answer in answers] == [5, 5, 5]
    assert [answer.truncated for answer in answers] == [False, True, False]
    assert all("no adapter" in answer.text for answer in answers)


def test_the_template_has_its_arguments(model: Any, tokenizer: Any) -> None:
    ask(model, tokenizer, chat_template_kwargs={"loud": True})
    assert LLM.made[0]["max_model_len"] == LENGTH + 3 + 6


def test_each_sample_has_a_seed_of_its_own(model: Any, tokenizer: Any) -> None:
    ask(model, tokenizer, [PROMPTS[0]] * 3, temperature=0.7)
    (llm,) = vllm_engine._loaded.values()
    assert [(s["temperature"], s["seed"]) for s in llm.sampling] == [(0.7, 0), (0.7, 1), (0.7, 2)]
    ask(model, tokenizer, [PROMPTS[0]] * 3)
    assert {(s["temperature"], s["seed"]) for s in llm.sampling} == {(0.0, 0)}


def test_base_and_adapter_are_answered_by_one_engine(model: Any, tokenizer: Any) -> None:
    tuned = adapted(model, rank=20)
    with tuned.disable_adapter():
        (base,) = ask(tuned, tokenizer, PROMPTS[:1])
    (after,) = ask(tuned, tokenizer, PROMPTS[:1])
    assert "no adapter" in base.text
    assert "no adapter" not in after.text
    ((enabled, room),) = {(s["enable_lora"], s["max_lora_rank"]) for s in LLM.made}
    assert (enabled, room, len(LLM.made)) == (True, 32, 1)  # vLLM knows no 20


def test_a_second_adapter_is_really_loaded(model: Any, tokenizer: Any) -> None:
    """A sweep over model.adapter in one process: the base stays, the adapter is another."""
    tuned = adapted(model, rank=4)
    (first,) = ask(tuned, tokenizer, PROMPTS[:1])
    (second,) = ask(filled(tuned, 0.25), tokenizer, PROMPTS[:1])
    assert len(LLM.made) == 1
    assert first.text != second.text


def test_another_base_frees_the_first(model: Any, tokenizer: Any) -> None:
    for base in ("one", "other", "one"):
        model.config._name_or_path = base
        ask(model, tokenizer)
    assert [settings["model"] for settings in LLM.made] == ["one", "other", "one"]


def test_without_vllm_the_way_to_it_is_named(
    model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"pip install -e '\.\[vllm\]'"):
        ask(model, tokenizer)
