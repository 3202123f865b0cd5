"""The model card beside an adapter (Mitchell et al. 2019, https://arxiv.org/abs/1810.03993)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

WARNING = (
    "This model is a research artefact and no medical device. It has not been evaluated for "
    "safety. Do not use its answers for diagnosis, treatment or advice."
)
_SHOWN = {  # keys of medgrpo.evaluation.score.figures
    "accuracy": "accuracy",
    "accuracy_interval": "95 % interval of accuracy",
    "macro_f1": "macro F1",
    "list_f1": "list F1",
    "token_f1": "token F1",
    "majority_baseline": "majority baseline",
    "random_baseline": "random baseline",
    "unparsed_rate": "unparsed",
    "format_compliance": "format compliance",
    "mean_tokens": "mean length in tokens",
}


def model_card(config: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """A README.md for the adapter: what it was trained on and how, results, limits.

    `config` is the composed config as plain data, `figures` what evaluation.json holds.
    """
    dataset, base = config["dataset"], _base(config["model"])
    stages = {name: found for name, found in figures.items() if name != "paired"}
    method = config["trainer"]["_target_"].rpartition(".")[2]
    header = {
        "base_model": base,
        "library_name": "peft" if config["lora"] else "transformers",
        "tags": ["medgrpo", method.lower(), "medical-question-answering"],
    }
    shown = ("seed", "dataset", "prompt", "model", "lora", "first_trainer", "trainer", "rewards")
    settings = {key: config[key] for key in shown if config.get(key)}
    return f"""\
---
{yaml.safe_dump(header, sort_keys=False)}---

# {base} tuned on {_source(dataset)}

**{WARNING}**

Made with medgrpo by {method} on the {dataset.get("split", "train")} rows of {_source(dataset)}.

## Held-out results ({stages["after"]["n"]} rows)

{_results(stages)}

{_paired(figures.get("paired", []))}

## Limits

English only, one benchmark only; a benchmark's answers may be wrong or out of date, and what
scores well on multiple choice need not help anyone. Unparsed answers count as wrong above.

## Config

```yaml
{yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)}```
"""


def _base(model: Mapping[str, Any]) -> str:
    """The base model's name; a model of one's own may have none but its class's."""
    return model.get("name_or_path") or model["_target_"].rpartition(".")[2]


def _source(dataset: Mapping[str, Any]) -> str:
    """Where the data came from; a dataset of one's own may know no such keys."""
    named = {"sample": "the embedded sample", "path": dataset.get("path")}
    name = dataset["_target_"].rpartition(".")[2]
    source = named.get(dataset.get("source", ""), dataset.get("dataset_id"))
    return f"{source} ({name})" if source else name


def _results(stages: Mapping[str, Mapping[str, Any]]) -> str:
    """A table: a column for each stage, a row for each figure that any stage defines."""
    names = [name.replace("_", " ") for name in stages]
    lines = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for key, text in _SHOWN.items():
        values = [found[key] for found in stages.values()]
        if any(value is not None for value in values):
            lines.append(f"| {text} | {' | '.join(map(format_number, values))} |")
    return "\n".join(lines)


def _paired(pairs: list[dict[str, Any]]) -> str:
    lines = [
        f"- {pair['to']} against {pair['from']}: {format_number(pair['difference'])} "
        f"(95 % {format_number(pair['interval'])}), {pair['gained']} rows gained and "
        f"{pair['lost']} lost, McNemar's exact p {format_number(pair['mcnemar_p'])}"
        for pair in pairs
    ]
    return "\n".join(lines).replace("after_", "after ")


def format_number(value: float | list[float] | tuple[float, float] | None) -> str:
    if value is None:
        return "not defined"
    if isinstance(value, list | tuple):
        return f"{value[0]:.3f} to {value[1]:.3f}"
    return f"{value:.3g}" if abs(value) < 0.001 else f"{value:.3f}"
