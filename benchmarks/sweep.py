"""What a sweep costs beside its jobs: `python benchmarks/sweep.py [OVERRIDE...]`, half an hour.

Twelve jobs of the embedded default (2 datasets x 3 ranks x 2 reward weightings) in one process; the
same in twelve processes; and the same again, killed (SIGKILL) in the middle and resumed. Prints the
sweep's time against the sum of its jobs' training and evaluation times plus one start-up, the
process's memory during and after the last job against the first (figures without a claim), whether
the results of all three ways are the same, value for value, and whether resuming left the finished
jobs alone (file times, W&B ids). Every answer is made anew, without the answer cache.
Overrides shorten the jobs: `trainer.args.max_steps=4 trainer.args.save_steps=2 evaluation.limit=8`.
Exit code 1 when a claim fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from medgrpo.tracking.metrics_log import read_log

JOBS = ["dataset=medqa,pubmedqa", "lora.r=4,8,16", "rewards.reasoning_tags.weight=1,2"]
JOBS += ["evaluation.answer_cache=null"]
RESULTS = ["metrics.jsonl", "predictions.parquet", "adapter/adapter_model.safetensors"]
FINISHED = 6  # jobs, when the sweep is killed during the training of the next


class Sweep:
    """A sweep in a process of its own."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        self.folder = folder
        self._log = folder.with_suffix(".log")
        self._start = time.time()
        environment = {key: os.environ[key] for key in os.environ if not key.startswith("WANDB")}
        command = [sys.executable, "-m", "medgrpo", *overrides]
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=environment
            )

    def until(self, condition: Callable[[], Any]) -> tuple[float, float]:
        """Wait for `condition`, or the end; the least and the most MiB resident meanwhile."""
        seen = [self.memory()]
        while self.process.poll() is None and not condition():
            seen.append(self.memory())
            time.sleep(0.02)
        return min(filter(None, seen), default=0.0), max(seen)

    def memory(self) -> float:
        """MiB resident now, 0 when the process has ended."""
        try:
            return psutil.Process(self.process.pid).memory_info().rss / 2**20
        except psutil.NoSuchProcess:
            return 0.0

    def finish(self) -> float:
        """Seconds that it took; what it printed and the end of this program if it failed."""
        self.until(lambda: False)
        if self.process.returncode:
            sys.exit(self._log.read_text())
        return time.time() - self._start

    @property
    def start_up(self) -> float:
        """Seconds until the first job had data and model and wrote its passport."""
        first = min(file.stat().st_mtime for file in self.folder.glob("*/passport.json"))
        return first - self._start

    @property
    def jobs(self) -> dict[Path, dict[str, Any]]:
        """The summaries of the jobs that have finished."""
        files = self.folder.glob("*/summary.json")
        found = {file.parent: json.loads(file.read_text()) for file in files}
        return {job: summary for job, summary in found.items() if summary["status"] == "finished"}

    def work(self) -> float:
        """Seconds of training and evaluation in all jobs."""
        logs = [row for job in self.jobs for row in read_log(job / "telemetry.jsonl")]
        trained = sum(row.get("train_runtime") or 0 for row in logs)
        answered = (
            sum(one["evaluation_seconds"].values()) + one.get("selection_seconds", 0)
            for one in self.jobs.values()
        )
        return trained + sum(answered)

    def has_checkpoint(self) -> bool:
        """Whether the job under way has one."""
        states = self.folder.glob("*/checkpoints/checkpoint-*/trainer_state.json")
        return bool({file.parents[2] for file in states} - self.jobs.keys())


def begun(folder: Path) -> int:
    """Jobs of a sweep that have begun."""
    return len(list(folder.glob("*/summary.json")))


def same(one: Path, other: Path) -> str:
    """How many result files of the jobs in two folders are equal."""
    pairs = [
        (job / name, other / job.name / name) for job in sorted(one.glob("*-*")) for name in RESULTS
    ]
    equal = sum(first.read_bytes() == second.read_bytes() for first, second in pairs)
    return f"{equal} of {len(pairs)}"


def traces(jobs: dict[Path, dict[str, Any]]) -> dict[Path, list[Any]]:
    """What would change if a job ran again."""
    return {
        job: [summary["wandb_id"], *((job / name).stat().st_mtime_ns for name in RESULTS)]
        for job, summary in jobs.items()
    }


def main() -> int:
    claims: dict[str, bool] = {}
    with tempfile.TemporaryDirectory() as temporary:
        together, apart, cut = (Path(temporary) / name for name in ("together", "apart", "cut"))
        sweep = Sweep(together, "-m", *JOBS, f"output_dir={together}", *sys.argv[1:])
        most, kept, compared = [], [], together / "comparison.csv"
        for n in range(1, 13):
            most.append(sweep.until(lambda n=n: len(sweep.jobs) >= n)[1])
            # until the next job has begun, or the comparison is written: the job has been let go
            kept.append(sweep.until(lambda n=n: begun(together) > n or compared.exists())[0])
        seconds, work = sweep.finish(), sweep.work()
        ratio, growth = seconds / (work + sweep.start_up), kept[-1] / kept[0]
        print(f"{len(sweep.jobs)} jobs in {seconds:.1f} s: {work:.1f} s of training and evaluation")
        print(f"and {sweep.start_up:.1f} s of start-up", flush=True)
        chosen = sum(one["selection_seconds"] for one in sweep.jobs.values())
        print(f"validation rows, which rank the jobs, took {chosen / seconds:.3f} of the time")
        claims[f"{ratio:.3f} of that, at most 1.15"] = ratio <= 1.15
        print(f"most MiB resident during each job: {list(map(round, most))}")
        print(f"the most in job 12: {most[-1] / most[0]:.3f} of the most in job 1")
        print(f"resident after each: {list(map(round, kept))}", flush=True)
        print(f"{kept[-1]:.0f} MiB after job 12: {growth:.3f} of the {kept[0]:.0f} after job 1")

        own = f"output_dir={apart}", "launch.own_process=true"
        taken = Sweep(apart, "-m", *JOBS, *own, *sys.argv[1:]).finish()
        found = same(together, apart)
        claims[f"{found} files of 12 processes ({taken:.1f} s) the same"] = found == "36 of 36"

        sweep = Sweep(cut, "-m", *JOBS, f"output_dir={cut}", *sys.argv[1:])
        sweep.until(lambda: len(sweep.jobs) == FINISHED and sweep.has_checkpoint())
        sweep.process.kill()
        sweep.process.wait()
        finished = traces(sweep.jobs)
        Sweep(cut, f"resume={cut}").finish()
        found, left = same(together, cut), traces(sweep.jobs)
        claims[f"{found} files the same after kill -9 and resume"] = found == "36 of 36"
        alone = sum(left[job] == trace for job, trace in finished.items())
        claims[f"{alone} of {FINISHED} finished jobs left alone"] = alone == FINISHED
    for claim, holds in claims.items():
        print(f"{'holds' if holds else 'FAILS'}  {claim}")
    return 0 if all(claims.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
