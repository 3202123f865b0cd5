"""A GGUF file holds the model that was written: read again, it gives the same numbers."""

import json

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from medgrpo.model.base import TINY
from medgrpo.model.gguf import read_gguf
from medgrpo.model.to_gguf import _SPLITS, unsupported, write_gguf

pytest.importorskip("gguf")

SIZES = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "head_dim": 16,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
}  # fmt: skip
CONFIGS = {
    "llama": LlamaConfig(**SIZES, tie_word_embeddings=True),
    "llama, untied": LlamaConfig(**SIZES, tie_word_embeddings=False),
    "llama 3": LlamaConfig(**SIZES, rope_parameters=LLAMA3),
    "qwen2": Qwen2Config(**SIZES),
    "qwen3": Qwen3Config(**SIZES),
}


def split(pattern: str):
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


PRE = {
    "gpt-2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    ),
    **{name: split(pattern) for pattern, name in _SPLITS.items()},
}


def saved(folder, config, pre="gpt-2"):
    """A model with random weights and a small tokenizer, in a folder."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = PRE[pre]
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|end|>", "<|user|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(["Which vitamin is scurvy a lack of? 2021"] * 5, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")
    fast.chat_template = "{% for m in messages %}<|user|>{{ m['content'] }}{% endfor %}"
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config.vocab_size, config.pad_token_id = len(fast), None
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    model.save_pretrained(folder)
    return model


def logits(model):
    with torch.no_grad():
        return model(torch.arange(2, 60)[None]).logits


@pytest.mark.parametrize("name", CONFIGS)
def test_it_is_the_model_that_was_written(tmp_path, name):
    """In half precision nothing but rounding differs, in 8 bit little more."""
    model = saved(tmp_path / "model", CONFIGS[name])
    wanted = logits(model)
    far = {}
    for kind in ("f16", "q8_0"):
        file = tmp_path / f"{kind}.gguf"
        write_gguf(tmp_path / "model", file, kind)
        far[kind] = float((logits(read_gguf(file, model)) - wanted).abs().max() / wanted.std())
    assert far["f16"] < 0.01
    assert far["f16"] < far["q8_0"] < 0.1
    assert (tmp_path / "q8_0.gguf").stat().st_size < 0.8 * (tmp_path / "f16.gguf").stat().st_size


@pytest.mark.parametrize("pre", PRE)
def test_its_tokenizer_is_named(tmp_path, pre):
    """llama.cpp splits text by the rules of this name; tokens, merges and template are there."""
    from gguf import GGUFReader

    saved(tmp_path / "model", CONFIGS["llama"], pre)
    write_gguf(tmp_path / "model", tmp_path / "x.gguf", "f16")
    fields = GGUFReader(tmp_path / "x.gguf").fields

    def value(key):
        return fields[f"tokenizer.{key}"].contents()

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    tokens = value("ggml.tokens")
    assert value("ggml.pre") == pre
    assert [tokenizer.convert_tokens_to_ids(token) for token in tokens] == list(range(len(tokens)))
    assert value("ggml.token_type")[:3] == [3, 3, 1]  # control, control, ordinary
    assert value("ggml.eos_token_id") == 0
    assert value("chat_template") == tokenizer.chat_template
    merges = json.loads((tmp_path / "model" / "tokenizer.json").read_text())["model"]["merges"]
    assert len(value("ggml.merges")) == len(merges) > 10


def test_what_llama_cpp_would_read_otherwise_is_refused(tmp_path):
    assert "no name for how its tokenizer splits" in unsupported(TINY)
    saved(tmp_path, CONFIGS["llama"])
    assert unsupported(tmp_path) is None
    config = json.loads((tmp_path / "config.json").read_text())
    for change, told in (
        ({"model_type": "gemma3"}, "gemma3 are not written"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "yarn are not written"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
        assert told in unsupported(tmp_path)
