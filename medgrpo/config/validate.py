"""Find every problem of a composed config before any work starts.

The signature of a `_target_` is the schema of its node (the idea of torchtune's
config/_validate.py): its parameter names, its annotations, and `Annotated` bounds on them. The
rest of the config is checked against the dataclasses of medgrpo/config/schema.py.
"""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    InterpolationKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from medgrpo.config.conflicts import conflicts
from medgrpo.config.foreign import hydra_problems
from medgrpo.config.moved import MOVED
from medgrpo.config.schema import UNRESOLVED, Node, Problem, RunConfig, check_type, unknown

SET_BY_THE_RUN = {
    "rewards": {
        "judge": "is the run's; leave it null and choose one with judge=",
        "name": "is the reward's key in `rewards`",
    },
    "grader": {
        "judge": "is the run's; leave it null and choose one with judge=",
        "name": "is grader",
    },
    "metrics": {"name": "is the metric's key in `metrics`"},
}


def validate(cfg: DictConfig) -> list[Problem]:
    """Every problem of a composed config, in the order of its keys.

    Contradictions between values are looked for once each value is right by itself.
    """
    problems: list[Problem] = []
    values = {str(key): _value(cfg, key, str(key), problems) for key in cfg if key != "hydra"}
    trusted = values.get("trusted_targets")
    trusted = ["medgrpo", *trusted] if isinstance(trusted, list) else ["medgrpo"]
    problems += hydra_problems(cfg, trusted)
    problems += _check_fields(values, RunConfig, "", trusted)
    keys = {problem.key for problem in problems}
    problems = [problem for problem in problems if not _is_within(problem.refers_to, keys)]
    return problems or list(conflicts(values))


def _is_within(key: str, keys: set[str]) -> bool:
    """Whether a key, or what it is part of, is among `keys`."""
    return any(f"{key}.".startswith(f"{other}.") for other in keys)


def _value(node: Any, key: Any, path: str, problems: list[Problem]) -> Any:
    """The value at `key` as plain data, interpolations resolved; notes what has none."""
    if path == "output_dir":  # Hydra knows it when it has made the folder
        return UNRESOLVED
    try:
        value = node[key]
    except OmegaConfBaseException as error:
        problems.append(_unreadable(node, path, error))
        return UNRESOLVED
    if OmegaConf.is_dict(value):
        return {k: _value(value, k, f"{path}.{k}", problems) for k in value}
    if OmegaConf.is_list(value):
        items = [_value(value, i, f"{path}[{i}]", problems) for i in range(len(value))]
        return UNRESOLVED if UNRESOLVED in items else items
    return value


def _unreadable(node: Any, path: str, error: OmegaConfBaseException) -> Problem:
    first = str(error).strip().splitlines()[0]
    if isinstance(error, MissingMandatoryValue):
        return Problem(path, "has no value yet (???); give it one")
    if not isinstance(error, InterpolationKeyError):
        return Problem(path, first)
    name = first.partition("'")[2].partition("'")[0]
    root, parent = node._get_root(), name.rpartition(".")[0]
    beside = OmegaConf.select(root, parent, throw_on_resolution_failure=False) if parent else root
    known = [str(key) for key in beside if key != "hydra"] if OmegaConf.is_dict(beside) else []
    return Problem(path, f"refers to ${{{name}}}: {unknown(name, known).message}", refers_to=name)


def _check_fields(
    values: dict[str, Any], schema: type, prefix: str, trusted: Sequence[str]
) -> Iterator[Problem]:
    """Names and values of a part that one of the dataclasses describes."""
    hints = typing.get_type_hints(schema, include_extras=True)
    for key, value in values.items():
        if key in hints:
            yield from _check(prefix + key, value, hints[key], trusted)
        else:
            yield unknown(prefix + key, hints)
    for spec in fields(schema):
        if spec.name not in values:
            several = hints[spec.name] == dict[str, Node]
            choose = f"'{spec.name}=[CHOICE]'" if several else f"{spec.name}=CHOICE"
            yield Problem(prefix + spec.name, "missing" if prefix else f"missing; set {choose}")


def _check(key: str, value: Any, hint: Any, trusted: Sequence[str]) -> Iterator[Problem]:
    if hint == Node or (hint == Node | None and value is not None):
        yield from _check_node(key, value, trusted)
    elif hint == dict[str, Node] and isinstance(value, dict):
        for name, node in value.items():
            yield from _check_node(f"{key}.{name}", node, trusted)
    elif is_dataclass(hint) and isinstance(value, dict):
        yield from _check_fields(value, typing.cast(type, hint), f"{key}.", trusted)
    elif is_dataclass(hint):
        yield Problem(key, f"{value!r} is no group of settings")
    else:
        yield from check_type(key, value, hint)


