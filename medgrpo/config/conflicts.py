"""Values that are right one by one and cannot work together, or not on this machine.

What TRL itself refuses after minutes of loading, what would make a resumed run differ, and what
would be ignored without a word. Looked for when every value has passed by itself.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.utils import get_object

from medgrpo.config.grpo_conflicts import grpo_conflicts, in_4bit
from medgrpo.config.schema import Problem, unknown

IN_A_STAGE = (  # of evaluation.json, beside the metrics
    *("primary", "primary_metric", "n", "n_primary", "n_labelled", "unparsed", "k"),
    *("support", "recall", "groups", "rewards", "prompts_trimmed", "responses_cut_off"),
    *("answers_cached", "seconds_saved", "answered_by", "grader"),
)


OF_TORCHAO = ("adamw_torch_4bit", "adamw_torch_8bit")
SFT_EXTRA = "pip install -e '.[sft]'"
_OF_PEFT = {  # setting of lora: its name in adapter_config.json
    **{"r": "r", "alpha": "lora_alpha", "dropout": "lora_dropout", "bias": "bias"},
    **{"use_rslora": "use_rslora", "use_dora": "use_dora"},
}


def conflicts(values: dict[str, Any]) -> Iterator[Problem]:
    """Problems between the values of a config that is valid key by key."""
    yield from _launch(values["launch"], values["model"])
    suite = values["evaluation"].get("suite") or {}
    nodes = {f"evaluation.suite.{name}": node for name, node in suite.items()}
    for key, node in {"dataset": values["dataset"], **nodes}.items():
        yield from _data(key, node)
        yield from _primary(key, node, values["metrics"])
    yield from _in_domain(values["evaluation"].get("in_domain"), suite)
    yield from _metrics(values["metrics"])
    yield from _fuzzy(values["metrics"], values["rewards"])
    yield from _model(values["model"])
    yield from _engine(values)
    yield from _tracking(values["tracking"]["_target_"])
    trainer = get_object(values["trainer"]["_target_"])
    if getattr(trainer, "config_class", None):
        yield from _four_bit(values["model"], values["lora"])
        yield from _adapter_settings(values["model"].get("adapter"), values["lora"])
    for key in ("first_trainer", "trainer"):
        node = values[key]
        if node and getattr(get_object(node["_target_"]), "config_class", None) == "SFTConfig":
            yield from _sft(key, node)
            yield from _chosen_by(node, values["dataset"], values["metrics"])
    if getattr(trainer, "config_class", None) == "GRPOConfig":
        yield from grpo_conflicts(values)


def _launch(launch: dict[str, Any], model: dict[str, Any]) -> Iterator[Problem]:
    """Processes that cannot work together; and torchrun around us, for a run starts its own."""
    if launch["fsdp"]:
        yield from _fsdp(launch, model)
    if launch["rendezvous"] is not None and not re.fullmatch(r"\S+:\d+", launch["rendezvous"]):
        yield Problem("launch.rendezvous", f"{launch['rendezvous']} should be HOST:PORT")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        yield Problem(
            "launch.nproc_per_node",
            f"this is one of {processes} processes, and each would make a run of its own; "
            f"without torchrun: python -m medgrpo launch.nproc_per_node={processes}",
        )


def _fsdp(launch: dict[str, Any], model: dict[str, Any]) -> Iterator[Problem]:
    if launch["nproc_per_node"] * launch["nodes"] == 1:
        yield Problem("launch.fsdp", "shares a model among processes: launch.nproc_per_node=2")
    if in_4bit(model):
        yield Problem(
            "launch.fsdp", "cannot share 4-bit weights: model.load_in_4bit=false, or launch=ddp"
        )
    if getattr(get_object(model["_target_"]), "library", None) == "unsloth":
        yield Problem("launch.fsdp", "is not for Unsloth, which patches a whole model: launch=ddp")


def _data(key: str, dataset: dict[str, Any]) -> Iterator[Problem]:
    """Of the benchmark at `key`: what it is to be read from, and cannot."""
    source, path = dataset.get("source"), dataset.get("path") or ""
    has_sample = getattr(get_object(dataset["_target_"]), "has_sample", True)
    if source == "sample" and not has_sample:
        yield Problem(f"{key}.source", "a table has no sample; use path or hub")
    if source == "path" and not (path or dataset.get("splits")):
        yield Problem(f"{key}.path", f"{key}.source=path needs {key}.path=FILE or FOLDER")
    elif source == "path" and not Path(path).exists():
        yield Problem(f"{key}.path", f"there is no file or folder {path}")
    elif path and source is not None and source != "path":
        yield Problem(f"{key}.path", f"not read with {key}.source={source}; set that to path")


def _in_domain(named: list[str] | None, suite: dict[str, Any]) -> Iterator[Problem]:
    for name in named or []:
        if name not in suite:
            wrong = unknown(name, suite, f"set as {name} in the suite").message
            yield Problem("evaluation.in_domain", wrong)


def _primary(key: str, dataset: dict[str, Any], metrics: dict[str, Any]) -> Iterator[Problem]:
    primary = dataset.get("primary_metric")
    if primary is not None and primary not in metrics:
        wrong = unknown(primary, metrics, f"metric as {primary}").message
        yield Problem(f"{key}.primary_metric", wrong)


def _metrics(metrics: dict[str, Any]) -> Iterator[Problem]:
    for name in metrics:
        if name in IN_A_STAGE:
            yield Problem(
                f"metrics.{name}", "means something else in evaluation.json; choose another name"
            )


def _fuzzy(metrics: dict[str, Any], rewards: dict[str, Any]) -> Iterator[Problem]:
    """What is trained on is what is measured."""
    measured = metrics.get("list_f1", {}).get("threshold")
    rewarded = rewards.get("list_match", {}).get("threshold")
    if None not in (measured, rewarded) and measured != rewarded:
        yield Problem(
            "rewards.list_match.threshold",
            f"{rewarded}, where evaluation takes metrics.list_f1.threshold={measured}; "
            "set both alike",
        )


def _model(model: dict[str, Any]) -> Iterator[Problem]:
    if model.get("load_in_4bit") and not importlib.util.find_spec("bitsandbytes"):
        yield Problem("model.load_in_4bit", "needs bitsandbytes: pip install bitsandbytes")
    name, adapter = model.get("name_or_path"), model.get("adapter")
    if isinstance(name, str) and (name.startswith((".", "/", "~")) or name.endswith(".gguf")):
        path = Path(name).expanduser()
        if not (path.is_dir() or (path.is_file() and path.suffix == ".gguf")):
            yield Problem("model.name_or_path", f"there is no folder or GGUF file {name}")
    configs = [f"{adapter}/adapter_config.json", f"{adapter}/adapter/adapter_config.json"]
    if adapter and not any(map(os.path.isfile, configs)):
        yield Problem("model.adapter", f"{adapter} is no adapter and no run folder that holds one")


def _adapter_settings(adapter: str | None, lora: dict[str, Any] | None) -> Iterator[Problem]:
    """An adapter that is trained on keeps its own settings: those of the config would be untrue."""
    if not (adapter and lora):
        return
    files = [Path(adapter) / "adapter_config.json", Path(adapter) / "adapter/adapter_config.json"]
    try:
        own = json.loads(next(filter(Path.is_file, files)).read_text(encoding="utf-8"))
    except (OSError, ValueError, StopIteration):
        yield Problem("model.adapter", f"{adapter} holds no adapter_config.json that can be read")
        return
    for key, name in _OF_PEFT.items():
        if name in own and own[name] != lora.get(key, own[name]):
            yield Problem(
                f"lora.{key}",
                f"{lora[key]!r}, and {adapter} has {own[name]!r}, which it keeps; set that",
            )


def _four_bit(model: dict[str, Any], lora: dict[str, Any] | None) -> Iterator[Problem]:
    if model.get("load_in_4bit") and not (lora or model.get("adapter")):
        yield Problem(
            "lora", "4-bit weights cannot be trained in full; set model.load_in_4bit=false"
        )


def _engine(values: dict[str, Any]) -> Iterator[Problem]:
    """What the engine says of itself that it cannot do."""
    kind, asked = get_object(values["engine"]["_target_"]), values["evaluation"]
    if asked.get("shuffles") and not getattr(kind, "asks", True):
        yield Problem("evaluation.shuffles", "recorded responses are to the given order; set 0")
    if asked.get("option_logprobs") and not getattr(kind, "gives_logprobs", False):
        yield Problem("evaluation.option_logprobs", "this engine gives none; set false")
    unsupported = getattr(kind, "unsupported", None)
    if unsupported is not None:
        trains = not values["trainer"]["_target_"].endswith(".NoTraining")
        adapter = values["model"].get("adapter") is not None
        yield from unsupported(trains=trains or bool(values["first_trainer"]), adapter=adapter)


def _tracking(target: str) -> Iterator[Problem]:
    """What the tracker says of itself that it misses here."""
    unsupported = getattr(get_object(target), "unsupported", None)
    if unsupported is not None:
        yield from unsupported()


def _chosen_by(
    trainer: dict[str, Any], dataset: dict[str, Any], metrics: dict[str, Any]
) -> Iterator[Problem]:
    """A score of answers that are not asked for while it trains cannot choose a checkpoint."""
    metric = metrics.get(str(dataset.get("primary_metric")))
    asks = getattr(get_object(metric["_target_"]), "asks", None) if metric else None
    if asks and trainer["args"].get("metric_for_best_model") == "eval_score":
        yield Problem(
            "dataset.primary_metric",
            f"is of evaluation.{asks}, which no checkpoint is asked: metric_for_best_model="
            "eval_loss chooses without it",
        )


def _sft(key: str, trainer: dict[str, Any]) -> Iterator[Problem]:
    """What transformers refuses only after loading, about choosing the best checkpoint."""
    from medgrpo.config.trl_fields import defaults_of

    args = defaults_of("SFTConfig") | trainer["args"]
    measure, evaluated = args["metric_for_best_model"], args["eval_strategy"]
    if measure == "eval_score" and not trainer["validation_rows"]:
        yield Problem(f"{key}.validation_rows", "metric_for_best_model=eval_score needs some")
    if args["load_best_model_at_end"] and args["save_strategy"] not in (evaluated, "best"):
        yield Problem(
            f"{key}.args.save_strategy",
            f"{args['save_strategy']} must be eval_strategy's {evaluated}, to load the best at end",
        )
    if trainer["patience"] and not (args["load_best_model_at_end"] and measure):
        yield Problem(
            f"{key}.patience", "needs args.load_best_model_at_end and metric_for_best_model"
        )
    if args["use_liger_kernel"] and not importlib.util.find_spec("liger_kernel"):
        yield Problem(f"{key}.args.use_liger_kernel", f"needs liger-kernel: {SFT_EXTRA}")
    if args["optim"] in OF_TORCHAO and not importlib.util.find_spec("torchao"):
        yield Problem(f"{key}.args.optim", f"{args['optim']} needs torchao: {SFT_EXTRA}")
