"""What a sweep costs beside its jobs: `python benchmarks/sweep.py [OVERRIDE...]`.

Twelve jobs of the embedded default (2 datasets x 3 ranks x 2 reward weightings) in one process,
then the same in twelve processes. Prints the sweep's time against the sum of its jobs' own times
plus one start-up, the process's memory after the last job against the first, and whether the
results of both ways are the same, value for value. Overrides shorten the jobs:
`trainer.args.max_steps=2 evaluation.limit=8`.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

JOBS = [
    "dataset=medqa,pubmedqa",
    "lora.r=4,8,16",
    "rewards.reasoning_tags.weight=1,2",
    "tracking.mode=disabled",
]
RESULTS = ["metrics.jsonl", "predictions.parquet", "adapter/adapter_model.safetensors"]


def sweep(folder: Path, *overrides: str) -> tuple[float, float, list[float]]:
    """Run the sweep: seconds in all, seconds until the first job began, memory after each job."""
    command = [sys.executable, "-m", "medgrpo", "-m", *JOBS, f"output_dir={folder}", *overrides]
    log = folder.with_suffix(".log").open("w")
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    memory: list[float] = []
    first = 0.0
    while process.poll() is None:
        if not first and any(folder.glob("*/summary.json")):
            first = time.monotonic() - start
        if len(finished(folder)) > len(memory):
            memory.append(psutil.Process(process.pid).memory_info().rss / 2**20)
        time.sleep(0.05)
    if process.returncode:
        sys.exit(Path(log.name).read_text())
    return time.monotonic() - start, first, memory


def finished(folder: Path) -> list[dict]:
    """The summaries of the jobs that have finished."""
    found = [json.loads(file.read_text()) for file in folder.glob("*/summary.json")]
    return [summary for summary in found if summary["status"] == "finished"]


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        together, apart = Path(temporary) / "together", Path(temporary) / "apart"
        total, first, memory = sweep(together, *sys.argv[1:])
        own = sum(summary["wall_seconds"] for summary in finished(together))
        print(f"{len(finished(together))} jobs in {total:.1f} s: {own:.1f} s of their own and")
        print(f"{first:.1f} s of start-up; ratio {total / (own + first):.3f}")
        if len(memory) > 1:
            print(f"memory after the first job {memory[0]:.0f} MiB, the last {memory[-1]:.0f} MiB")
            print(f"ratio {memory[-1] / memory[0]:.3f}")
        seconds, _, _ = sweep(apart, "launch.own_process=true", *sys.argv[1:])
        same = [
            (job / name).read_bytes() == (apart / job.name / name).read_bytes()
            for job in (path.parent for path in together.glob("*/summary.json"))
            for name in RESULTS
        ]
        print(f"12 processes: {seconds:.1f} s; {sum(same)} of {len(same)} result files the same")


if __name__ == "__main__":
    main()
