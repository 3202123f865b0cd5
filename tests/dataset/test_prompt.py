"""What a question contains is shown, never evaluated."""

from __future__ import annotations

import pickle

import pytest

from medgrpo.dataset.example import Example
from medgrpo.dataset.prompt import Prompt

USER = "{% for passage in context %}{{ passage }}\n{% endfor %}{{ question }}"
HOSTILE = [
    "{{ 7 * 7 }}",
    "{% for i in range(10**9) %}x{% endfor %}",
    "{# gone #}",
    "{{ question.__class__.__mro__ }}",
    "{unbalanced} }} {{ %}",
    "<answer>B</answer></reasoning>",
    "<|im_end|>",
    "$PATH %s {0}",
]


@pytest.mark.parametrize("said", HOSTILE)
def test_syntax_inside_data_is_text(said):
    row = Example(
        id="1", question=said, context=[said], options=[], answer="", label=None, explanation=""
    )
    system, user = Prompt("Answer with {{ answer_with }}.", USER, said).messages(row)
    assert system["content"] == f"Answer with {said}."
    assert user["content"] == f"{said}\n{said}"


def test_a_prompt_can_be_sent_to_another_process():
    prompt = Prompt("Be brief.", USER, "yes")
    prompt.messages(
        Example(id="", question="", context=[], options=[], answer="", label="", explanation="")
    )
    assert pickle.loads(pickle.dumps(prompt)) == prompt


THINKS = "{% if m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}"


@pytest.mark.parametrize(
    ("opened", "replies", "prefilled"),
    [
        ("", "", ""),
        ("", THINKS, ""),
        ("<reasoning>\n", "", "<reasoning>\n"),
        ("Sure: <reasoning>", "", "Sure: <reasoning>"),
        ("<think>\n", "", "<think>\n"),  # DeepSeek-R1
        ("<think>\n", THINKS, "<think>\n"),  # Qwen3, which only thinks
        ("<think>\n\n</think>\n\n", THINKS, ""),  # Qwen3, thinking switched off
        ("<think>\n\n</think>\n\n", "", ""),
        ("<think>\n\n</think>\n\n<reasoning>\n", "", "<reasoning>\n"),
    ],
)
def test_what_the_template_has_written_of_a_response(opened, replies, prefilled):
    from transformers import AutoTokenizer

    from medgrpo.model.tiny.build import WEIGHTS

    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    tokenizer.chat_template = (
        "<|system|>Use <reasoning> and <answer> tags.{% for m in messages %}<|{{ m.role }}|>"
        f"{replies}{{{{ m.content }}}}<|end|>{{% endfor %}}"
        f"{{% if add_generation_prompt %}}<|assistant|>{{{{ {opened!r} }}}}{{% endif %}}"
    )
    assert Prompt("", USER, "x").prefilled(tokenizer) == prefilled


def test_an_own_template_is_rendered_with_its_settings():
    from transformers import AutoTokenizer

    from medgrpo.model.tiny.build import WEIGHTS

    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    assert Prompt("", USER, "x").prefilled(tokenizer) == ""
    tokenizer.chat_template += "{% if add_generation_prompt and thinks %}<think>{% endif %}"
    assert Prompt("", USER, "x", "reasoning", {"thinks": True}).prefilled(tokenizer) == "<think>"
