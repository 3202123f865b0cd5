"""What can be said of the overrides of a command before anything is composed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf

from medgrpo.config.provenance import CONF
from medgrpo.config.schema import Problem, unknown


def read(lines: Sequence[str]) -> tuple[list[Override], list[Problem]]:
    """The overrides that can be read, and what is wrong with the others."""
    overrides, unreadable = [], []
    for line in lines:
        key, equals, _ = line.partition("=")
        if not key or not (equals or key.startswith("~")):
            unreadable.append(Problem(line, "is no KEY=VALUE"))
            continue
        try:
            overrides.append(OverridesParser.create().parse_override(line))
        except HydraException as error:
            reason = " ".join(str(error).split())
            hint = f"cannot be read ({reason}); quote what is meant literally: '{key}=\"...\"'"
            unreadable.append(Problem(line, hint))
    return overrides, unreadable


def repeated(overrides: Sequence[Override]) -> Iterator[Problem]:
    keys = [override.get_key_element().lstrip("+~") for override in overrides]
    for key in dict.fromkeys(keys):
        if keys.count(key) > 1:
            yield Problem(shown(key), "is set more than once; keep one")


def shown(key: str) -> str:
    """A key as the user types it (medgrpo.cli translates output_dir for Hydra)."""
    return "output_dir" if key in ("hydra.run.dir", "hydra.sweep.dir") else key


def key_of(line: str) -> str:
    """What an override sets, without its signs: `"++lora.r=8"` -> `"lora.r"`."""
    return line.lstrip("+~").partition("=")[0]


def translated(argv: Sequence[str]) -> Iterator[str]:
    """The command in the words that Hydra needs for three things that users should not need.

    `trainer.args.X` may be any field of TRL's config and `model.X` any parameter of the model's
    class, also one that no YAML lists; `output_dir` is where Hydra puts the run, or the sweep.
    """
    for arg in argv:
        if arg.startswith(("trainer.args.", "first_trainer.args.", "model.")):
            yield f"++{arg}"
        elif arg.startswith("output_dir="):
            folder = quoted(arg.partition("=")[2])
            yield from (f"hydra.run.dir={folder}", f"hydra.sweep.dir={folder}")
        else:
            yield arg


def quoted(value: str) -> str:
    """A path as Hydra reads it whole, whatever signs it holds."""
    if value[:1] in ("", "'", '"'):
        return value
    return "'" + value.replace("'", "\\'") + "'"


def choices(group: str) -> list[str]:
    return GlobalHydra.instance().config_loader().get_group_options(group, ObjectType.CONFIG)


@cache
def default_groups() -> set[str]:
    defaults = OmegaConf.load(CONF / "config.yaml").defaults
    return {str(group) for entry in defaults if OmegaConf.is_dict(entry) for group in entry}


def is_group(override: Override) -> bool:
    group = override.key_or_group
    return group in default_groups() or ("." not in group and bool(choices(group)))


def choice_problems(overrides: Sequence[Override]) -> Iterator[Problem]:
    """What can be said of an override before composing: sweeps without -m, and wrong choices."""
    for override in overrides:
        group, line = override.key_or_group, str(override.input_line)
        if override.is_sweep_override():
            yield Problem(line, "several values make a sweep: add -m (a list is written [a,b])")
        elif is_group(override) and not override.is_delete():
            another = override.package is not None  # +judge@judge.members.third=openai
            if override.is_force_add() or (
                override.is_add() and group in default_groups() and not another
            ):
                yield Problem(group, f"is a group: choose with {line.lstrip('+')}")
            value = override.value()
            for choice in value if isinstance(value, list) else [value]:
                if choice not in choices(group):
                    yield no_choice(group, "null" if choice is None else str(choice))


def no_choice(group: str, choice: str) -> Problem:
    known = choices(group)
    hint = "" if known else f"; put {group}/{choice}.yaml into a folder and add --config-dir FOLDER"
    return Problem(group, unknown(choice, known, f"choice as {choice}").message + hint)
