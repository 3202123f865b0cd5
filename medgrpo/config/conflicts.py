"""Values that are right one by one and cannot work together, or not on this machine.

What TRL itself refuses after minutes of loading, what would make a resumed run differ, and what
would be ignored without a word. Looked for when every value has passed by itself.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.utils import get_object

from medgrpo.config.schema import Problem, unknown

IN_A_STAGE = (  # of evaluation.json, beside the metrics
    *("primary", "primary_metric", "n", "n_labelled", "unparsed", "k", "support", "recall"),
    *("groups", "rewards"),
)


def conflicts(values: dict[str, Any]) -> Iterator[Problem]:
    """Problems between the values of a config that is valid key by key."""
    yield from _launch()
    yield from _data(values["dataset"])
    yield from _metrics(values["metrics"], values["dataset"].get("primary_metric"))
    yield from _model(values["model"])
    yield from _engine(values)
    yield from _tracking(values["tracking"]["_target_"])
    trainer = get_object(values["trainer"]["_target_"])
    if getattr(trainer, "config_class", None):
        yield from _four_bit(values["model"], values["lora"])
    for key in ("first_trainer", "trainer"):
        node = values[key]
        if node and getattr(get_object(node["_target_"]), "config_class", None) == "SFTConfig":
            yield from _sft(key, node)
    if getattr(trainer, "config_class", None) == "GRPOConfig":
        yield from _rewards(values["rewards"])
        processes = values["launch"]["nproc_per_node"]
        from medgrpo.config.trl_fields import defaults_of

        args = defaults_of("GRPOConfig") | values["trainer"]["args"]
        yield from _generation_batch(args, processes)
        yield from _checkpoints(args, processes)
        yield from _unusable(args)
        yield from _vllm(values["model"], args)


def _launch() -> Iterator[Problem]:
    """Under torchrun each process would make a run of its own; ours starts torchrun itself."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        yield Problem(
            "launch.nproc_per_node",
            f"this is one of {processes} processes, and each would make a run of its own; "
            f"without torchrun: python -m medgrpo launch.nproc_per_node={processes}",
        )


def _data(dataset: dict[str, Any]) -> Iterator[Problem]:
    source, path = dataset.get("source"), dataset.get("path") or ""
    if source == "path" and not path:
        yield Problem("dataset.path", "dataset.source=path needs dataset.path=FILE or FOLDER")
    elif source == "path" and not Path(path).exists():
        yield Problem("dataset.path", f"there is no file or folder {path}")
    elif path and source is not None and source != "path":
        yield Problem("dataset.path", f"not read with dataset.source={source}; set that to path")


