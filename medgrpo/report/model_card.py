"""The model card beside an adapter (Mitchell et al. 2019, https://arxiv.org/abs/1810.03993)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WARNING = (
    "This model is a research artefact and no medical device. It has not been evaluated for "
    "safety. Do not use its answers for diagnosis, treatment or advice."
)


def model_card(
    config: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]
) -> str:
    """A README.md for the adapter: what it was trained on and how, results, limits.

    `config` is the composed config as plain data, `before` and `after` the held-out figures.
    """
    dataset, model, lora = config["dataset"], config["model"], config["lora"] or {}
    metric = dataset["primary_metric"]
    where = dataset["path"] if dataset["source"] == "path" else dataset["dataset_id"]
    source = "the embedded sample" if dataset["source"] == "sample" else where
    rewards = "\n".join(
        f"- {key}: weight {node['weight']}" for key, node in config["rewards"].items()
    )
    return f"""\
---
base_model: {model["name_or_path"]}
library_name: peft
tags: [medgrpo, grpo, medical-question-answering]
---

# {model["name_or_path"]} tuned on {source}

{WARNING}

## Training

Made with medgrpo by `{config["trainer"]["_target_"]}`, seed {config["seed"]}, LoRA rank
{lora.get("r")} and alpha {lora.get("alpha")}, rewarded by:

{rewards}

## Held-out results ({after["n"]} rows)

| | before | after |
|---|---|---|
| {metric} | {_figure(before[metric])} | {_figure(after[metric])} |
| unparsed | {_figure(before["unparsed_rate"])} | {_figure(after["unparsed_rate"])} |

## Limits

English only, one benchmark only; rewards and benchmark answers may be wrong or out of date.
"""


def _figure(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
