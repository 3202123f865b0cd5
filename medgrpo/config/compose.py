"""Compose every job of a command line and say what is wrong with any of them.

Hydra reports one problem at a time, and composes a sweep's jobs after it has made their folder. So
each job is composed here first, as Hydra will compose it, and validated. Only when Hydra refuses a
job is it composed again, with every value forced in, to find all that is wrong with it.
"""

from __future__ import annotations

import os
import re
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import yaml
from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from medgrpo.config.overrides import (
    choice_problems,
    choices,
    default_groups,
    is_group,
    no_choice,
    read,
    repeated,
    shown,
)
from medgrpo.config.provenance import CONF, TYPED, Provenance, problem_line, shown_path
from medgrpo.config.schema import Problem, unknown
from medgrpo.config.validate import validate

PROFILE = os.environ.get("MEDGRPO_PROFILE") or "laptop"
MADE_BY_RUNS = ("summary.json", "multirun.yaml")
ConfigStore.instance().store(group="profile", name="default", node={"defaults": [PROFILE]})


def problems(args: Namespace) -> list[str]:
    """What is wrong with any job of a parsed command, one line each.

    A question (`--cfg`, `--info`, `--help`) is refused only when nothing can be composed.
    """
    found = [problem_line(problem, "--config-dir") for problem in _folder_problems(args.config_dir)]
    if found:
        return found
    with _hydra(args.config_dir):
        overrides, wrong = read(args.overrides)
        names = [name for name in choices("") if not name.startswith("_")]
        if args.config_name not in (None, *names):
            missing = unknown(args.config_name, names, "file").message
            wrong.append(Problem("--config-name", missing))
        wrong += repeated(overrides)
        if wrong:
            return list(dict.fromkeys(problem_line(problem, TYPED) for problem in wrong))
        try:
            jobs = _jobs(args, overrides)
        except HydraException as error:  # a kind of sweep that Hydra's own sweeper does not know
            return [problem_line(Problem("sweep", str(error)), TYPED)]
        if twice := [job for job, times in Counter(map(_job_line, jobs)).items() if times > 1]:
            again = Problem("sweep", f"the same job more than once: {'; '.join(twice)}")
            return [problem_line(again, TYPED)]
        return list(dict.fromkeys(line for job in jobs for line in _job_problems(args, job)))


@contextmanager
def _hydra(config_dir: str | None) -> Iterator[None]:
    """Hydra with the search path that its own main would make."""
    search_path = create_config_search_path(str(CONF))
    if config_dir:
        path = f"file://{Path(config_dir).absolute()}"
        search_path.prepend("command-line", path, SearchPathQuery(provider="schema"))
    Hydra.create_main_hydra2(task_name="medgrpo", config_search_path=search_path)
    try:
        yield
    finally:
        GlobalHydra.instance().clear()


def _folder_problems(config_dir: str | None) -> Iterator[Problem]:
    """A --config-dir that is not there, and files in it that Hydra cannot read or does not see."""
    if config_dir is None:
        return
    folder = Path(config_dir)
    if not folder.is_dir():
        yield Problem(str(folder), "there is no such folder")
    for group in sorted(default_groups()):
        for file in sorted((folder / group).glob("*.y*ml")):
            shipped = CONF / group / file.name
            if file.suffix != ".yaml":
                yield Problem(shown_path(file), "is not seen: its name must end in .yaml")
            elif shipped.exists() and not shipped.samefile(file):
                yield Problem(shown_path(file), f"is not seen: {group}/{file.name} is shipped")
            else:
                yield from _file_problems(file)


