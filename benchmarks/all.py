"""Every benchmark of this folder, one after another, and their claims in one table:

    python benchmarks/all.py [MODEL PUBMEDQA_JSON MEDQA_JSONL]      # at most an hour

Each runs as its own docstring says, alone, ours and the rival in turns; those that need a model and
the benchmarks' own files are left out, and named, where none are given. The table has a line a
claim; bench.json beside it also has the machine, the versions and the minutes, and bench/NAME.txt
all that a benchmark printed. Exit code 1 where a claim does not hold.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets", "deepeval", "evidently")


def runs(files: list[str]) -> dict[str, list[str] | None]:
    """The arguments of each benchmark; None where it needs files that are not given."""
    model, pubmedqa, medqa = files or (None, None, None)
    return {
        "startup": ["3"],
        "judge": [],
        "data": ["--rounds", "3"],
        "settings": ["500"],
        "step": [model, pubmedqa, "3"] if model and pubmedqa else None,
        "evaluate": [model, medqa, "48"] if model and medqa else None,
        "sweep": [],
    }


def run(name: str, arguments: list[str]) -> dict[str, Any]:
    """Its claims (text: holds), exit code and minutes; what it prints goes into bench/NAME.txt."""
    start, output = time.monotonic(), Path("bench") / f"{name}.txt"
    output.parent.mkdir(exist_ok=True)
    with output.open("w", encoding="utf-8") as file:
        command = [sys.executable, str(HERE / f"{name}.py"), *arguments]
        code = subprocess.run(
            command, stdout=file, stderr=subprocess.STDOUT, check=False
        ).returncode
    lines = [line.partition("  ") for line in output.read_text(encoding="utf-8").splitlines()]
    claims = {claim: word == "holds" for word, _, claim in lines if word in ("holds", "FAILS")}
    return {"claims": claims, "code": code, "minutes": round((time.monotonic() - start) / 60, 1)}


def main(files: list[str]) -> int:
    """Run all, print the table, write bench.json."""
    done, left_out = {}, []
    for name, arguments in runs(files).items():
        if arguments is None:
            left_out.append(name)
            continue
        print(f"{name} ...", flush=True)
        done[name] = run(name, arguments)
    print()
    for name, found in done.items():
        for claim, holds in found["claims"].items():
            print(f"{'holds' if holds else 'FAILS'}  {name:<9} {claim}")
        if not found["claims"]:
            print(f"FAILS  {name:<9} ended with {found['code']} and no claim: bench/{name}.txt")
    if left_out:
        print(f"left out, for want of MODEL and files: {', '.join(left_out)}")
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
    }
    minutes = sum(found["minutes"] for found in done.values())
    print(f"{minutes:.0f} minutes, {machine['cores']} cores; bench.json")
    written = {"machine": machine, "minutes": minutes, "benchmarks": done, "left_out": left_out}
    Path("bench.json").write_text(json.dumps(written, indent=1), encoding="utf-8")
    return int(any(found["code"] or not found["claims"] for found in done.values()))


if __name__ == "__main__":
    if len(sys.argv) not in (1, 4):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
