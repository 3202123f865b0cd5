"""Make the embedded model: `python -m medgrpo.model.tiny.build [FOLDER]`, minutes on two cores.

A tokenizer, a Llama of about a million parameters, then two stages of plain supervised training:
clean answers until the model knows the facts (gate: held-out accuracy), then planted habits for
GRPO to unlearn (gate: they show in greedy decoding). The result is a normal transformers folder.
Seeded; prints what each stage reaches and exits 1 when a gate fails. docs/decisions.md says what
was tried and what did not work.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from medgrpo.dataset.samples import generate
from medgrpo.model.tiny import lessons
from medgrpo.model.tiny.lessons import Lesson
from medgrpo.model.tiny.tokenizer import make_tokenizer
from medgrpo.rewards.tags import extract_answer, parse_tags

log = logging.getLogger(__name__)

WEIGHTS = Path(__file__).parent / "weights"
SEED = 7
THREADS = 2
CHUNK = 15  # lessons in one forward pass, of similar length
# (dataset, prompt style, lessons in a step)
MIX = [("medqa", "reasoning", 16), ("medqa_cot", "reasoning", 8), ("medqa_cot", "choice_cot", 6),
       ("pubmedqa", "reasoning", 20), ("bioasq", "reasoning", 10)]  # fmt: skip
Teach = Callable[[str, Random, str], Lesson]


class Score(NamedTuple):
    """Greedy decoding on the test rows; an unparsed answer is a wrong one."""

    accuracy: float
    parsed: float  # share with an answer block
    format: float  # share in exactly the layout that the prompt asks for

    def __str__(self) -> str:
        given = self.accuracy / self.parsed if self.parsed else 0.0
        return (f"accuracy {self.accuracy:.3f}, given parsed {given:.3f}, "
                f"parsed {self.parsed:.3f}, format {self.format:.3f}")  # fmt: skip


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


def train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, teach: Teach,
          steps: int, rate: float, seed: int) -> None:  # fmt: skip
    """AdamW on the response tokens, with a warm-up and a cosine down to 5 % of `rate`."""
    rng = Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), rate, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1, (step + 1) / 100) * (0.525 + 0.475 * math.cos(math.pi * step / steps)),
    )
    model.train()
    for step in range(steps):
        items = [teach(name, rng, style) for name, style, count in MIX for _ in range(count)]
        loss = _backward(model, _encode(tokenizer, items))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 100 == 99:
            log.info("step %d: loss %.4f", step + 1, loss)


def _encode(tokenizer: PreTrainedTokenizerFast, items: list[Lesson]) -> list[tuple[list[int], int]]:
    """Token ids of every lesson with the length of its prompt, shortest lesson first."""
    texts = [_render(tokenizer, item.messages) for item in items]
    prompts = tokenizer(texts)["input_ids"]
    responses = tokenizer([item.response + tokenizer.eos_token for item in items])["input_ids"]
    pairs = ((p + r, len(p)) for p, r in zip(prompts, responses, strict=True))
    return sorted(pairs, key=lambda pair: len(pair[0]))


def _render(tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, str]]) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def _backward(model: LlamaForCausalLM, encoded: list[tuple[list[int], int]]) -> float:
    """Add the gradients of the mean loss over all response tokens; returns that loss.

    Padding stands on the right, so that causal attention needs no mask for the tokens that count.
    """
    said = sum(len(ids) - prompt for ids, prompt in encoded)
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
        ) / said  # fmt: skip
        loss.backward()
        total += loss.item()
    return total


@torch.no_grad()
def greedy(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast,
           prompts: list[list[dict[str, str]]]) -> list[str]:  # fmt: skip
    """The model's most likely response to each prompt."""
    model.eval()
    encoded = tokenizer([_render(tokenizer, p) for p in prompts], return_tensors="pt", padding=True)
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
    prompts = [lessons.prompt(name, style).messages(lessons.example(name, i)) for i in items]
    said = greedy(model, tokenizer, prompts)
    if style == "choice_cot":
        right = [
            s.endswith(f"{lessons.answer_line(i, style)}.")
            for s, i in zip(said, items, strict=True)
        ]
        return Score(sum(right) / len(said), 1.0, 1.0)
    blocks = [extract_answer(s) for s in said]
    right = [b == lessons.answer_line(i, style) for b, i in zip(blocks, items, strict=True)]
    parsed = [block is not None for block in blocks]
    layout = [parse_tags(s) is not None for s in said]
    return Score(*(sum(hits) / len(said) for hits in (right, parsed, layout)))


def stage(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, title: str, teach: Teach,
          steps: int, rate: float, seed: int) -> dict[str, Score]:  # fmt: skip
    """Train one stage and report its scores on every dataset."""
    train(model, tokenizer, teach, steps, rate, seed)
    scores = {name: score(model, tokenizer, name) for name in lessons.NAMES}
    scores["medqa_cot in choice_cot"] = score(model, tokenizer, "medqa_cot", "choice_cot")
    for name, result in scores.items():
        log.info("%s stage, %s: %s", title, name, result)
    return scores


def build(folder: Path) -> bool:
    """Make and write the model. False, and nothing written, when a gate fails."""
    torch.manual_seed(SEED)
    tokenizer = learn_tokenizer()
    model = new_model(tokenizer)
    log.info("%d tokens, %.2f M parameters", len(tokenizer), model.num_parameters() / 1e6)
    scores = stage(model, tokenizer, "clean", lessons.clean_lesson, 1500, 2.5e-3, SEED)
    if any(scores[name].accuracy < least for name, least in CLEAN_GATE.items()):
        log.error("the clean stage is below its gate %s; try another SEED", CLEAN_GATE)
        return False
    scores = stage(model, tokenizer, "habit", lessons.habit_lesson, 250, 1e-3, SEED + 1)
    if not all(HABIT_GATE[0] <= scores[name].accuracy <= HABIT_GATE[1] for name in CLEAN_GATE):
        log.error("the habit stage is outside its gate %s; try another SEED", HABIT_GATE)
        return False
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return True


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(THREADS)
    sys.exit(not build(Path(sys.argv[1]) if len(sys.argv) > 1 else WEIGHTS))
