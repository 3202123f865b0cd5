"""211,269 rows in the hub schema of PubMedQA: from files to the first batch with prompts.

Ours (`PubMedQA.load`, `add_prompts`, first batch) against the reference's way, a
`dataset.map` with a lambda per row that keeps all columns. Each run is a process of its own, the
two alternate, and nothing of a cold run is in datasets' cache. The network is the one thing faked:
`load_dataset` reads local parquet files.

    python benchmarks/data.py
    python benchmarks/data.py --rows 20000 --rounds 1
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    import datasets

LEAST = 4.0  # times as fast as the reference's way

ROOT = Path(__file__).parents[1]
ROWS = 211_269
BATCH = 32
WORDS = ["patients", "treatment", "risk", "cohort", "median", "survival", "outcome", "dose"]


def write(folder: Path, config: str, rows: int) -> None:
    """A parquet file of one hub configuration, about 2 KB of text a row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    draw = random.Random(config)
    abstracts = [" ".join(draw.choices(WORDS, k=45)) for _ in range(5000)]
    records = [
        {
            "pubid": 10_000_000 * (1 + (config == "pqa_labeled")) + row,
            "question": f"Does {config} factor {row} change {draw.choice(WORDS)} in adults?",
            "context": {
                "contexts": draw.sample(abstracts, 4),
                "labels": ["BACKGROUND", "METHODS", "RESULTS", "CONCLUSIONS"],
                "meshes": ["Humans", "Female", "Male", "Adult"],
            },
            "long_answer": draw.choice(abstracts)[:250].strip(),
            "final_decision": "yes" if draw.random() < 0.93 else "no",
        }
        for row in range(rows)
    ]
    pq.write_table(pa.Table.from_pylist(records), folder / f"{config}.parquet", row_group_size=1000)


def measure(way: str, folder: Path) -> dict[str, float]:
    """Seconds until the first batch is there, and MB by which the process has grown at most.

    Libraries, prompt and tokenizer are there before, as they are in a run for either way.
    """
    from medgrpo.dataset.prompt import Prompt  # isort: skip (first, as in a run)

    import datasets
    from transformers import AutoTokenizer

    datasets.disable_progress_bars()
    load = datasets.load_dataset

    preparing = 0.0

    def from_disk(_: str, config: str, split: str, revision: str | None = None) -> Any:
        nonlocal preparing
        start = time.process_time()
        rows = load("parquet", data_files=str(folder / f"{config}.parquet"), split=split)
        preparing += time.process_time() - start
        return rows

    datasets.load_dataset = from_disk
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "medgrpo" / "model" / "tiny" / "weights")
    style = yaml.safe_load((ROOT / "conf" / "prompt" / "reasoning.yaml").read_text())
    prompt = Prompt(style["system"], style["user"], "yes, no or maybe")
    before, mapped = _memory("VmRSS"), _memory("RssFile")
    start, cpu = time.perf_counter(), time.process_time()
    rows = {"ours": ours, "reference": reference}[way](prompt, tokenizer)
    batch = rows[:BATCH]
    cpu = time.process_time() - cpu
    seconds = time.perf_counter() - start
    assert len(batch["prompt"]) == BATCH
    assert batch["question"][-1] in batch["prompt"][-1][-1]["content"]
    return {
        "seconds": seconds,
        "cpu": cpu,
        "own cpu": cpu - preparing,
        "mb": _memory("VmHWM") - before,
        "mapped": _memory("RssFile") - mapped,
    }


def ours(prompt: Any, tokenizer: Any) -> datasets.Dataset:
    """What a run does: three splits, checked, without repeats and overlap."""
    from medgrpo.dataset.fit import add_prompts
    from medgrpo.dataset.pubmedqa import PubMedQA

    dataset = PubMedQA(
        source="hub",
        dataset_id="qiaojin/PubMedQA",
        answer_with=prompt.answer_with,
        primary_metric="accuracy",
        max_prompt_tokens=512,
        test_ids=None,  # made-up ids may be official ones
    )
    data = add_prompts(dataset.load(), prompt, tokenizer, 512)
    return data["train"]


def reference(prompt: Any, tokenizer: Any) -> datasets.Dataset:
    """The training split alone, mapped row by row, all columns kept, unchecked and uncut."""
    import datasets

    rows = datasets.load_dataset("qiaojin/PubMedQA", "pqa_artificial", split="train")
    rows = rows.map(
        lambda row: {
            "prompt": [
                {"role": "system", "content": prompt.system},
                {
                    "role": "user",
                    "content": "\n".join(row["context"]["contexts"]) + "\n\n" + row["question"],
                },
            ],
            "answer": row["final_decision"],
        }
    )
    return rows


def _memory(field: str) -> float:
    """In MB: VmRSS (now) or VmHWM (highest so far), and RssFile, the part that is mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(field)]
    return int(line.split()[1]) / 1000


def in_process(way: str, folder: Path, cache: str) -> dict[str, float]:
    """`measure` in a process of its own."""
    environment = {**os.environ, "HF_DATASETS_CACHE": cache, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, __file__, "--measure", way, "--folder", str(folder)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Cold and warm runs of both ways in turn; medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", choices=["ours", "reference"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure, args.folder)))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, "pqa_artificial", args.rows)
        write(folder, "pqa_labeled", 1000)
        taken: dict[tuple[str, str], list[dict[str, float]]] = {}
        for turn in range(args.rounds):
            for way in ("ours", "reference"):
                for state in ("cold", "warm"):
                    cache = Path(f"{name}/cache-{way}-{turn}")
                    result = in_process(way, folder, str(cache))
                    result["disk"] = sum(f.stat().st_size for f in cache.rglob("*")) / 1e6
                    taken.setdefault((way, state), []).append(result)
                shutil.rmtree(cache)
    medians = {
        run: {key: statistics.median(result[key] for result in results) for key in results[0]}
        for run, results in taken.items()
    }
    for (way, state), median in medians.items():
        print(
            f"{way:9} {state}: first batch after {median['seconds']:5.1f} s, "
            f"{median['cpu']:5.1f} s of CPU, {median['own cpu']:5.1f} s without load_dataset; "
            f"memory + {median['mb']:.0f} MB, of them {median['mapped']:.0f} MB mapped files; "
            f"{median['disk']:.0f} MB of cache on disk"
        )
    cold = {way: medians[way, "cold"] for way in ("ours", "reference")}
    holds = True
    for key in ("seconds", "cpu", "own cpu"):
        ratio = cold["reference"][key] / cold["ours"][key]
        good = ratio >= LEAST
        holds = holds and good
        print(
            f"{'holds' if good else 'FAILS'}  cold, {key}: {ratio:.1f}x as fast as the reference's "
            f"way, at least {LEAST:.0f}x"
        )
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