def _file_problems(file: Path) -> Iterator[Problem]:
    try:
        if not OmegaConf.is_dict(OmegaConf.load(file)):
            yield Problem(shown_path(file), "holds a list where KEY: VALUE lines are needed")
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        yield Problem(shown_path(file), f"is no YAML: {error.problem}{line}")
    except (OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        yield Problem(shown_path(file), f"cannot be read: {str(error).strip().splitlines()[0]}")


def _jobs(args: Namespace, overrides: list[Override]) -> list[list[Override]]:
    """The overrides of every job: one for a run, the product of the choices for a sweep."""
    name = args.config_name or "config"
    single = [override for override in overrides if not override.is_sweep_override()]
    base = _attempt(name, tuple(_lines(single)))
    if not isinstance(base, DictConfig):  # it is lines_told in full when the jobs are composed
        base = _attempt(name, tuple(_lines([o for o in single if is_group(o)])))
    # a choice that does not exist may be the one that makes the sweep
    sweep, params = True, {}
    if isinstance(base, DictConfig):
        sweep = args.multirun or base.hydra.mode == RunMode.MULTIRUN
        params = dict(base.hydra.sweeper.get("params") or {}) if sweep else {}
    if not sweep:
        return [overrides]
    parser = OverridesParser.create()
    overrides = [*parser.parse_overrides([f"{k}={v}" for k, v in params.items()]), *overrides]
    return [parser.parse_overrides(job) for job in BasicSweeper.split_arguments(overrides, None)[0]]


def _job_line(job: Sequence[Override]) -> str:
    """A job as it would be typed."""
    return " ".join(_lines(job))


def _compose(name: str, lines: Sequence[str]) -> DictConfig:
    cfg = _attempt(name, tuple(lines))
    if isinstance(cfg, Exception):
        raise cfg
    return cfg


@lru_cache(maxsize=1)  # a single run is composed to see that it is no sweep, and then as a job
def _attempt(name: str, lines: tuple[str, ...]) -> DictConfig | Exception:
    try:
        return compose(name, list(lines), return_hydra_config=True)
    except Exception as error:  # composing runs nothing but the user's input
        return error


def _lines(overrides: Sequence[Override]) -> list[str]:
    return [str(override.input_line) for override in overrides]


def _job_problems(args: Namespace, overrides: list[Override]) -> list[str]:
    found = [problem_line(problem, TYPED) for problem in choice_problems(overrides)]
    if "profile" not in [o.key_or_group for o in overrides] and PROFILE not in choices("profile"):
        profile = Problem(f"MEDGRPO_PROFILE={PROFILE}", no_choice("profile", PROFILE).message)
        found.append(problem_line(profile, "environment"))
    if found:
        return found
    name, lines = args.config_name or "config", _lines(overrides)
    mismatched: list[Problem] = []
    refusal = None
    try:
        cfg = _compose(name, lines)
    except Exception as error:
        refusal = error
        try:
            cfg, lines, mismatched = _compose_anyway(name, overrides)
        except Exception as deeper:
            return [_explained(deeper, overrides)]
    if refusal is None and (args.cfg or args.info or args.help):
        return []
    place = cfg.hydra.sweep if args.multirun else cfg.hydra.run
    wrong = [*_hydra_problems(cfg, place), *validate(cfg)]
    keys = {problem.key for problem in wrong}
    wrong = [problem for problem in mismatched if problem.key not in keys] + wrong
    lines_told = Provenance(name, lines, cfg, *_typed(overrides)).lines(wrong) if wrong else []
    return lines_told or ([_explained(refusal, overrides)] if refusal else [])


def _typed(overrides: Sequence[Override]) -> tuple[list[str], list[str]]:
    """The keys of the values and of the choices that were typed."""
    values = [shown(o.key_or_group) for o in overrides if not is_group(o)]
    return values, [o.key_or_group for o in overrides if is_group(o)]


def _compose_anyway(
    name: str, overrides: Sequence[Override]
) -> tuple[DictConfig, list[str], list[Problem]]:
    """The config with all values forced in, the overrides for that, and what had to be forced."""
    chosen = [o for o in overrides if is_group(o) or o.key_or_group == "hydra.searchpath"]
    values = [o for o in overrides if o not in chosen]
    bare = _compose(name, _lines(chosen))
    mismatched = [problem for override in values for problem in _mismatches(bare, override)]
    lost = {problem.key for problem in mismatched if _beside(bare, problem.key) is None}
    forced = [
        f"++{str(o.input_line).lstrip('+')}"
        for o in values
        if not o.is_delete() and o.key_or_group not in lost
    ]
    lines = [*_lines(chosen), *forced]
    return _compose(name, lines), lines, mismatched


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


def _hydra_problems(cfg: DictConfig, place: DictConfig) -> Iterator[Problem]:
    """What Hydra itself would stumble over after composing, and a folder that is in use."""
    if not isinstance(cfg.hydra.verbose, bool | str | ListConfig):
        yield Problem("hydra.verbose", "should be true, false, a logger's name or a list of them")
    try:
        folder = Path(place.dir).absolute()
    except OmegaConfBaseException:  # refers to what Hydra knows only later
        return
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not place.dir.strip():
        yield Problem("output_dir", "is empty; name a folder")
    elif not there.is_dir() or not os.access(there, os.W_OK):
        yield Problem("output_dir", f"cannot be made: {there} is no folder that can be written to")
    elif not cfg.get("resume") and any((folder / file).exists() for file in MADE_BY_RUNS):
        yield Problem(
            "output_dir",
            f"{shown_path(folder)} holds a run or sweep; resume={shown_path(folder)} "
            "resumes it, another name starts a new one",
        )


def _explained(error: Exception, overrides: Sequence[Override]) -> str:
    """Hydra's reason in our form: what it is about, where that was set, what would do."""
    text = f"{error}\n{error.__cause__ or ''}"
    named = re.search(r"[Ii]n '([^']+)'", text)
    file = f"{named[1]}.yaml" if named else ""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return problem_line(no_choice(group, choice), file or TYPED)
    typed = [shown(o.key_or_group) for o in overrides if o.key_or_group in text]
    lines = (line.strip().removeprefix(f"In '{file[:-5]}': ") for line in text.splitlines())
    advice = ("full_key", "object_type", "reference_type", "To append")
    reason = " ".join(dict.fromkeys(line for line in lines if not line.startswith(advice)))
    key = typed[0] if typed else file or "config"
    return problem_line(Problem(key, reason.strip()), file or TYPED)
