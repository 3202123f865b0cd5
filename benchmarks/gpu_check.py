"""Does the recipe run on this GPU? Each stage in a process of its own, one pass or fail line each.

    make gpu-check                                        Unsloth, as published
    python benchmarks/gpu_check.py --backend transformers
    python benchmarks/gpu_check.py --model MODEL          another model, for example a small one

Stages: the run itself (load, evaluate, 3 GRPO steps, save) on the embedded sample with rewards that
need no judge; the adapter loaded and evaluated by a fresh process, which must answer as the run
did; the adapter merged into 16-bit weights, which must agree with it (export=merged_16bit). Exit
code 0 when all pass, 1 when one fails, 2 without a GPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BACKENDS = {
    "unsloth": "medgrpo.model.unsloth_loader.UnslothModel",
    "transformers": "medgrpo.model.huggingface.HuggingFaceModel",
}
SHORT = [
    "experiment=medqa_grpo",
    "dataset.source=sample",
    "rewards=[formats,verifiable]",
    "tracking=local",
    "trainer.args.max_steps=3",
    "trainer.args.max_completion_length=128",
    "evaluation.limit=16",
    "evaluation.max_new_tokens=128",
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=BACKENDS, default="unsloth")
    parser.add_argument("--model", help="hub id or folder instead of the recipe's")
    given = parser.parse_args()

    import torch

    if not torch.cuda.is_available():
        print("gpu-check: torch sees no CUDA GPU on this machine; nothing was checked")
        return 2
    print(f"gpu-check: {torch.cuda.get_device_name()}, torch {torch.__version__}, {given.backend}")
    model = [f"model._target_={BACKENDS[given.backend]}"]
    if given.model:
        model.append(f"model.name_or_path={given.model}")
    with tempfile.TemporaryDirectory() as folder:
        return 0 if check(Path(folder), model) else 1


def check(folder: Path, model: list[str]) -> bool:
    """Run the stages in `folder`; a failed one ends the check."""
    run, again = folder / "run", folder / "again"
    medgrpo = [sys.executable, "-m", "medgrpo", *SHORT, *model]
    reload = ["trainer=none", f"model.adapter={run}", "export=merged_16bit", f"output_dir={again}"]
    return (
        stage("load, evaluate, 3 GRPO steps, save", [*medgrpo, f"output_dir={run}"])
        and expect("three steps have a loss", losses(run) == 3)
        and stage("reload in a fresh process, evaluate, merge", [*medgrpo, *reload])
        and expect("it answers as the run did", agreement(run, again) >= 0.9)
        and expect("merged weights agree with the adapter", parity(again))
    )


def stage(name: str, command: list[str]) -> bool:
    """Run a command; print PASS or FAIL with its time, and its last lines when it fails."""
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(f"{'FAIL' if done.returncode else 'PASS'}  {name} ({time.monotonic() - start:.0f} s)")
    if done.returncode:
        print("\n".join((done.stdout + done.stderr).splitlines()[-20:]))
    return done.returncode == 0


def expect(name: str, holds: bool) -> bool:
    print(f"{'PASS' if holds else 'FAIL'}  {name}")
    return holds


def losses(run: Path) -> int:
    """Steps whose loss was logged."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return sum(row.get("loss") is not None for row in rows)


def agreement(first: Path, second: Path) -> float:
    """Share of held-out rows that both runs answer alike after training.

    Half-precision sums may differ between processes, so a few may part.
    """
    import pyarrow.parquet as pq

    answers = []
    for run in (first, second):
        rows = pq.read_table(run / "predictions.parquet").to_pylist()
        answers.append([row["response"] for row in rows if row["stage"] == "after"])
    return sum(a == b for a, b in zip(*answers, strict=True)) / len(answers[0])


def parity(run: Path) -> bool:
    """Whether the run found its merged model to agree with its adapter."""
    return json.loads((run / "parity.json").read_text())["agrees"]


if __name__ == "__main__":
    sys.exit(main())