def _check_node(path: str, node: Any, trusted: Sequence[str]) -> Iterator[Problem]:
    if node is UNRESOLVED:
        return
    if not isinstance(node, dict) or not isinstance(node.get("_target_"), str):
        yield Problem(path, "needs a _target_, the dotted name of what builds it")
        return
    build = _import(f"{path}._target_", node["_target_"], trusted)
    if isinstance(build, Problem):
        yield build
        return
    try:
        parameters = dict(inspect.signature(build).parameters)
    except (TypeError, ValueError):
        yield Problem(f"{path}._target_", f"{node['_target_']} is nothing that can be called")
        return
    given = SET_BY_THE_RUN.get(path.partition(".")[0], {})
    hints = _hints(build)
    yield from _check_keywords(path, node, parameters, given, hints)
    for key, value in node.items():
        yield from _check_nested(f"{path}.{key}", value, trusted)
    yield from _check_args(path, node.get("args"), build)
    yield from _missing(path, node, parameters, given)


def _check_keywords(
    path: str,
    node: dict[str, Any],
    parameters: dict[str, inspect.Parameter],
    given: dict[str, str],
    hints: dict[str, Any],
) -> Iterator[Problem]:
    """The keywords of a target: `given` are those that the run passes, and why."""
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for key, value in node.items():
        if key == "_target_":
            continue
        if key in given:
            if value is not None or key not in parameters:
                yield Problem(f"{path}.{key}", given[key])
        elif key in parameters:
            yield from check_type(f"{path}.{key}", value, hints.get(key, Any))
        elif not open_ended:
            yield unknown(f"{path}.{key}", parameters.keys() - given.keys())


def _missing(
    path: str,
    node: dict[str, Any],
    parameters: dict[str, inspect.Parameter],
    given: dict[str, str],
) -> Iterator[Problem]:
    """Parameters without a default that the node does not have."""
    for name, parameter in parameters.items():
        named = parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        if name == "name" and name in given:  # passed by the run, whatever the node says
            continue
        if named and parameter.default is parameter.empty and name not in node:
            what = "write `judge: null`, the run fills it in" if name in given else "give it"
            yield Problem(f"{path}.{name}", f"missing, and {node['_target_']} needs it: {what}")


def _check_nested(path: str, value: Any, trusted: Sequence[str]) -> Iterator[Problem]:
    """Nodes inside a node: Hydra would build them, too."""
    if isinstance(value, dict):
        if "_target_" in value:
            yield from _check_node(path, value, trusted)
        for key, item in value.items():
            yield from _check_nested(f"{path}.{key}", item, trusted)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _check_nested(f"{path}[{index}]", item, trusted)


def _check_args(path: str, args: Any, build: Any) -> Iterator[Problem]:
    """A trainer's `args` against the fields of the library's own config class."""
    managed = getattr(build, "managed", None)
    if managed is None or not isinstance(args, dict):
        return
    from medgrpo.config.trl_fields import types_of

    config_class = getattr(build, "config_class", "GRPOConfig")
    known = types_of(config_class)
    if not hasattr(build, "config_class"):  # trainer=none stands where any of them may stand
        known = types_of("SFTConfig") | known
    for name, value in args.items():
        key = f"{path}.args.{name}"
        if name in managed:
            yield Problem(key, f"is set by the run: {managed[name]}")
        elif name in known:
            yield from check_type(key, value, known[name])
        else:
            message = unknown(key, known.keys() - managed.keys()).message
            stop = "" if message.endswith("?") else "."
            yield Problem(key, f"{message}{stop} Any field of trl.{config_class} can be set")


def _import(key: str, target: str, trusted: Sequence[str]) -> Any:
    """What a target names, or the Problem with it."""
    if not any(target.startswith(prefix.rstrip(".") + ".") for prefix in trusted):
        package = target.partition(".")[0]
        return Problem(
            key, f"{target} is not trusted; if you trust it, add 'trusted_targets=[{package}]'"
        )
    module, _, name = target.rpartition(".")
    try:
        found = importlib.import_module(module)
    except Exception as error:  # whatever the user's own module raises
        missing = error.name if isinstance(error, ImportError) else None
        hint = f"; {missing} moved: use {MOVED[missing]}" if missing in MOVED else ""
        return Problem(key, f"cannot import {module} ({type(error).__name__}: {error}){hint}")
    if hasattr(found, name):
        return getattr(found, name)
    own = [n for n, v in vars(found).items() if getattr(v, "__module__", None) == module]
    return Problem(key, unknown(target, [n for n in own if n[0] != "_"], "class").message)


def _hints(build: Any) -> dict[str, Any]:
    """Annotations of the parameters; none where a name exists for type checkers only."""
    has_init = inspect.isclass(build) and not is_dataclass(build)
    try:
        return typing.get_type_hints(build.__init__ if has_init else build, include_extras=True)
    except NameError:
        return {}
