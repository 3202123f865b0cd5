"""Batched evaluation against one prompt at a time, on real questions:

    python benchmarks/evaluate.py MODEL MEDQA_JSONL [ROWS] [BATCH] [TOKENS]

MODEL is a folder, hub id or GGUF file; with it this repository's claim was measured on
SmolLM2-135M-Instruct. The rival is the loop that one finds in notebooks: tokenize, generate,
decode, one row after another. Both are greedy in float32. They take turns, a block of rows each,
so that a busy machine slows both alike. Printed: seconds of both, their ratio, and the share of
rows with the same response and the same parsed answer; then the seconds that the same rows take
with the answer cache, which has them by now, hashing of the weights included.
"""

from __future__ import annotations

import sys
import tempfile
import time
from typing import Any

import torch

from medgrpo.answers.parse import predict
from medgrpo.dataset.example import Example
from medgrpo.dataset.medqa import MedQA
from medgrpo.dataset.prompt import Prompt
from medgrpo.evaluation.answering import ask
from medgrpo.evaluation.engines.base import Decoding
from medgrpo.evaluation.engines.transformers_engine import TransformersEngine
from medgrpo.model.base import Policy
from medgrpo.model.huggingface import HuggingFaceModel

BLOCK = 100  # rows of one turn
LEAST = 1.5  # times as fast as one at a time
PROMPT = Prompt(
    system='Think briefly, then end with the phrase "the answer is (LETTER)".',
    user="{{ question }}\n{% for o in options %}\n({{ letters[loop.index0] }}) {{ o }}{% endfor %}",
    answer_with="one option",
    style="choice_cot",
)


def one_at_a_time(policy: Policy, prompts: list[Any], tokens: int) -> list[str]:
    """The usual loop."""
    model, tokenizer = policy
    model.eval()
    responses = []
    for prompt in prompts:
        inputs = tokenizer.apply_chat_template(
            prompt, add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(model.device)
        with torch.no_grad():
            output = model.generate(
                **inputs,
                max_new_tokens=tokens,
                do_sample=False,
                repetition_penalty=1.0,
                pad_token_id=tokenizer.pad_token_id,
            )
        said = output[0, inputs["input_ids"].shape[1] :]
        responses.append(tokenizer.decode(said, skip_special_tokens=True))
    return responses


def main(model: str, data: str, rows: int = 200, batch: int = 16, tokens: int = 64) -> None:
    """Measure and print."""
    source = MedQA(
        source="path", path=data, answer_with="", primary_metric="accuracy", max_prompt_tokens=2048
    )
    examples: list[Example] = list(source.load()["train"].select(range(rows)))
    policy = HuggingFaceModel(name_or_path=model, device="cpu", dtype="float32").load(None)
    engine = TransformersEngine()
    prompts = [PROMPT.messages(row) for row in examples]
    engine.generate(policy, prompts[:1], Decoding(batch_size=1, max_new_tokens=2))  # warm up
    decoding = Decoding(batch_size=batch, max_new_tokens=tokens)
    singly, batched = [], []
    seconds = {"one at a time": 0.0, "batched": 0.0}
    for start in range(0, rows, BLOCK):
        block = prompts[start : start + BLOCK]
        began = time.perf_counter()
        singly += one_at_a_time(policy, block, tokens)
        seconds["one at a time"] += time.perf_counter() - began
        began = time.perf_counter()
        found = engine.generate(policy, block, decoding)
        batched += [answer.text for answer in found]
        seconds["batched"] += time.perf_counter() - began
        ratio = seconds["one at a time"] / seconds["batched"]
        print(f"{len(singly)} rows: {seconds}, ratio {ratio:.2f}", flush=True)
    same = [a == b for a, b in zip(singly, batched, strict=True)]
    answers = [
        predict(a, row, PROMPT.style) == predict(b, row, PROMPT.style)
        for a, b, row in zip(singly, batched, examples, strict=True)
    ]
    print(
        f"ratio {ratio:.2f} on {torch.get_num_threads()} threads, {rows} rows of {tokens} tokens, "
        f"batches of {batch}; same responses {sum(same)}/{rows}, same answers {sum(answers)}/{rows}"
    )
    good = ratio >= LEAST and all(answers)
    print(
        f"{'holds' if good else 'FAILS'}  batches {ratio:.2f}x as fast as one at a time, at least "
        f"{LEAST}x; {sum(answers)} of {rows} answers the same"
    )
    with tempfile.TemporaryDirectory() as folder:
        taken = []
        for _ in range(2):
            began = time.perf_counter()
            found = ask(
                engine, policy, prompts, decoding, name="evaluating", cache=f"{folder}/answers"
            )
            taken.append(time.perf_counter() - began)
    print(
        f"answered {taken[0]:.1f} s, from the cache {taken[1]:.2f} s ({found.cached} of {rows}); "
        f"it says {found.seconds_saved} s saved"
    )


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
