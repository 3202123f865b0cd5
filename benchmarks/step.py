"""A GRPO step that reads each prompt once for its group against plain TRL, on real questions:

    python benchmarks/step.py MODEL PUBMEDQA_JSON [ROUNDS]

MODEL is a folder, hub id or GGUF file; with it this repository's claim was measured on
SmolLM2-135M-Instruct. The rival is TRL's GRPOTrainer itself, of the installed version. Both start
from the same adapter (LoRA r 8 on all linear layers, float32), on the same abstracts, and write 64
tokens a completion; they take turns, two steps each, of which the second counts. Printed for each
size: seconds of a step and of its parts, medians over the rounds, and ratios of ours to TRL's; then
the memory of a forward and backward pass above what there was before, and the peak of the process,
each in a process of its own. Exit code 1 where a claim does not hold.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from medgrpo.model.huggingface import HuggingFaceModel
from medgrpo.model.lora import LoRA
from medgrpo.trainer.sharing import Sharing

TOKENS = 64  # of a completion
SIZES = [(4, 400, 0.65), (8, 400, 0.45), (4, 1500, 0.65)]  # completions, prompt tokens, most
MEMORY = 0.7  # of TRL's, at most
PLAIN, SHARED = "plain", "shared"


class Ours(Sharing, GRPOTrainer):
    """As `python -m medgrpo` has it, without recording."""


class Timed:
    """Adds up the seconds of generation and of the backward pass."""

    generating = updating = 0.0

    def _generate_single_turn(self, *args: Any, **more: Any) -> Any:
        start = time.perf_counter()
        made = super()._generate_single_turn(*args, **more)
        self.generating += time.perf_counter() - start
        return made

    def training_step(self, *args: Any, **more: Any) -> Any:
        start, generated = time.perf_counter(), self.generating
        done = super().training_step(*args, **more)
        self.updating += time.perf_counter() - start - (self.generating - generated)
        return done


KINDS = {
    PLAIN: type("Plain", (Timed, GRPOTrainer), {}),
    SHARED: type("Shared", (Timed, Ours), {}),
}


def policy(model: str) -> Any:
    """The model with an adapter that does something."""
    torch.manual_seed(0)
    lora = LoRA(
        r=8, alpha=8, dropout=0.0, target_modules="all-linear", bias="none", use_rslora=False,
        use_dora=False, modules_to_save=None,
    )  # fmt: skip
    loaded = HuggingFaceModel(name_or_path=model, device="cpu", dtype="float32").load(lora)
    for name, weight in loaded.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.01)
    return loaded


def questions(data: str, tokenizer: Any, tokens: int) -> list[dict[str, Any]]:
    """Prompts of about so many tokens: abstracts, cut or several after one another."""
    records = list(json.loads(Path(data).read_text(encoding="utf-8")).values())
    rows = []
    for start in range(8):
        texts = [" ".join(one["CONTEXTS"]) for one in records[start::8][:8]]
        ids = tokenizer(" ".join(texts))["input_ids"][: tokens - 60]
        asked = f"{tokenizer.decode(ids)}\n\n{records[start]['QUESTION']}"
        rows.append({"prompt": [{"role": "user", "content": asked}]})
    return rows


def trainer(kind: str, loaded: Any, data: str, size: tuple[int, int, int], folder: str) -> Any:
    """One of the rivals, ready for `steps` steps of one prompt each."""
    group, tokens, steps = size
    made = KINDS[kind](
        model=loaded.model,
        reward_funcs=[lambda completions, **_: [len(one[0]["content"]) % 7 for one in completions]],
        args=GRPOConfig(
            output_dir=folder, use_cpu=True, bf16=False, report_to="none", save_strategy="no",
            disable_tqdm=True, logging_strategy="no", max_steps=steps, seed=1, learning_rate=1e-5,
            per_device_train_batch_size=group, num_generations=group, beta=0.0,
            max_completion_length=TOKENS, gradient_checkpointing=False,
            generation_kwargs={"min_new_tokens": TOKENS},
        ),
        train_dataset=Dataset.from_list(questions(data, loaded.tokenizer, tokens)),
        processing_class=loaded.tokenizer,
    )  # fmt: skip
    made.remove_callback(PrinterCallback)
    return made


def step(kind: str, loaded: Any, data: str, size: tuple[int, int]) -> tuple[float, float]:
    """Seconds of generation and of the update, of the second step."""
    start = {name: weight.detach().clone() for name, weight in adapter(loaded.model)}
    with tempfile.TemporaryDirectory() as folder:
        made = trainer(kind, loaded, data, (*size, 2), folder)
        first: list[tuple[float, float]] = []
        inner = made.training_step

        def noted(*args: Any, **more: Any) -> Any:
            done = inner(*args, **more)
            first.append((made.generating, made.updating))
            return done

        made.training_step = noted
        made.train()
    for name, weight in adapter(loaded.model):
        weight.data.copy_(start[name])
    return first[1][0] - first[0][0], first[1][1] - first[0][1]


def adapter(model: Any) -> list[tuple[str, Any]]:
    return [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]


def rss() -> float:
    """Memory of this process now, in GB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e9


