"""The command line: compose every job, check it, and only then let Hydra start work.

Hydra by itself creates the run folder before the run function sees the config, and reports one
problem at a time. Here every job of a run or sweep is composed and validated first, so that a
mistake costs no folder and no minute, and all mistakes are shown at once. Nothing heavy is
imported before the run function is called.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra import main as hydra_main
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from medgrpo.errors import UserError

_PACKAGE = Path(__file__).parent
# A checkout keeps conf/ beside the package; a wheel carries it inside.
CONF = next(path for path in (_PACKAGE.parent / "conf", _PACKAGE / "conf") if path.is_dir())
PROFILE = os.environ.get("MEDGRPO_PROFILE") or "laptop"
ConfigStore.instance().store(group="profile", name="default", node={"defaults": [PROFILE]})
NEXT = "\nSee what can be chosen: python -m medgrpo --help\nSee the config: add --cfg job"


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code (0 done, 2 the user's input, 1 anything else)."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us, whole, instead of being printed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        argv = list(_translated(_resumed(sys.argv[1:] if argv is None else argv)))
        problems = _problems(argv)
        if problems:
            return _refuse(problems)
        sys.argv = [sys.argv[0], *argv]
        hydra_main(config_path=str(CONF), config_name="config", version_base="1.3")(_task)()
    except UserError as error:
        print(f"medgrpo: {error}", file=sys.stderr)
        return 2
    except (HydraException, OmegaConfBaseException) as error:
        return _refuse([_one_line(error)])
    except KeyboardInterrupt:
        print("medgrpo: interrupted", file=sys.stderr)
        return 130
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _task(cfg: DictConfig) -> float:
    if not sys.stderr.isatty():  # bars are for people; read by the libraries on import
        for library in ("HF_HUB", "HF_DATASETS"):
            os.environ.setdefault(f"{library}_DISABLE_PROGRESS_BARS", "1")
    from medgrpo.run import run

    return run(cfg)


def _refuse(problems: Sequence[str]) -> int:
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    print(f"medgrpo: {count}, nothing was started", file=sys.stderr)
    print("\n".join(f"  {problem}" for problem in problems) + NEXT, file=sys.stderr)
    return 2


def _translated(argv: list[str]) -> Iterator[str]:
    """The command in the words that Hydra needs for two things that users should not need.

    `trainer.args.X` may be any field of TRL's config, also one that no YAML lists; `output_dir`
    is where Hydra puts the run, or the sweep.
    """
    place = "hydra.sweep.dir" if {"-m", "--multirun"} & set(argv) else "hydra.run.dir"
    for arg in argv:
        if arg.startswith("trainer.args."):
            yield f"++{arg}"
        elif arg.startswith("output_dir="):
            yield f"{place}={arg.partition('=')[2]}"
        else:
            yield arg


def _problems(argv: list[str]) -> list[str]:
    """What is wrong with any job of this command, one line each; [] for questions to Hydra."""
    args = get_args_parser().parse_args(argv)
    if any((args.help, args.hydra_help, args.cfg, args.info, args.shell_completion)):
        return []
    found: dict[str, None] = {}  # a set that keeps the order
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for overrides in _jobs(args):
            found.update(dict.fromkeys(_job_problems(overrides)))
    return list(found)


def _jobs(args: Namespace) -> list[list[Override]]:
    """The overrides of every job: one for a run, the product of the choices for a sweep."""
    parser = OverridesParser.create()
    overrides = list(args.overrides)
    if args.config_dir:
        overrides.append(f"hydra.searchpath=[file://{Path(args.config_dir).absolute()}]")
    parsed = parser.parse_overrides(overrides)
    if not (args.multirun or any(override.is_sweep_override() for override in parsed)):
        return [parsed]
    return [parser.parse_overrides(job) for job in BasicSweeper.split_arguments(parsed, None)[0]]


def _job_problems(overrides: list[Override]) -> Iterator[str]:
    from medgrpo.config import validate

    groups = [override for override in overrides if _is_group(override)]
    bad_choices = [problem for override in groups for problem in _choice_problems(override)]
    yield from bad_choices
    if bad_choices:
        return
    # Values are set with ++ here: a key that does not exist is then a problem among the others,
    # with the nearest name that does, and not an exception that hides the rest.
    lines = [_forced(o) if o not in groups else str(o.input_line) for o in overrides]
    cfg = compose("config", lines, return_hydra_config=True)
    with open_dict(cfg):
        choices = cfg.pop("hydra").runtime.choices
    typed = {override.key_or_group for override in overrides if override not in groups}
    for problem in validate(cfg):
        yield f"{problem} [{_origin(problem.key, typed, choices)}]"


def _is_group(override: Override) -> bool:
    loader = GlobalHydra.instance().config_loader()
    return bool(loader.get_group_options(override.key_or_group, ObjectType.CONFIG))


def _choice_problems(override: Override) -> Iterator[str]:
    from medgrpo.config import unknown

    loader = GlobalHydra.instance().config_loader()
    options = loader.get_group_options(override.key_or_group, ObjectType.CONFIG)
    if override.is_delete():
        return
    value = override.value()
    for choice in value if isinstance(value, list) else [value]:
        if choice is not None and choice not in options:
            missing = unknown(str(choice), options, "choice")
            yield f"{override.key_or_group}={choice}: {missing.message} [command line]"


def _forced(override: Override) -> str:
    line = str(override.input_line)
    return line if line[0] in "+~" or line.startswith("hydra.") else f"++{line}"


def _origin(key: str, typed: set[str], choices: Mapping[str, str]) -> str:
    """Where a key was set: on the command line, or in the file of its group."""
    if any(key == name or key.startswith(f"{name}.") for name in typed):
        return "command line"
    group = key.partition(".")[0]
    return f"{group}/{choices[group]}.yaml" if choices.get(group) else "config.yaml"


def _one_line(error: Exception) -> str:
    """Hydra's message without its advice, which is about Hydra and not about this program."""
    lines = [line.strip() for line in f"{error}\n{error.__cause__ or ''}".splitlines()]
    told = dict.fromkeys(
        line
        for line in lines
        if line
        and not line.startswith(
            ("To append", "full_key", "object_type", "reference_type", "provider=")
        )
    )
    return " ".join(told)


def _resumed(argv: list[str]) -> list[str]:
    """With `resume=FOLDER`, the overrides that the folder was made with, before those typed."""
    folder = next((arg.partition("=")[2] for arg in argv if arg.startswith("resume=")), "null")
    if folder in ("null", ""):
        return argv
    recorded = Path(folder) / ".hydra" / "overrides.yaml"
    if not recorded.is_file():
        raise UserError(f"resume: {folder} is no run folder (it has no .hydra/overrides.yaml)")
    return [*OmegaConf.load(recorded), *argv, f"hydra.run.dir={folder}"]
