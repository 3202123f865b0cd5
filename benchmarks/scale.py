"""How cost grows with rows, jobs, completions and prompts: `python benchmarks/scale.py [FOLDER]`.

Without a rival, one round, about ten minutes, on the embedded model: seconds of a command of one
step with 1,000 to 200,000 rows in a file; of a sweep of 1 to 30 jobs of 4 steps; of a training step
with 8 to 128 completions; and of one with prompts of 100 to 2,000 tokens, shared and not. The last
column is the exponent between neighbours: 1 grows in proportion, 0 not at all. FOLDER (default:
bench) gets scale.json and scale.png.
"""

from __future__ import annotations

import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt

ROWS, JOBS = (1_000, 10_000, 50_000, 200_000), (1, 3, 10, 30)
COMPLETIONS, TOKENS = (8, 16, 32, 64, 128), (100, 250, 500, 1000, 1900)
BRIEF = ["evaluation=none", "tracking=local", "trainer.validation_rows=0"]
WORDS = ["dose", "trial", "blood", "risk", "patients", "group", "placebo", "effect", "years"]


def table(folder: Path, rows: int, words: int) -> Path:
    """A file of yes/no questions, each with a passage of so many words."""
    draw = random.Random(rows + words)
    file = folder / f"rows-{rows}-{words}.jsonl"
    with file.open("w", encoding="utf-8") as lines:
        for n in range(rows):
            passage = " ".join(draw.choices(WORDS, k=words))
            asked = f"Does drug {n} of {draw.random():.9f} lower the risk?"
            row = {"question": asked, "context": passage, "answer": "yes" if n % 2 else "no"}
            lines.write(json.dumps(row) + "\n")
    return file


def reading(file: Path) -> list[str]:
    return [
        "dataset=jsonl", f"dataset.path={file}", "dataset.options=null", "dataset.context=context",
        "dataset.answer_is=text", "dataset.labels=[yes,no]", "dataset.max_prompt_tokens=1950",
    ]  # fmt: skip


def run(folder: Path, *overrides: str) -> float:
    """Seconds of a command."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "medgrpo", *overrides]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-500:]}")
    return time.perf_counter() - start


def step(folder: Path, *overrides: str) -> float:
    """Seconds of a training step, the median of four after the first."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        run(folder, *BRIEF, "rewards=[formats]", "trainer.args.max_steps=5", *overrides,
            "trainer.args.logging_steps=1", f"output_dir={name}/run")  # fmt: skip
        lines = (Path(name) / "run" / "telemetry.jsonl").read_text(encoding="utf-8").splitlines()
    times = [logged["step_time"] for logged in map(json.loads, lines) if "step_time" in logged]
    return statistics.median(times[1:])


def main(place: Path) -> None:
    """Measure, print, write and draw."""
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def rows(n: int) -> float:
            with tempfile.TemporaryDirectory(dir=folder) as out:
                return run(folder, *BRIEF, *reading(table(folder, n, 100)), "rewards=[formats]",
                           "trainer.args.max_steps=1", f"output_dir={out}/run")  # fmt: skip

        def jobs(n: int) -> float:
            seeds = f"seed={','.join(map(str, range(n)))}"
            return run(folder, "-m", *BRIEF, seeds, "rewards=[formats]", "trainer.args.max_steps=4",
                       "sweep.rank_by=test", f"output_dir={folder}/sweep-{n}")  # fmt: skip

        def completions(n: int) -> float:
            return step(folder, "trainer.args.num_generations=8",
                        f"trainer.args.per_device_train_batch_size={n}")  # fmt: skip

        def prompts(share: str) -> Callable[[int], float]:
            def measured(tokens: int) -> float:
                file = table(folder, 200, round(tokens / 1.15))
                return step(folder, *reading(file), f"trainer.share_prompts={share}")

            return measured

        asked: dict[str, tuple[tuple[int, ...], Callable[[int], float]]] = {
            "rows, seconds of a command": (ROWS, rows),
            "jobs, seconds of a sweep": (JOBS, jobs),
            "completions, seconds a step": (COMPLETIONS, completions),
            "prompt tokens, seconds a step": (TOKENS, prompts("auto")),
            "prompt tokens, not shared": (TOKENS, prompts("off")),
        }
        found = {}
        for what, (sizes, measure) in asked.items():
            found[what] = {size: round(measure(size), 3) for size in sizes}
            print(what)
            pairs = list(found[what].items())
            for n, (size, seconds) in enumerate(pairs):
                grown = ""
                if n:
                    before = pairs[n - 1]
                    grown = f"{math.log(seconds / before[1]) / math.log(size / before[0]):8.2f}"
                print(f"  {size:>9,}{seconds:10.2f} s{grown}", flush=True)
    (place / "scale.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    draw(found, place / "scale.png")


def draw(found: dict[str, dict[int, float]], file: Path) -> None:
    """A panel a size; both ways of reading prompts in one."""
    figure, panels = plt.subplots(1, 4, figsize=(13, 3.2), layout="constrained")
    names = list(found)
    for panel, curves in zip(panels, [[n] for n in names[:3]] + [names[3:]], strict=True):
        for name in curves:
            panel.plot([*found[name]], [*found[name].values()], "o-", label=name.partition(", ")[2])
        panel.set(xscale="log", yscale="log", xlabel=curves[0].partition(",")[0], ylabel="seconds")
        panel.set_ylim(bottom=min(min(found[name].values()) for name in curves) / 2)
        panel.legend(fontsize=8)
        panel.grid(alpha=0.3)
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "bench"))
