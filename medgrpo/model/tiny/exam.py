"""Ask the tiny model the held-out rows of the samples and mark what it says."""

from __future__ import annotations

from typing import NamedTuple

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from medgrpo.answers.parse import complies, predict
from medgrpo.dataset.samples import generate
from medgrpo.model.tiny import lessons


class Score(NamedTuple):
    """Greedy decoding on the test rows; an unparsed answer is a wrong one."""

    accuracy: float
    parsed: float  # share from which an answer can be read
    format: float  # share in exactly the layout that the prompt asks for

    def __str__(self) -> str:
        given = self.accuracy / self.parsed if self.parsed else 0.0
        return (f"accuracy {self.accuracy:.3f}, given parsed {given:.3f}, "
                f"parsed {self.parsed:.3f}, format {self.format:.3f}")  # fmt: skip


def render(tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, str]]) -> str:
    """The prompt as the model reads it, up to where its response begins."""
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


@torch.no_grad()
def greedy(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast,
           prompts: list[list[dict[str, str]]]) -> list[str]:  # fmt: skip
    """The model's most likely response to each prompt."""
    model.eval()
    encoded = tokenizer([render(tokenizer, p) for p in prompts], return_tensors="pt", padding=True)
    ids = model.generate(
        input_ids=encoded["input_ids"],
        attention_mask=encoded["attention_mask"],
        max_new_tokens=64,
        do_sample=False,
    )
    return list(
        tokenizer.batch_decode(ids[:, encoded["input_ids"].shape[1] :], skip_special_tokens=True)
    )


def score(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, name: str,
          style: str = "reasoning") -> Score:  # fmt: skip
    """Accuracy and format on the test rows of the sample."""
    items = generate.splits(name)["test"]
    rows = [lessons.example(name, item) for item in items]
    prompt = lessons.prompt(name, style)
    responses = greedy(model, tokenizer, [prompt.messages(row) for row in rows])
    answers = [predict(s, row, style) for s, row in zip(responses, rows, strict=True)]
    gold = [row["label"] or lessons.right(i)[1] for i, row in zip(items, rows, strict=True)]
    return Score(
        accuracy=sum(a == g for a, g in zip(answers, gold, strict=True)) / len(rows),
        parsed=sum(answer is not None for answer in answers) / len(rows),
        format=sum(complies(s, r, style) for s, r in zip(responses, rows, strict=True)) / len(rows),
    )
