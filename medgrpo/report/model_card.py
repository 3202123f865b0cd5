"""The model card beside an adapter (Mitchell et al. 2019, https://arxiv.org/abs/1810.03993)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from medgrpo.metrics.recorded import Evaluation, format_interval, format_number

NOT_DEFINED = "not defined"

WARNING = (
    "This model is a research artefact and no medical device. It has not been evaluated for "
    "safety. Do not use its answers for diagnosis, treatment or advice."
)


def model_card(config: Mapping[str, Any], evaluation: Evaluation) -> str:
    """A README.md for the adapter: what it was trained on and how, results, limits.

    `config` is the composed config as plain data.
    """
    dataset, base = config["dataset"], _base(config["model"])
    method = config["trainer"]["_target_"].rpartition(".")[2]
    licence, data = _licence(config["model"]), dataset.get("dataset_id")
    header = {
        "base_model": base,
        "library_name": "peft" if config["lora"] else "transformers",
        "tags": ["medgrpo", method.lower(), "medical-question-answering"],
        **({"license": licence} if licence else {}),
        **({"datasets": [data]} if dataset.get("source") == "hub" and data else {}),
    }
    shown = ("seed", "dataset", "prompt", "model", "lora", "first_trainer", "trainer", "rewards")
    settings = {key: config[key] for key in shown if config.get(key)}
    pairs = "\n".join(f"- {line}" for line in evaluation.pair_lines)
    return f"""\
---
{yaml.safe_dump(header, sort_keys=False)}---

# {base} tuned on {_source(dataset)}

**{WARNING}**

Made with medgrpo by {method} on the {dataset.get("split", "train")} rows of {_source(dataset)}.

## Intended use

Research on how language models answer medical questions, by people who check what they read. Not
for patients, not in care, and not as the only source of anything.

## Licences

What was trained derives from {base} ({licence or "see its card"}), whose terms hold for it.
The rows are those of {_source(dataset)}, under its authors' terms, which may not allow every use of
what is trained on them.

## Held-out results ({evaluation.after["n"]} rows)

{_results(evaluation)}

{pairs}

Intervals of differences are a bootstrap's over rows; p is McNemar's exact test.

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


def _licence(model: Mapping[str, Any]) -> str | None:
    """What the base model's own card says, in its folder or the hub's cache; None: no such card."""
    from huggingface_hub import ModelCard, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    place = str(model.get("name_or_path") or "")
    card: Any = Path(place).expanduser() / "README.md"
    if not card.is_file():
        try:
            card = try_to_load_from_cache(place, "README.md", revision=model.get("revision"))
        except HFValidationError:  # no hub id
            return None
    try:
        return ModelCard.load(card).data.license if isinstance(card, str | Path) else None
    except (OSError, ValueError):  # no card, or none that can be read
        return None


def _source(dataset: Mapping[str, Any]) -> str:
    """Where the data came from; a dataset of one's own may know no such keys."""
    named = {"sample": "the embedded sample", "path": dataset.get("path")}
    name = dataset["_target_"].rpartition(".")[2]
    source = named.get(dataset.get("source", ""), dataset.get("dataset_id"))
    return f"{source} ({name})" if source else name


def _results(evaluation: Evaluation) -> str:
    """A table: a column for each stage, a row for each metric that any stage defines."""
    names = [name.replace("_", " ") for name in evaluation.stages]
    lines = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for metric in evaluation.lines():
        values = [format_number(value, metric.digits, NOT_DEFINED) for value in metric.values]
        lines.append(f"| {metric.label} | {' | '.join(values)} |")
        if metric.intervals:
            spans = [
                format_interval(interval, missing=NOT_DEFINED) for interval in metric.intervals
            ]
            lines.append(f"| 95 % interval of {metric.label} | {' | '.join(spans)} |")
    return "\n".join(lines)
