"""What TRL's GRPOTrainer cannot do with settings that are right one by one."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from typing import Any

from hydra.utils import get_object

from medgrpo.config.schema import Problem
from medgrpo.config.trl_fields import defaults_of


def grpo_conflicts(values: dict[str, Any]) -> Iterator[Problem]:
    """Problems between the values of a config whose trainer is GRPO."""
    yield from _rewards(values["rewards"])
    processes = values["launch"]["nproc_per_node"] * values["launch"]["nodes"]
    args = defaults_of("GRPOConfig") | values["trainer"]["args"]
    yield from _generation_batch(args, processes)
    yield from _checkpoints(args, processes)
    yield from _unusable(args)
    yield from _vllm(values["model"], args)


def in_4bit(model: dict[str, Any]) -> bool:
    """Whether a config's model is loaded in 4 bit, as it says or as its class does by default."""
    default = getattr(get_object(model["_target_"]), "load_in_4bit", False)
    return bool(model.get("load_in_4bit", default))


def _vllm(model: dict[str, Any], args: dict[str, Any]) -> Iterator[Problem]:
    """Unsloth trains and generates on one copy of the weights, or not by a vLLM beside it."""
    colocated = args["use_vllm"] and args["vllm_mode"] == "colocate"
    default = getattr(get_object(model["_target_"]), "fast_inference", None)  # None: not Unsloth's
    shared = model.get("fast_inference", default)
    served = args["use_vllm"] and args["vllm_mode"] == "server"
    if served and in_4bit(model):
        yield Problem(
            "trainer.args.vllm_mode",
            "server cannot take 4-bit weights (TRL sends them as they are packed, trl#4973): set "
            "model.load_in_4bit=false, or vllm_mode=colocate",
        )
    if served and model.get("device") == "cpu":
        yield Problem(
            "trainer.args.vllm_mode",
            "server takes its weights over NCCL, from a GPU: model.device=cuda, or colocate",
        )
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
