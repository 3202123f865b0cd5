"""What is wrong with any job of a command, all of it, before anything is written.

Hydra reports one problem at a time. Here each job is composed (medgrpo.config.compose) and
validated (medgrpo.config.validate), and every problem is one line that says where it was set.
"""

from __future__ import annotations

import os
import re
import tempfile
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from medgrpo.config.compose import Sweep, composed, forced, hydra_with, jobs, lines
from medgrpo.config.nodes import is_first_node, node_problems
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
from medgrpo.config.resumed import refused, settings
from medgrpo.config.schema import Problem, unknown
from medgrpo.config.validate import validate

PROFILE = os.environ.get("MEDGRPO_PROFILE") or "laptop"
MADE_BY_RUNS = ("summary.json", "multirun.yaml")
ConfigStore.instance().store(group="profile", name="default", node={"defaults": [PROFILE]})


def check(
    args: Namespace, recorded: Mapping[str, Any] | None = None
) -> tuple[list[str], Sweep | None]:
    """The problems of a parsed command, one line each, and the sweep that it starts, if any.

    A question (`--cfg`, `--info`, `--help`) is refused only when nothing can be composed.
    `recorded`: settings of the run that is resumed, of which only some may differ.
    """
    in_folder = _problem_lines(_folder_problems(args.config_dir), "--config-dir")
    if in_folder:
        return in_folder, None
    overrides, problems = read(args.overrides)
    with hydra_with(args.config_dir, overrides):
        names = [name for name in choices("") if not name.startswith("_")]
        if args.config_name not in (None, *names):
            missing = unknown(args.config_name, names, "file").message
            problems.append(Problem("--config-name", missing))
        problems += repeated(overrides)
        if problems:
            return _problem_lines(problems, TYPED), None
        try:
            each, sweep = jobs(args.config_name or "config", overrides, args.multirun)
        except (HydraException, OmegaConfBaseException) as error:
            reason = str(error).strip().splitlines()[0]
            return _problem_lines([Problem("sweep", reason)], TYPED), None
        counts = Counter(" ".join(lines(job)) for job in each)
        if twice := "; ".join(job for job, count in counts.items() if count > 1):
            again = Problem("sweep", f"the same job more than once: {twice}")
            return _problem_lines([again], TYPED), None
        refusals = dict.fromkeys(
            line for job in each for line in _job_problems(args, job, recorded)
        )
        return list(refusals), None if refusals else sweep


def _problem_lines(problems: Iterable[Problem], origin: str) -> list[str]:
    return list(dict.fromkeys(problem_line(problem, origin) for problem in problems))


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


def _job_problems(
    args: Namespace, overrides: list[Override], recorded: Mapping[str, Any] | None
) -> list[str]:
    mistyped = [*_problem_lines(choice_problems(overrides), TYPED), *_no_profile(overrides)]
    if mistyped:
        return mistyped
    name, typed = args.config_name or "config", lines(overrides)
    refusal, mismatched = None, list[Problem]()
    try:
        cfg = composed(name, typed)
    except Exception as error:
        refusal = error
        try:
            cfg, typed, mismatched = forced(name, overrides)
        except Exception as deeper:
            return [_explained(deeper, overrides)]
    if refusal is None and (args.cfg or args.info or args.help):
        return []
    place = cfg.hydra.sweep if args.multirun else cfg.hydra.run
    problems = [*_hydra_problems(cfg, place), *validate(cfg)]
    if not problems:
        problems += node_problems(cfg, sweep=args.multirun)
    keys = {problem.key for problem in problems}
    problems = [problem for problem in mismatched if problem.key not in keys] + problems
    if recorded and not problems:
        problems += refused(recorded, settings(cfg))
    if problems and (traced := _provenance(name, typed, cfg, overrides).lines(problems)):
        return traced
    return [_explained(refusal, overrides)] if refusal else []


def _no_profile(overrides: list[Override]) -> Iterator[str]:
    """A default profile that the environment names and that is not there."""
    if "profile" not in [o.key_or_group for o in overrides] and PROFILE not in choices("profile"):
        missing = no_choice("profile", PROFILE).message
        yield problem_line(Problem(f"MEDGRPO_PROFILE={PROFILE}", missing), "environment")


def _provenance(
    name: str, typed: list[str], cfg: DictConfig, overrides: list[Override]
) -> Provenance:
    values = [shown(o.key_or_group) for o in overrides if not is_group(o)]
    groups = [o.key_or_group for o in overrides if is_group(o)]
    return Provenance(name, typed, cfg, values, groups)


def _hydra_problems(cfg: DictConfig, place: DictConfig) -> Iterator[Problem]:
    """What Hydra itself would stumble over after composing, and a folder that is in use."""
    if not isinstance(cfg.hydra.verbose, bool | str | ListConfig):
        yield Problem("hydra.verbose", "should be true, false, a logger's name or a list of them")
    try:
        folder = Path(place.dir).absolute()
    except OmegaConfBaseException:  # refers to what Hydra knows only later
        return
    if not place.dir.strip():
        yield Problem("output_dir", "is empty; name a folder")
    elif there := _no_room(folder):
        yield Problem("output_dir", f"cannot be made: {there} is no folder that can be written to")
    elif (
        is_first_node(cfg)
        and not cfg.get("resume")
        and any((folder / file).exists() for file in MADE_BY_RUNS)
    ):
        yield Problem(
            "output_dir",
            f"{shown_path(folder)} holds a run or sweep; resume={shown_path(folder)} "
            "resumes it, another name starts a new one",
        )


def _no_room(folder: Path) -> Path | None:
    """The nearest folder that exists, if nothing can be made in it; /proc refuses only then."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".medgrpo-", dir=there))
    except OSError:
        return there
    return None


def _explained(error: Exception, overrides: Sequence[Override]) -> str:
    """Hydra's reason in our form: what it is about, where that was set, what would do."""
    text = f"{error}\n{error.__cause__ or ''}"
    named = re.search(r"[Ii]n '([^']+)'", text)
    file = f"{named[1]}.yaml" if named else ""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return problem_line(no_choice(group, choice), file or TYPED)
    typed = [shown(o.key_or_group) for o in overrides if o.key_or_group in text]
    parts = (line.strip().removeprefix(f"In '{file[:-5]}': ") for line in text.splitlines())
    advice = ("full_key", "object_type", "reference_type", "To append")
    reason = " ".join(dict.fromkeys(part for part in parts if not part.startswith(advice)))
    key = typed[0] if typed else file or "config"
    return problem_line(Problem(key, reason.strip()), file or TYPED)
