"""Compose the jobs of a command as Hydra will, or, where it refuses, with every value forced in.

Hydra composes a sweep's jobs after it has made their folder, and stops at the first override that
does not fit. Here all jobs are composed before anything is written, and a job that Hydra refuses
is composed again to find all that is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from medgrpo.config.overrides import is_group
from medgrpo.config.provenance import CONF
from medgrpo.config.schema import Problem, unknown


@dataclass(frozen=True)
class Sweep:
    """What the jobs of a sweep have in common."""

    folder: str
    fixed: list[str]  # keys that are set alike in all of them


@contextmanager
def hydra_with(config_dir: str | None, overrides: Sequence[Override] = ()) -> Iterator[None]:
    """Hydra with the search path that its own main would make, and find by `overrides`."""
    search_path = create_config_search_path(str(CONF))
    paths = [f"file://{Path(config_dir).absolute()}"] if config_dir else []
    for override in overrides:
        if override.key_or_group == "hydra.searchpath" and isinstance(override.value(), list):
            paths += map(str, override.value())  # type: ignore[arg-type]
    for path in paths:
        search_path.prepend("command-line", path, SearchPathQuery(provider="schema"))
    Hydra.create_main_hydra2(task_name="medgrpo", config_search_path=search_path)
    try:
        yield
    finally:
        GlobalHydra.instance().clear()


def jobs(
    name: str, overrides: list[Override], multirun: bool
) -> tuple[list[list[Override]], Sweep | None]:
    """The overrides of every job, and the sweep that they make: None for a single run.

    Raises HydraException for a kind of sweep that Hydra's own sweeper does not know.
    """
    single = [override for override in overrides if not override.is_sweep_override()]
    base = _attempt(name, tuple(lines(single)))
    if not isinstance(base, DictConfig):  # its problems are listed when the jobs are composed
        base = _attempt(name, tuple(lines([o for o in single if is_group(o)])))
    # a choice that does not exist may be the one that makes the sweep
    params, folder = {}, ""
    if isinstance(base, DictConfig):
        if not (multirun or base.hydra.mode == RunMode.MULTIRUN):
            return [overrides], None
        params, folder = dict(base.hydra.sweeper.get("params") or {}), base.hydra.sweep.dir
    parser = OverridesParser.create()
    overrides = [*parser.parse_overrides([f"{k}={v}" for k, v in params.items()]), *overrides]
    keys = {o.key_or_group for o in overrides if not o.is_sweep_override()}
    fixed = sorted(key for key in keys if not key.startswith(("hydra.", "hydra/")))
    split = BasicSweeper.split_arguments(overrides, None)[0]
    return [parser.parse_overrides(job) for job in split], Sweep(folder, fixed)


def lines(overrides: Sequence[Override]) -> list[str]:
    """The overrides as they were typed."""
    return [str(override.input_line) for override in overrides]


def composed(name: str, overrides: Sequence[str]) -> DictConfig:
    """The config `name` with overrides; raises what Hydra raises."""
    cfg = _attempt(name, tuple(overrides))
    if isinstance(cfg, Exception):
        raise cfg
    return cfg


@lru_cache(maxsize=1)  # a single run is composed to see that it is no sweep, and then as a job
def _attempt(name: str, overrides: tuple[str, ...]) -> DictConfig | Exception:
    try:
        return compose(name, list(overrides), return_hydra_config=True)
    except Exception as error:  # composing runs nothing but the user's input
        return error


def forced(name: str, overrides: Sequence[Override]) -> tuple[DictConfig, list[str], list[Problem]]:
    """The config with all values forced in, the overrides for that, and what had to be forced."""
    chosen = [o for o in overrides if is_group(o) or o.key_or_group == "hydra.searchpath"]
    values = [o for o in overrides if o not in chosen]
    bare = composed(name, lines(chosen))
    mismatched = [problem for override in values for problem in _mismatches(bare, override)]
    lost = {problem.key for problem in mismatched if _beside(bare, problem.key) is None}
    added = [
        f"++{str(o.input_line).lstrip('+')}"
        for o in values
        if not o.is_delete() and o.key_or_group not in lost
    ]
    fitting = [*lines(chosen), *added]
    return composed(name, fitting), fitting, mismatched


def _mismatches(bare: DictConfig, override: Override) -> Iterator[Problem]:
    """A value override whose + or ~, or lack of them, does not fit what the files hold."""
    key, line = override.key_or_group, str(override.input_line)
    parent, _, name = key.rpartition(".")
    beside = _beside(bare, key)
    added = override.is_add() or override.is_force_add()
    if beside is None:
        yield Problem(key, f"{parent} holds no keys here: it is null or a value")
    elif override.is_delete() or (key.startswith("hydra.") and not added):
        if name not in beside:
            yield unknown(key, [n for n in beside if n not in ("hydra", "_target_")])
    elif override.is_add() and name in beside:
        yield Problem(key, f"is there already; drop the +: {line.lstrip('+')}")
    elif name not in beside and not added:
        yield Problem(key, f"is in no file; to add it: +{line}")


def _beside(bare: DictConfig, key: str) -> list[str] | None:
    """The keys that lie beside a dotted key; [] where nothing lies, None where nothing can."""
    parent = key.rpartition(".")[0]
    if not parent:
        return [str(name) for name in bare]
    node = OmegaConf.select(bare, parent, throw_on_missing=False, default=OmegaConf.create())
    return [str(name) for name in node] if OmegaConf.is_dict(node) else None
