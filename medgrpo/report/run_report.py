"""The report of one run: a single HTML file that needs no network, no server and no script.

Made from the run folder alone, so that it can be made again at any time, also elsewhere.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from medgrpo.metrics.recorded import Evaluation, format_interval, format_number
from medgrpo.metrics.suite import conclusion, read_suite
from medgrpo.report.bias_variance import Curves
from medgrpo.report.model_card import WARNING
from medgrpo.rundir import RunFolder, replacing
from medgrpo.tracking.metrics_log import (
    is_effective_weight,
    is_reward_mean,
    read_log,
    reward_name,
    tenths,
)

COMPLETIONS = 20  # questions shown with all answers
LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets", "unsloth", "deepeval", "evidently")

_HERE = Path(__file__).parent


def write_report(folder: RunFolder) -> None:
    """Write report.html from what lies in the folder of a run that has been evaluated."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {
        "format_number": format_number,
        "format_interval": format_interval,
        "stage": stage_name,
        "conclusion": conclusion,
    }
    styles = [(_HERE.parent / "page.css"), (_HERE / "run_report.css")]
    template = environment.from_string((_HERE / "run_report.html.jinja").read_text("utf-8"))
    page = template.render(
        **_run(folder),
        **_held_out(folder),
        trainings=[_training(place) for place in trainings(folder)],
        warning=WARNING,
        css="".join(file.read_text("utf-8") for file in styles),
    )
    with replacing(folder.report) as temporary:
        temporary.write_text(page, encoding="utf-8")


def stage_name(stage: str) -> str:
    return stage.replace("_", " ")


def _run(folder: RunFolder) -> dict[str, Any]:
    """What was run, on what, and how to run it again."""
    passport = folder.read_passport()
    config = yaml.safe_load((folder.path / ".hydra" / "config.yaml").read_text("utf-8"))
    choices = yaml.safe_load((folder.path / ".hydra" / "hydra.yaml").read_text("utf-8"))
    choices = choices["hydra"]["runtime"]["choices"]
    libraries = passport["libraries"]
    shown = ("dataset", "model", "prompt", "lora", "trainer", "experiment")
    return {
        "passport": passport,
        "libraries": {name: libraries[name] for name in LIBRARIES if name in libraries},
        "choices": {name: choices[name] for name in shown if choices.get(name)}
        | {"profile": config["profile"]["name"]},
        "config": yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        "weights": {name: node.get("weight") for name, node in config["rewards"].items()},
        "summary": folder.read_summary(),
    }


def _held_out(folder: RunFolder) -> dict[str, Any]:
    """The metrics by stage, the pairs, and the answers to the first questions."""
    import pyarrow.parquet as pq

    evaluation = Evaluation.read(folder)
    after = evaluation.after
    questions: dict[str, list[dict[str, Any]]] = {}
    for row in pq.read_table(folder.predictions).to_pylist() if after["n"] else []:
        answers = questions.setdefault(row["id"], [])
        if len(questions) > COMPLETIONS and not answers:
            del questions[row["id"]]
            continue
        scores = {key[7:]: value for key, value in row.items() if key.startswith("reward/")}
        answers.append({**row, "scores": scores})
    return {
        "stages": evaluation.stages,
        "pairs": evaluation.paired,
        "finding": evaluation.finding,
        "preferences": evaluation.preferences,
        "cuts": evaluation.cuts,
        "sources": evaluation.sources,
        "counts": evaluation.counts,
        "metrics": list(evaluation.lines()),
        "metric": after["primary_metric"],
        "questions": list(questions.values()),
        "parity": folder.read_json("parity.json"),
        "suite": read_suite(folder),
    }


def trainings(folder: RunFolder) -> list[RunFolder]:
    """The folders of the run's trainings in their order; none where it only evaluated."""
    parts = [RunFolder(path.parent) for path in sorted(folder.path.glob("*/best.json"))]
    return [*parts, folder] if folder.best.exists() else parts


def _training(folder: RunFolder) -> dict[str, Any]:
    """The conclusion, the best checkpoint and the pictures of one training."""
    curves = Curves.of(folder)
    order = ("bias_variance", "reward", "rewards", "watch")
    files = [folder.plots / f"{name}.png" for name in order]
    return {
        "conclusion": curves.conclusion(),
        "best": curves.best,
        "rewards": _by_reward(folder, is_reward_mean),
        "effective": _by_reward(folder, is_effective_weight),
        "alarms": folder.read_watch(),
        "pictures": [
            base64.b64encode(file.read_bytes()).decode() for file in files if file.exists()
        ],
    }


def _by_reward(folder: RunFolder, wanted: Callable[[str], bool]) -> dict[str, tuple[float, float]]:
    """Of the keys that are `wanted`, by reward: the means over the first and the last tenth."""
    rows = read_log(folder.metrics)
    keys = sorted({key for row in rows for key in row if wanted(key)})
    return {reward_name(key): ends for key in keys if (ends := tenths(rows, key))}
