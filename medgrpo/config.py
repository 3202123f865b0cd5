"""What a config may say, and `validate`, which finds every problem before any work starts.

Hydra composes; it does not know what the composed values are for. The signature of a `_target_`
is the schema of its node (the idea of torchtune's config/_validate.py): its parameter names, its
annotations, and `Annotated` bounds on them. The rest of the config is the dataclasses below.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import typing
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from annotated_types import Ge
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

GIVEN_AT_RUN_TIME = {"judge", "name"}  # reward parameters that run.py fills in
NOT_COMPOSED = {"output_dir"}  # known only once Hydra has made the folder


@dataclass
class EvaluationBudget:
    """How much a profile evaluates."""

    batch_size: Annotated[int, Ge(1)]
    limit: Annotated[int, Ge(0)] | None  # held-out rows, None for all


@dataclass
class Profile:
    """What a place to run decides for all groups that do not say otherwise."""

    name: str
    summary: str
    data_source: Literal["sample", "path", "hub"]
    device: Literal["cpu", "cuda"]
    max_prompt_tokens: Annotated[int, Ge(1)]
    max_completion_length: Annotated[int, Ge(1)]
    evaluation: EvaluationBudget
    grpo: dict[str, Any]  # the values that conf/trainer/grpo.yaml takes from the profile


@dataclass
class RunConfig:
    """The top of the config. A `Node` is built by its `_target_`."""

    prompt: Node
    dataset: Node
    model: Node
    lora: Node | None
    judge: Node
    rewards: dict[str, Node]
    trainer: Node
    evaluation: Node
    tracking: Node
    profile: Profile
    seed: Annotated[int, Ge(0)] = 3407
    output_dir: str = "${hydra:runtime.output_dir}"
    resume: str | None = None
    trusted_targets: list[str] = field(default_factory=list)


@dataclass
class Node:
    """A part of the run: the class or function to call and its keyword arguments."""

    _target_: str


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the config: the dotted key, what is wrong and what is allowed."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


def validate(cfg: DictConfig) -> list[Problem]:
    """Every problem of a composed config (without its `hydra` node), in the order of its keys."""
    problems = []
    values = {}
    for key in cfg:
        try:
            if key not in NOT_COMPOSED:
                values[str(key)] = _plain(cfg, str(key))
        except OmegaConfBaseException as error:
            first = str(error).strip().splitlines()[0]
            problems.append(Problem(str(getattr(error, "full_key", None) or key), first))
    problems += _check_fields(values, RunConfig, "")
    for path, node in _nodes(values):
        problems += _check_node(path, node, values.get("trusted_targets") or [])
    return problems or list(_contradictions(values))


def _plain(cfg: DictConfig, key: str) -> Any:
    node = OmegaConf.select(cfg, key, throw_on_resolution_failure=True)
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _check_fields(values: dict[str, Any], schema: type, prefix: str) -> Iterator[Problem]:
    """Names and types of a node that one of the dataclasses above describes."""
    hints = typing.get_type_hints(schema, include_extras=True)
    for key, value in values.items():
        if key not in hints:
            yield unknown(prefix + key, hints)
        elif inspect.isclass(hints[key]) and issubclass(hints[key], Profile | EvaluationBudget):
            if isinstance(value, dict):
                yield from _check_fields(value, hints[key], f"{prefix}{key}.")
            else:
                yield Problem(prefix + key, f"{value!r} is not a group of settings")
        elif "Node" not in str(hints[key]):
            yield from _check_type(prefix + key, value, hints[key])
    for spec in fields(schema):
        if spec.name not in values and spec.default is spec.default_factory is MISSING:
            yield Problem(prefix + spec.name, "missing")


def _nodes(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for spec in fields(RunConfig):
        value = values.get(spec.name)
        if spec.type == "dict[str, Node]" and isinstance(value, dict):
            yield from ((f"{spec.name}.{key}", node) for key, node in value.items())
        elif "Node" in str(spec.type) and spec.name in values:
            if value is not None or "None" not in str(spec.type):
                yield spec.name, value


def _check_node(path: str, node: Any, trusted: Sequence[str]) -> Iterator[Problem]:
    if not isinstance(node, dict) or not isinstance(node.get("_target_"), str):
        yield Problem(path, "needs a _target_, the dotted name of what builds it")
        return
    target = node["_target_"]
    if not any(target.startswith(prefix.rstrip(".") + ".") for prefix in ("medgrpo", *trusted)):
        yield Problem(
            f"{path}._target_",
            f"{target} is not trusted; if you wrote it, say so: "
            f"'trusted_targets=[{target.partition('.')[0]}]'",
        )
        return
    try:
        build = _import(target)
        parameters = inspect.signature(build).parameters
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        yield Problem(f"{path}._target_", f"cannot import {target} ({error})")
        return
    hints = _hints(build)
    yield from _check_args(path, node, build)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for key, value in node.items():
        if key == "_target_" or key in GIVEN_AT_RUN_TIME:
            continue
        if key in parameters:
            yield from _check_type(f"{path}.{key}", value, hints.get(key, Any))
        elif not open_ended:
            yield unknown(f"{path}.{key}", [p for p in parameters if p not in GIVEN_AT_RUN_TIME])
    for name, parameter in parameters.items():
        required = (
            parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
        )
        if required and name not in node and name not in GIVEN_AT_RUN_TIME:
            yield Problem(f"{path}.{name}", f"missing, and {target} needs it")


def _check_args(path: str, node: dict[str, Any], build: Any) -> Iterator[Problem]:
    """A trainer's `args` against the fields of the library's own config class."""
    config_class, managed = getattr(build, "config_class", None), getattr(build, "managed", {})
    if config_class is None or not isinstance(node.get("args"), dict):
        return
    from medgrpo.trainer.fields import types_of

    known = types_of(config_class)
    for name, value in node["args"].items():
        key = f"{path}.args.{name}"
        if name in managed:
            yield Problem(key, f"is set by the run: {managed[name]}")
        elif name not in known:
            yield unknown(key, known.keys() - managed.keys())
        else:
            yield from _check_type(key, value, known[name])


def unknown(key: str, known: typing.Iterable[str], what: str = "key") -> Problem:
    """The problem of a key that does not exist, with the nearest one that does."""
    parent, _, name = key.rpartition(".")
    known = sorted(known)
    near = get_close_matches(name, known, n=1)
    hints = [f"did you mean {parent + '.' if parent else ''}{near[0]}?"] if near else []
    hints += [f"known here: {', '.join(known)}"] if len(known) <= 20 else []
    return Problem(key, f"no such {what}; {' '.join(hints)}")


def _check_type(key: str, value: Any, hint: Any) -> Iterator[Problem]:
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

    if value == "???":
        yield Problem(key, "has no value yet; give one")
        return
    try:
        adapter = TypeAdapter(hint, config=ConfigDict(strict=True, arbitrary_types_allowed=True))
    except PydanticUserError:  # a type that pydantic cannot describe is checked by its target
        return
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        wanted = " or ".join(
            dict.fromkeys(e["msg"][0].lower() + e["msg"][1:] for e in error.errors())
        )
        yield Problem(key, f"{value!r} will not do: {wanted}")


def _import(target: str) -> Any:
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _hints(build: Any) -> dict[str, Any]:
    """Annotations of the parameters; Any where a name exists for type checkers only."""
    owner = build if hasattr(build, "__dataclass_fields__") else getattr(build, "__init__", build)
    if not inspect.isclass(build):
        owner = build
    try:
        return typing.get_type_hints(owner, include_extras=True)
    except NameError:
        return {}


def _contradictions(values: dict[str, Any]) -> Iterator[Problem]:
    """Values that are right one by one and cannot work together."""
    args = values["trainer"].get("args") or {}
    if "num_generations" in args:
        if not values["rewards"]:
            yield Problem("rewards", "GRPO needs at least one; for example 'rewards=[formats]'")
        yield from _generation_batch(args)
    if values["model"].get("load_in_4bit") and not importlib.util.find_spec("bitsandbytes"):
        yield Problem("model.load_in_4bit", "needs bitsandbytes: pip install bitsandbytes")


def _generation_batch(args: dict[str, Any]) -> Iterator[Problem]:
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    size, steps = args.get("per_device_train_batch_size", 8), args.get("steps_per_generation")
    steps = steps or args.get("gradient_accumulation_steps", 1)
    batch = args.get("generation_batch_size") or size * steps * processes
    generations = args["num_generations"]
    if generations < 2:
        yield Problem("trainer.args.num_generations", f"{generations} is no group; at least 2")
    elif batch % generations:
        yield Problem(
            "trainer.args.num_generations",
            f"{generations} does not divide the generation batch of {batch} "
            f"({size} per device x {steps} steps x {processes} processes)",
        )