def memory(kind: str, model: str, data: str, group: int, tokens: int) -> None:
    """Print GB of a forward and backward pass above what there was, and of the whole process."""
    loaded = policy(model)
    with tempfile.TemporaryDirectory() as folder:
        made = trainer(kind, loaded, data, (group, tokens, 1), folder)
        inner, peaks = made.compute_loss, []

        def watched(*args: Any, **more: Any) -> Any:
            before, most, over = rss(), [rss()], threading.Event()

            def watch() -> None:
                while not over.wait(0.003):
                    most[0] = max(most[0], rss())

            thread = threading.Thread(target=watch)
            thread.start()
            loss = inner(*args, **more)
            over.set()
            thread.join()
            peaks.append(max(most[0], rss()) - before)
            return loss

        made.compute_loss = watched
        made.train()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps([max(peaks), most]))


def in_own_process(kind: str, *sizes: Any) -> tuple[float, float]:
    """What `memory` prints."""
    command = [sys.executable, __file__, "--memory", kind, *map(str, sizes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    above, whole = json.loads(done.stdout.splitlines()[-1])
    return above, whole


def main(model: str, data: str, rounds: int = 3) -> int:
    """Measure, print, and say whether the claims hold."""
    measured = {
        (group, tokens, kind): in_own_process(kind, model, data, group, tokens)
        for group, tokens, _ in SIZES
        for kind in KINDS
    }
    loaded, holds = policy(model), True
    for group, tokens, most in SIZES:
        taken: dict[str, list[tuple[float, float]]] = {PLAIN: [], SHARED: []}
        for _ in range(rounds):
            for kind, times in taken.items():
                times.append(step(kind, loaded, data, (group, tokens)))
        parts = {}
        for kind, times in taken.items():
            generated, updated = (statistics.median(column) for column in zip(*times, strict=True))
            whole = statistics.median(map(sum, times))
            parts[kind] = (whole, generated, updated)
        ratios = [ours / theirs for ours, theirs in zip(parts[SHARED], parts[PLAIN], strict=True)]
        saved = measured[group, tokens, SHARED][0] / measured[group, tokens, PLAIN][0]
        good = ratios[0] <= most and saved <= MEMORY
        holds = holds and good
        print(
            f"{'holds' if good else 'FAILS'}  a step of {group} completions to {tokens} tokens "
            f"{ratios[0]:.2f} of plain TRL's, at most {most}; memory {saved:.2f}, at most {MEMORY}"
        )
        for kind in KINDS:
            seconds = "  ".join(f"{part:6.2f}" for part in parts[kind])
            above, whole = measured[group, tokens, kind]
            print(
                f"  {kind:<7} step, generation, update: {seconds} s; "
                f"pass {above:.2f} GB above, process {whole:.2f} GB"
            )
        shown = "  ".join(f"{ratio:6.2f}" for ratio in ratios)
        print(f"  ratio                             {shown}")
    print(f"{torch.get_num_threads()} threads, {rounds} rounds")
    return 0 if holds else 1


if __name__ == "__main__":
    if sys.argv[1] == "--memory":
        memory(*sys.argv[2:5], *map(int, sys.argv[5:]))
    else:
        sys.exit(main(*sys.argv[1:3], *map(int, sys.argv[3:])))
