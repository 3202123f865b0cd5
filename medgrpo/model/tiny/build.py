"""Make the embedded model: `python -m medgrpo.model.tiny.build [FOLDER]`, minutes on two cores.

A tokenizer, a Llama of about a million parameters, then two stages of plain supervised training:
clean answers until the model knows the facts (gate: held-out accuracy), then planted habits for
GRPO to unlearn (gate: they show in greedy decoding). The result is a normal transformers folder.
Seeded; prints what each stage reaches and exits 1 when a gate fails. docs/measurements.md says what
was tried and what did not work.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from medgrpo.model.tiny import lessons
from medgrpo.model.tiny.exam import Score, render, score
from medgrpo.model.tiny.lessons import Lesson
from medgrpo.model.tiny.tokenizer import make_tokenizer

log = logging.getLogger(__name__)

WEIGHTS = Path(__file__).parent / "weights"
SEED = 7
THREADS = 2
CHUNK = 15  # lessons in one forward pass, of similar length
# (dataset, prompt style, lessons in a step)
MIX = [("medqa", "reasoning", 22), ("medqa_cot", "reasoning", 8), ("medqa_cot", "choice_cot", 6),
       ("pubmedqa", "reasoning", 14), ("bioasq", "reasoning", 10)]  # fmt: skip


class Stage(NamedTuple):
    """One stage of training: what is taught, for how long, how fast."""

    title: str
    teach: Callable[[str, Random, str], Lesson]
    steps: int
    rate: float  # peak learning rate
    seed: int


CLEAN = Stage("clean", lessons.clean_lesson, 1400, 3e-3, SEED)
HABIT = Stage("habit", lessons.habit_lesson, 250, 1.5e-3, SEED + 1)
CLEAN_GATE = {"medqa": 0.95, "pubmedqa": 0.90}  # least accuracy after the clean stage
HABIT_GATE = (0.30, 0.55)  # accuracy on the same two after the habit stage


def learn_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of a corpus of clean lessons."""
    rng = Random(SEED)
    corpus = [
        lessons.clean_lesson(name, rng, style)
        for name, style, count in MIX
        for _ in range(150 * count)
    ]
    texts = [text for item in corpus for text in (item.messages[1]["content"], item.response)]
    return make_tokenizer(texts, sorted({item.messages[0]["content"] for item in corpus}))


def new_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """An untrained Llama: 3 layers, 160 wide, tied embeddings."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=160,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=5,
        num_key_value_heads=5,
        max_position_embeddings=4096,
        initializer_range=0.06,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config)


def train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, stage: Stage) -> None:
    """AdamW on the response tokens, with a warm-up and a cosine down to 5 % of the peak rate."""

    def share(step: int) -> float:
        return min(1, (step + 1) / 100) * (0.525 + 0.475 * math.cos(math.pi * step / stage.steps))

    rng = Random(stage.seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), stage.rate, betas=(0.9, 0.98), weight_decay=0.05
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    model.train()
    for step in range(stage.steps):
        items = [stage.teach(name, rng, style) for name, style, count in MIX for _ in range(count)]
        loss = _backward(model, _encode(tokenizer, items))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 100 == 99:
            log.info("step %d: loss %.4f", step + 1, loss)


def _encode(tokenizer: PreTrainedTokenizerFast, items: list[Lesson]) -> list[tuple[list[int], int]]:
    """Token ids of every lesson with the length of its prompt, shortest lesson first."""
    texts = [render(tokenizer, item.messages) for item in items]
    prompts = tokenizer(texts)["input_ids"]
    responses = tokenizer([item.response + tokenizer.eos_token for item in items])["input_ids"]
    pairs = ((p + r, len(p)) for p, r in zip(prompts, responses, strict=True))
    return sorted(pairs, key=lambda pair: len(pair[0]))


def _backward(model: LlamaForCausalLM, encoded: list[tuple[list[int], int]]) -> float:
    """Add the gradients of the mean loss over all response tokens; returns that loss.

    Padding stands on the right, so that causal attention needs no mask for the tokens that count.
    """
    completion_tokens = sum(len(ids) - prompt for ids, prompt in encoded)
    total = 0.0
    for start in range(0, len(encoded), CHUNK):
        chunk = encoded[start : start + CHUNK]
        width = max(len(ids) for ids, _ in chunk)
        inputs = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in chunk])
        wanted = torch.tensor(
            [[-100] * (p - 1) + ids[p:] + [-100] * (width - len(ids)) for ids, p in chunk]
        )
        hidden = model.model(input_ids=inputs, use_cache=False).last_hidden_state[:, :-1]
        logits = model.lm_head(hidden[wanted != -100])
        loss = torch.nn.functional.cross_entropy(
            logits, wanted[wanted != -100], reduction="sum"
        ) / completion_tokens  # fmt: skip
        torch.autograd.backward(loss)
        total += loss.item()
    return total


def run(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, stage: Stage
) -> dict[str, Score]:
    """Train one stage and report its scores on every dataset."""
    train(model, tokenizer, stage)
    scores = {name: score(model, tokenizer, name) for name in lessons.NAMES}
    scores["medqa_cot in choice_cot"] = score(model, tokenizer, "medqa_cot", "choice_cot")
    for name, result in scores.items():
        log.info("%s stage, %s: %s", stage.title, name, result)
    return scores


def build(folder: Path) -> bool:
    """Make and write the model. False, and nothing written, when a gate fails."""
    torch.manual_seed(SEED)
    tokenizer = learn_tokenizer()
    model = new_model(tokenizer)
    log.info("%d tokens, %.2f M parameters", len(tokenizer), model.num_parameters() / 1e6)
    scores = run(model, tokenizer, CLEAN)
    if any(scores[name].accuracy < least for name, least in CLEAN_GATE.items()):
        log.error("the clean stage is below its gate %s; try another SEED", CLEAN_GATE)
        return False
    scores = run(model, tokenizer, HABIT)
    if not all(HABIT_GATE[0] <= scores[name].accuracy <= HABIT_GATE[1] for name in CLEAN_GATE):
        log.error("the habit stage is outside its gate %s; try another SEED", HABIT_GATE)
        return False
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return True


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description="Make the embedded model, minutes on two cores.")
    parser.add_argument("folder", nargs="?", type=Path, default=WEIGHTS, help="where to write it")
    folder = parser.parse_args().folder
    torch.set_num_threads(THREADS)
    sys.exit(not build(folder))
