"""A real Llama, tiny and random, and a tokenizer of 64 words."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = ["<pad>", "<end>", "user", "assistant", ":", "yes", *(f"w{i}" for i in range(58))]
TEMPLATE = (
    "{% for message in messages %}{{ message.role }} : {{ message.content }} {% endfor %}"
    "{% if loud is defined %}w1 w1 w1 {% endif %}"
    "{% if add_generation_prompt %}assistant :{% endif %}"
)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    plain = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    plain.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=plain,
        pad_token="<pad>",
        eos_token="<end>",
        chat_template=TEMPLATE,
        padding_side="right",
    )


@pytest.fixture
def model() -> LlamaForCausalLM:
    torch.manual_seed(5)
    torch.set_num_threads(1)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.5,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        attention_dropout=0.5,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight[1] *= 1.5  # some responses end before the limit
        model.lm_head.weight[0] = 0  # it never writes padding
    return model


@pytest.fixture
def yes_model(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """The same model after a lobotomy: all words look alike to it, and it answers "yes"."""
    yes = WORDS.index("yes")
    model.generation_config.eos_token_id = yes
    model.eval()
    with torch.no_grad():
        model.model.embed_tokens.weight[:] = model.model.embed_tokens.weight[yes].clone()
        hidden = model.model(torch.tensor([[yes]])).last_hidden_state[0, 0]
        model.lm_head.weight[:] = 0
        model.lm_head.weight[yes] = hidden
    return model
