"""Does medgrpo run on this GPU? Ten minutes, a line a stage: pass or fail, time, peak memory.

    make gpu-check                                  the recipe's model, from the hub
    python benchmarks/gpu_check.py --model FOLDER   another, a small one for example
    python benchmarks/gpu_check.py --device cpu --model FOLDER      a rehearsal without a GPU

Each stage is the public command in a process of its own, on the embedded sample with the embedded
judge. Words after the options go to every run: `python benchmarks/gpu_check.py evaluation.limit=8`.
A stage whose library is not installed is skipped and says so. Memory is what the whole device held
at its most, over what it held before. gpu-check.json takes all of it, the versions and the GPU.
Exit code 0 when nothing failed, 1 when something did, 2 without a GPU.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from medgrpo.errors import UserError
from medgrpo.model.memory import GB
from medgrpo.tracking.metrics_log import read_log

UNSLOTH = "model._target_=medgrpo.model.unsloth_loader.UnslothModel"
TRANSFORMERS = "model._target_=medgrpo.model.huggingface.HuggingFaceModel"
SHORT = [
    "experiment=medqa_grpo",
    "dataset.source=sample",
    "judge=lexical",
    "tracking=local",
    "trainer.args.max_completion_length=128",
    "evaluation.limit=16",
    "evaluation.answer_cache=null",
    "evaluation.max_new_tokens=128",
]
VERSIONS = "medgrpo torch transformers trl peft accelerate bitsandbytes unsloth unsloth_zoo vllm"


@dataclass
class Line:
    """One stage: what was run, how it went. Memory in GB; None where it was not measured."""

    name: str
    outcome: str  # pass, fail or skip
    seconds: float | None = None
    memory: float | None = None
    estimate: float | None = None  # the run's own, of preflight
    figures: dict[str, float | str] = field(default_factory=dict)

    def __str__(self) -> str:
        cells = [f"{self.outcome:<4} {self.name}"]
        if self.seconds is not None:
            cells.append(f"{self.seconds:.0f} s")
        if self.memory is not None:
            estimate = f" (estimate {self.estimate:.1f})" if self.estimate is not None else ""
            cells.append(f"{self.memory:.1f} GB{estimate}")
        cells += [f"{name} {value}" for name, value in self.figures.items()]
        return ", ".join(cells)


class GPUCheck:
    """Runs stages in `folder`, prints a line for each and keeps `output` up to date.

    `options` go to every run.
    """

    def __init__(self, folder: Path, device: str, options: Sequence[str], output: Path) -> None:
        self.folder, self.device, self.output = folder, device, output
        self.options = options
        self.lines: list[Line] = []

    def run(
        self, name: str, *overrides: str, needs: Sequence[str] = (), sweep: bool = False
    ) -> bool:
        """`python -m medgrpo` with `overrides`; whether it ended well."""
        for library in needs:
            if importlib.util.find_spec(library) is None:
                return self.say(Line(name, "skip", figures={"needs": library}))
        given = [*SHORT, f"model.device={self.device}", *overrides, *self.options]
        settings = {word.partition("=")[0]: word for word in given}  # of two, the later
        command = [sys.executable, "-m", "medgrpo", *["-m"] * sweep, *settings.values()]
        start = time.monotonic()
        with Peak(self.device) as peak:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, cwd=self.folder
            )
        output = done.stdout + done.stderr
        estimate = re.search(r"memory: ([\d.]+) GB by estimate", output)
        outcome = "fail" if done.returncode else "pass"
        line = Line(name, outcome, time.monotonic() - start, peak.memory)
        line.estimate = float(estimate[1]) if estimate else None
        self.say(line)
        if done.returncode:
            print("\n".join(output.splitlines()[-30:]), flush=True)
        return done.returncode == 0

    def expect(self, name: str, check: Callable[[], tuple[bool, float | str]]) -> bool:
        """Whether what a run left behind is as it should be; `check` gives a figure with it."""
        try:
            holds, figure = check()
        except (OSError, KeyError, ValueError, UserError) as error:
            holds, figure = False, repr(error)
        return self.say(Line(name, "pass" if holds else "fail", figures={"found": figure}))

    def say(self, line: Line) -> bool:
        self.lines.append(line)
        print(line, flush=True)
        found = {
            "gpu": gpu_name(self.device),
            "options": self.options,
            "versions": {name: _version(name) for name in VERSIONS.split()},
            "lines": [asdict(line) for line in self.lines],
        }
        self.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        return line.outcome == "pass"

    def stages(self) -> None:
        self.unsloth()
        adapters = [self.plain(), self.vllm("colocate", TRANSFORMERS, "model.load_in_4bit=false")]
        self.vllm("fast_inference", UNSLOTH, "model.fast_inference=true", needs=["unsloth"])
        if all(adapters):
            self.two_adapters(*adapters)

    def unsloth(self) -> None:
        run, again = self.folder / "unsloth", self.folder / "again"
        recipe = [UNSLOTH, "trainer.args.save_steps=10"]
        ten = [*recipe, "trainer.args.max_steps=10", f"output_dir={run}"]
        more = [*recipe, "trainer.args.max_steps=20", f"resume={run}"]
        merge = [UNSLOTH, "trainer=none", f"model.adapter={run}", "export=merged_16bit"]
        if (
            self.run("Unsloth, 4 bit: 10 steps", *ten, needs=["unsloth"])
            and self.run("resume: 10 more", *more)
            and self.expect("each of 20 steps has a loss, once", lambda: steps_of(run, 20))
            and self.run("reload in a fresh process, merge", *merge, f"output_dir={again}")
        ):
            self.expect("it answers as the run did", lambda: agreement(run, again, 0.9))
            self.expect("merged weights agree with the adapter", lambda: parity(again))

    def plain(self) -> Path | None:
        """Three steps of transformers, PEFT and bitsandbytes; the run's folder."""
        run = self.folder / "transformers"
        settings = [TRANSFORMERS, "trainer.args.max_steps=3", f"output_dir={run}"]
        if not self.run("transformers, NF4: 3 steps", *settings, needs=["bitsandbytes"]):
            return None
        self.expect("each of 3 steps has a loss, once", lambda: steps_of(run, 3))
        return run

    def vllm(self, name: str, *settings: str, needs: Sequence[str] = ()) -> Path | None:
        """Three steps whose completions vLLM generates; the run's folder."""
        run = self.folder / name
        three = ["trainer=grpo_vllm", "trainer.args.max_steps=3", f"output_dir={run}"]
        if not self.run(f"vLLM, {name}: 3 steps", *three, *settings, needs=[*needs, "vllm"]):
            return None
        self.expect("vLLM's probabilities are the model's", lambda: ratio(run))
        return run

    def two_adapters(self, first: Path, second: Path) -> None:
        """A sweep of two adapters on one engine; the second trained in 16 bit, as it is read."""
        sweep = self.folder / "two"
        settings = ["trainer=none", "engine=vllm", TRANSFORMERS, "model.load_in_4bit=false"]
        both = [f"model.adapter={first},{second}", f"hydra.sweep.dir={sweep}"]
        if self.run("engine=vllm: two adapters", *settings, *both, needs=["vllm"], sweep=True):
            (job,) = sweep.glob(f"*{second.name}-*")  # the folder is named after the adapter
            self.expect("it answers as transformers does", lambda: agreement(second, job, 0.8))


