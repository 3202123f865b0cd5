"""The report of one run: a single HTML file that needs no network, no server and no script.

Made from the run folder alone, so that it can be made again at any time, also elsewhere.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from medgrpo.report.bias_variance import Curves
from medgrpo.report.model_card import WARNING
from medgrpo.rundir import RunFolder, replacing

COMPLETIONS = 20  # questions shown with all answers
FIGURES = {  # keys of medgrpo.evaluation.score.figures: text
    "accuracy": "accuracy",
    "accuracy_parsed": "accuracy given parsed",
    "maj_at_k": "accuracy of majority votes",
    "macro_f1": "macro F1",
    "majority_baseline": "baseline: always the commonest answer",
    "random_baseline": "baseline: guessing",
    "list_f1": "list F1",
    "token_f1": "token F1",
    "unparsed_rate": "unparsed",
    "format_compliance": "format compliance",
    "mean_tokens": "mean length in tokens",
}
LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets", "unsloth", "deepeval", "evidently")

_HERE = Path(__file__).parent


def write_report(folder: RunFolder) -> None:
    """Write report.html from what lies in the folder of a run that has been evaluated."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"format_number": format_number, "span": span, "stage": stage_name}
    styles = [(_HERE.parent / "page.css"), (_HERE / "run_report.css")]
    template = environment.from_string((_HERE / "run_report.html.jinja").read_text("utf-8"))
    page = template.render(
        **_run(folder),
        **_held_out(folder),
        trainings=[_training(place) for place in _trainings(folder)],
        figures=FIGURES,
        warning=WARNING,
        css="".join(file.read_text("utf-8") for file in styles),
    )
    with replacing(folder.report) as temporary:
        temporary.write_text(page, encoding="utf-8")


def format_number(value: float | None, digits: int = 3) -> str:
    """A figure as text; a dash for what is not defined."""
    return "–" if value is None else f"{value:.{digits}f}"


def span(interval: list[float] | None) -> str:
    """`0.301 to 0.954`, or nothing."""
    return f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""


def stage_name(stage: str) -> str:
    return stage.replace("_", " ")


def _run(folder: RunFolder) -> dict[str, Any]:
    """What was run, on what, and how to run it again."""
    passport = json.loads(folder.passport.read_text("utf-8"))
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
    """The figures by stage, the pairs, and the answers to the first questions."""
    import pyarrow.parquet as pq

    stages = json.loads(folder.evaluation.read_text("utf-8"))
    pairs = stages.pop("paired")
    questions: dict[str, list[dict[str, Any]]] = {}
    for row in pq.read_table(folder.predictions).to_pylist() if stages["after"]["n"] else []:
        answers = questions.setdefault(row["id"], [])
        if len(questions) > COMPLETIONS and not answers:
            del questions[row["id"]]
            continue
        scores = {key[7:]: value for key, value in row.items() if key.startswith("reward/")}
        answers.append({**row, "scores": scores})
    return {
        "stages": stages,
        "pairs": pairs,
        "questions": list(questions.values()),
        "metric": stages["after"]["primary_metric"],
        "hidden": ("list_f1", "token_f1") if _only_labels(stages["after"]) else (),
        "parity": _json(folder.path / "parity.json"),
    }


def _only_labels(figures: dict[str, Any]) -> bool:
    """Whether each row has a label: the F1 of texts would repeat the accuracy."""
    return figures["n_labelled"] == figures["n"]


def _trainings(folder: RunFolder) -> list[RunFolder]:
    """The folders of the run's trainings in their order; none where it only evaluated."""
    parts = [RunFolder(path.parent) for path in sorted(folder.path.glob("*/best.json"))]
    return [*parts, folder] if folder.best.exists() else parts


def _training(folder: RunFolder) -> dict[str, Any]:
    """The conclusion, the best checkpoint and the pictures of one training."""
    curves = Curves.of(folder)
    order = ("bias_variance", "reward", "rewards")
    files = [folder.plots / f"{name}.png" for name in order]
    return {
        "conclusion": curves.conclusion(),
        "best": curves.best,
        "rewards": _first_and_last(folder),
        "pictures": [
            base64.b64encode(file.read_bytes()).decode() for file in files if file.exists()
        ],
    }


def _first_and_last(folder: RunFolder) -> dict[str, tuple[float, float]]:
    """Each reward's mean over the first and the last tenth of the logged steps."""
    from medgrpo.tracking.metrics_log import is_reward_mean, read_log, reward_name

    rows = read_log(folder.metrics)
    means = {}
    for key in sorted({key for row in rows for key in row if is_reward_mean(key)}):
        values = [row[key] for row in rows if row.get(key) is not None]
        tenth = -(-len(values) // 10)
        if values:
            means[reward_name(key)] = (sum(values[:tenth]) / tenth, sum(values[-tenth:]) / tenth)
    return means


def _json(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text("utf-8")) if path.exists() else None