def _metrics(metrics: dict[str, Any], primary: str | None) -> Iterator[Problem]:
    if primary is not None and primary not in metrics:
        wrong = unknown(primary, metrics, f"metric as {primary}").message
        yield Problem("dataset.primary_metric", wrong)
    for name in metrics:
        if name in IN_A_STAGE:
            yield Problem(
                f"metrics.{name}", "means something else in evaluation.json; choose another name"
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


def _four_bit(model: dict[str, Any], lora: dict[str, Any] | None) -> Iterator[Problem]:
    if model.get("load_in_4bit") and not (lora or model.get("adapter")):
        yield Problem(
            "lora", "4-bit weights cannot be trained in full; set model.load_in_4bit=false"
        )


def _engine(values: dict[str, Any]) -> Iterator[Problem]:
    """What the engine says of itself that it cannot do."""
    unsupported = getattr(get_object(values["engine"]["_target_"]), "unsupported", None)
    if unsupported is not None:
        trains = not values["trainer"]["_target_"].endswith(".NoTraining")
        adapter = values["model"].get("adapter") is not None
        yield from unsupported(trains=trains or bool(values["first_trainer"]), adapter=adapter)


def _tracking(target: str) -> Iterator[Problem]:
    """What the tracker says of itself that it misses here."""
    unsupported = getattr(get_object(target), "unsupported", None)
    if unsupported is not None:
        yield from unsupported()


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
        yield Problem(
            f"{key}.args.use_liger_kernel", "needs liger-kernel: pip install liger-kernel"
        )


def _vllm(model: dict[str, Any], args: dict[str, Any]) -> Iterator[Problem]:
    """Unsloth trains and generates on one copy of the weights, or not by a vLLM beside it."""
    colocated = args["use_vllm"] and args["vllm_mode"] == "colocate"
    default = getattr(get_object(model["_target_"]), "fast_inference", None)  # None: not Unsloth's
    shared = model.get("fast_inference", default)
    if shared and not colocated:
        yield Problem("model.fast_inference", "generates by vLLM; choose trainer=grpo_vllm with it")
    elif colocated and shared is False:
        yield Problem(
            "trainer.args.use_vllm", "shares the GPU with Unsloth only by model.fast_inference=true"
        )


def _rewards(rewards: dict[str, Any]) -> Iterator[Problem]:
    if not rewards:
        yield Problem("rewards", "GRPO needs at least one: 'rewards=[formats]'")
    elif all(node.get("weight") == 0 for node in rewards.values()):
        yield Problem("rewards", "every weight is 0: nothing could be learnt")


def _generation_batch(args: dict[str, Any], processes: int) -> Iterator[Problem]:
    """GRPOConfig.__post_init__: a batch of completions must hold whole groups."""
    size, group = args["per_device_train_batch_size"], args["num_generations"]
    if args["generation_batch_size"] and args["steps_per_generation"]:
        yield Problem(
            "trainer.args.generation_batch_size",
            "excludes trainer.args.steps_per_generation: each follows from the other",
        )
        return
    if args["generation_batch_size"]:
        batch, step = args["generation_batch_size"], size * processes
        if batch % step:
            yield Problem(
                "trainer.args.generation_batch_size",
                f"{batch} is no multiple of {step} ({size} per device x {processes} processes)",
            )
        origin = "generation_batch_size"
    else:
        steps = _steps_per_generation(args, processes)
        batch = size * steps * processes
        origin = f"{size} per device x {steps} per generation x {processes} processes"
    if group is None or batch % group:
        fits = [str(n) for n in range(2, batch + 1) if batch % n == 0]
        yield Problem(
            "trainer.args.num_generations",
            f"{group} does not divide the generation batch of {batch} ({origin}); these do: "
            f"{', '.join(fits[:8]) or 'none'}",
        )


def _steps_per_generation(args: dict[str, Any], processes: int) -> int:
    """Forward passes fed by one generation, as GRPOConfig derives it."""
    if args["generation_batch_size"]:
        step = args["per_device_train_batch_size"] * processes
        return max(1, args["generation_batch_size"] // step)
    return args["steps_per_generation"] or args["gradient_accumulation_steps"]


def _checkpoints(args: dict[str, Any], processes: int) -> Iterator[Problem]:
    """A checkpoint amid a generation batch loses the rest of it: resuming would differ."""
    if args["save_strategy"] != "steps":
        return
    saved = args["save_steps"]
    every = _steps_per_generation(args, processes) * args["num_iterations"]
    whole = every // math.gcd(every, args["gradient_accumulation_steps"])
    if saved < 1 or saved != int(saved):
        yield Problem("trainer.args.save_steps", f"{saved} should be a whole number of steps")
    elif saved % whole:
        yield Problem(
            "trainer.args.save_steps",
            f"{saved} is no multiple of {whole}, the steps that one generation serves: a run "
            "resumed from there would differ",
        )


def _unusable(args: dict[str, Any]) -> Iterator[Problem]:
    if args["max_steps"] == 0:
        yield Problem("trainer.args.max_steps", "0 is no limit to TRL; trainer=none does not train")
    if args["eval_strategy"] != "no" or args["load_best_model_at_end"]:
        key = "eval_strategy" if args["eval_strategy"] != "no" else "load_best_model_at_end"
        yield Problem(
            f"trainer.args.{key}",
            "training sees no evaluation rows; held-out rows are evaluated before and after it",
        )
    if args["auto_find_batch_size"]:
        yield Problem("trainer.args.auto_find_batch_size", "would break groups; TRL refuses it")
    for name, package in {"use_vllm": "vllm", "use_liger_kernel": "liger_kernel"}.items():
        if args[name] and not importlib.util.find_spec(package):
            distribution = package.replace("_", "-")
            yield Problem(
                f"trainer.args.{name}", f"needs {distribution}: pip install {distribution}"
            )