class Peak:
    """The most memory of the GPU in use, over what was in use before. None on a CPU."""

    def __init__(self, device: str) -> None:
        self.device, self.memory = device, None if device == "cpu" else 0.0

    def __enter__(self) -> Peak:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        if self.memory is not None:
            self._before = _in_use()
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self.memory is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            self.memory = max(self.memory or 0, (_in_use() - self._before) / GB)


def _in_use() -> int:
    import torch

    free, total = torch.cuda.mem_get_info()
    return total - free


def steps_of(run: Path, expected: int) -> tuple[bool, str]:
    """Whether the steps whose loss was logged are 1, 2, ... `expected`."""
    steps = [row["step"] for row in read_log(run / "metrics.jsonl") if row.get("loss") is not None]
    return steps == list(range(1, expected + 1)), f"{len(steps)} steps"


def agreement(first: Path, second: Path, at_least: float) -> tuple[bool, float]:
    """Share of held-out rows that both runs answer word for word alike after training.

    Half-precision sums differ between processes and libraries, so that a few may part.
    """
    answers = []
    for run in (first, second):
        rows = pq.read_table(run / "predictions.parquet").to_pylist()
        answers.append([row["response"] for row in rows if row["stage"] == "after"])
    share = sum(a == b for a, b in zip(*answers, strict=True)) / len(answers[0])
    return share >= at_least, round(share, 3)


def parity(run: Path) -> tuple[bool, str]:
    """Whether the run found its merged model to agree with its adapter."""
    found = json.loads((run / "parity.json").read_text())
    apart, same = found["mean_logprob_difference"], found["same_answers"]
    return found["agrees"], f"{apart:.4f} nats, {same:.0%} same"


def ratio(run: Path) -> tuple[bool, float]:
    """Whether the mean importance ratio of vLLM's tokens is within 0.1 of 1 at every step."""
    key = "sampling/importance_sampling_ratio/mean"
    ratios = [row[key] for row in read_log(run / "metrics.jsonl") if row.get(key) is not None]
    worst = max(ratios, key=lambda value: abs(value - 1))
    return abs(worst - 1) <= 0.1, round(worst, 4)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="hub id or folder instead of the recipe's")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--output", type=Path, default=Path("gpu-check.json"))
    given, options = parser.parse_known_args()
    import torch

    if given.device == "cuda" and not torch.cuda.is_available():
        print("gpu-check: torch sees no CUDA GPU on this machine; nothing was checked")
        return 2
    print(f"gpu-check: {gpu_name(given.device)}, torch {torch.__version__}", flush=True)
    if given.model:
        folder = Path(given.model)  # of the caller's; the runs have another working directory
        options.append(f"model.name_or_path={folder.absolute() if folder.exists() else folder}")
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        check = GPUCheck(Path(folder), given.device, options, given.output)
        check.stages()
    print(f"gpu-check: all of it in {given.output}")
    return int(any(line.outcome == "fail" for line in check.lines))


def gpu_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else "none: a rehearsal on the CPU"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
