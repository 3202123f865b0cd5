"""The fields of TRL's GRPOConfig and SFTConfig: name, type and default, without importing TRL.

`trainer.args` takes any of them. Importing TRL to learn their names costs 8 seconds, which no
message about a typo is worth; so they lie in fields.json, written by
`python -m medgrpo.trainer.fields` and compared with the installed TRL by a test.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import types
import typing
from pathlib import Path
from typing import Any, Literal

TABLE = Path(__file__).with_name("fields.json")
_NAMES = {"Any": Any, "Literal": Literal, "None": None}
_PLAIN = {bool: "bool", int: "int", float: "float", str: "str", type(None): "None", Any: "Any"}


def types_of(config_class: str) -> dict[str, Any]:
    """Each field of "GRPOConfig" or "SFTConfig" with its type, as typing understands it."""
    table = json.loads(TABLE.read_text(encoding="utf-8"))[config_class]
    return {
        name: eval(spec["type"], {"__builtins__": _BUILTINS}, _NAMES)
        for name, spec in table.items()
    }


_BUILTINS = {kind.__name__: kind for kind in (bool, int, float, str, dict, list)}


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
    if hint in _PLAIN:
        return [_PLAIN[hint]]
    if origin is Literal:
        return [f"Literal{list(arguments)}"]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return [f"Literal{[member.value for member in hint]}"]
    if hint is dict or origin is dict:
        return ["dict"]
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
    TABLE.write_text(json.dumps(tables, indent=1) + "\n", encoding="utf-8")
