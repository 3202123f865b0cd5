"""The fields of TRL's GRPOConfig and SFTConfig: name, type and default, without importing TRL.

`trainer.args` takes any of them. Importing TRL to learn their names costs 8 seconds, which no
message about a typo is worth; so they lie in trl_fields_1.14.json and so on, one for each version
of TRL that was tried, written by `python -m medgrpo.config.trl_fields` and compared with the
installed TRL by a test. TRL states no ranges, and names the choices of some strings of GRPOConfig
only in its trainer's source; RANGES and CHOICES have them for the fields that people set.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import re
import types
import typing
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval


def table_file() -> Path:
    """The table of the installed TRL, or of the last one before it that was tried."""
    installed = _numbers(version("trl"))
    tables = sorted(Path(__file__).parent.glob("trl_fields_*.json"), key=lambda f: _numbers(f.stem))
    return [tables[0], *(file for file in tables if _numbers(file.stem) <= installed)][-1]


def _numbers(text: str) -> tuple[int, ...]:
    """The version in a text, without what comes after major and minor number."""
    return tuple(map(int, re.findall(r"\d+", text)[:2]))


_NAMES = {"Any": Any, "Literal": Literal, "None": None}
_PLAIN: dict[Any, str] = {kind: kind.__name__ for kind in (bool, int, float, str, dict)}
_PLAIN |= {type(None): "None", Any: "Any"}
_BUILTINS = {kind.__name__: kind for kind in (bool, int, float, str, dict, list)}
RANGES = {
    "beta": Ge(0),
    "epsilon": Gt(0),
    "generation_batch_size": Ge(1),
    "gradient_accumulation_steps": Ge(1),
    "learning_rate": Gt(0),
    "logging_steps": Gt(0),
    "max_completion_length": Ge(1),
    "max_grad_norm": Ge(0),
    "max_length": Ge(1),
    "max_steps": Ge(-1),  # -1: as many as the epochs give
    "num_generations": Ge(2),  # one completion is no group: it has no advantage
    "num_iterations": Ge(1),
    "num_train_epochs": Gt(0),
    "per_device_train_batch_size": Ge(1),
    "save_steps": Gt(0),
    "save_total_limit": Ge(1),
    "steps_per_generation": Ge(1),
    "temperature": Gt(0),
    "top_p": Interval(gt=0, le=1),
    "warmup_steps": Ge(0),
    "weight_decay": Ge(0),
}
CHOICES = {
    "importance_sampling_level": Literal["token", "sequence"],
    "loss_type": Literal["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"],
    "multi_objective_aggregation": Literal["sum_then_normalize", "normalize_then_sum"],
    "scale_rewards": Literal["group", "batch", "none"],
}


@cache
def types_of(config_class: str) -> dict[str, Any]:
    """Each field of "GRPOConfig" or "SFTConfig" with its type, and its range where we know one."""
    types = {
        name: eval(spec["type"], {"__builtins__": _BUILTINS}, _NAMES)
        for name, spec in _table(config_class).items()
    }
    ranges = {name: Annotated[types[name], RANGES[name]] for name in RANGES.keys() & types}
    choices = CHOICES if config_class == "GRPOConfig" else {}
    return types | ranges | choices


def defaults_of(config_class: str) -> dict[str, Any]:
    """Each field of "GRPOConfig" or "SFTConfig" with TRL's default."""
    return {name: spec["default"] for name, spec in _table(config_class).items()}


def _table(config_class: str) -> dict[str, dict[str, Any]]:
    return json.loads(table_file().read_text(encoding="utf-8"))[config_class]


def describe(config_class: type) -> dict[str, dict[str, Any]]:
    """The table of a dataclass: {"beta": {"type": "float", "default": 0.0}, ...}."""
    hints = typing.get_type_hints(config_class)
    return {
        field.name: {
            "type": " | ".join(sorted(set(_spell(hints[field.name])))),
            "default": _default(field),
        }
        for field in sorted(dataclasses.fields(config_class), key=lambda field: field.name)
    }


def _spell(hint: Any) -> list[str]:
    """The parts of a type in words that need no import: enums as their values."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        parts = [part for argument in arguments for part in _spell(argument)]
        named = any(part.startswith("Literal['") for part in parts)
        return [part for part in parts if not (named and part == "str")]  # enum | str: its names
    if (origin or hint) in _PLAIN:
        return [_PLAIN[origin or hint]]
    if origin is Literal:
        return [f"Literal{list(arguments)}"]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return [f"Literal{[member.value for member in hint]}"]
    if origin is list:
        return [f"list[{' | '.join(_spell(arguments[0]))}]"]
    return []  # an object of a library, which no config file can hold


def _default(field: dataclasses.Field[Any]) -> Any:
    default = (
        field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    )
    if isinstance(default, enum.Enum):
        return default.value
    return default if isinstance(default, bool | int | float | str | list | dict) else None


if __name__ == "__main__":
    from trl import GRPOConfig, SFTConfig

    tables = {config.__name__: describe(config) for config in (GRPOConfig, SFTConfig)}
    name = "trl_fields_{}.{}.json".format(*_numbers(version("trl")))
    text = json.dumps(tables, indent=1) + "\n"
    Path(__file__).with_name(name).write_text(text, encoding="utf-8")
