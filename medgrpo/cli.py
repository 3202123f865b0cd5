"""The command line: check every job of the command, and only then let Hydra start work.

Hydra by itself creates the run folder before the run function sees the config, and reports one
problem at a time. Here a mistake costs no folder and no minute, and all mistakes are shown at
once. Nothing heavy is imported before the run function is called.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import textwrap
import traceback
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from hydra import main as hydra_main
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from medgrpo import __version__
from medgrpo.config import accumulation  # noqa: F401  (a resolver of conf/)
from medgrpo.config.check import check
from medgrpo.config.compose import Sweep
from medgrpo.config.foreign import brought, read_yaml
from medgrpo.config.overrides import choices, key_of, quoted, translated
from medgrpo.config.provenance import CONF
from medgrpo.config.signature import is_own
from medgrpo.config.terminal import printable
from medgrpo.errors import RunStopped, UserError
from medgrpo.job import owned, run_job
from medgrpo.rundir import FORMAT, RunFolder
from medgrpo.sweep import compare_jobs, hydra_overrides, recorded_overrides

NEXT = "Choices: python -m medgrpo --help  The whole config: add --cfg job"


def help_item(override: str, choices: Sequence[str]) -> str:
    """A line of --help (conf/hydra/medgrpo.yaml), with the choices that the config has."""
    text = f"  {override:<30} one of {', '.join(choices)}"
    return textwrap.fill(text, 80, subsequent_indent=" " * 4)


def help_groups() -> str:
    """All groups with their choices, those of a folder of the user's included."""
    groups = GlobalHydra.instance().config_loader().list_groups("")
    shown = {name: ", ".join(choices(name)) for name in groups if name != "hydra"}
    shown["suite"] = "[medqa, ...]: any of the datasets, answered as well"
    lines = (f"{name}: {one}" for name, one in shown.items())
    return "\n".join(textwrap.fill(line, 80, subsequent_indent="  ") for line in lines)


OmegaConf.register_new_resolver("help_item", help_item, replace=True)
OmegaConf.register_new_resolver("help_groups", help_groups, replace=True)


def main(argv: list[str] | None = None, task: Callable[[DictConfig], object] | None = None) -> int:
    """Run the command line; returns the exit code (0 done, 2 the user's input, 1 anything else).

    `task` is what is done with each job's config: a run, unless another command says otherwise.
    """

    def started(cfg: DictConfig) -> object:  # Hydra needs a plain function
        try:
            return (task or _task)(cfg)
        except (UserError, RunStopped) as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise  # Hydra names the job, and continues with the remaining jobs
            raise SystemExit(_report_error(error)) from error

    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us, whole, instead of being printed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    stack = ExitStack()
    try:
        argv, problems, sweep = _checked(sys.argv[1:] if argv is None else argv)
        if problems:
            return _refuse(problems)
        sys.argv = [sys.argv[0], *argv, *(hydra_overrides(sweep) if sweep else [])]
        if sweep:
            stack.enter_context(owned(Path(sweep.folder)))
            stack.callback(compare_jobs, Path(sweep.folder))
        hydra_main(config_path=str(CONF), config_name="config", version_base="1.3")(started)()
    except (UserError, RunStopped) as error:
        return _report_error(error)
    except KeyboardInterrupt:
        print("medgrpo: interrupted", file=sys.stderr)
        return 130
    except Exception:
        return _failed(argv or [])
    finally:
        stack.close()
    return 0


def _report_error(error: UserError | RunStopped) -> int:
    """Show what ended the command; returns its exit code."""
    print(f"medgrpo: {printable(error)}", file=sys.stderr)
    return 2 if isinstance(error, UserError) else 1


def _task(cfg: DictConfig) -> float:
    return run_job(cfg)


def _checked(argv: list[str]) -> tuple[list[str], list[str], Sweep | None]:
    """The command in Hydra's words, what is wrong with it, and the sweep that it starts."""
    try:
        args = _parsed(argv)
        folder = _folder_to_resume(args)
        run = RunFolder(folder) if folder else None
        recorded = run.settings() if run and run.has_checkpoints else {}
        argv = list(translated(_resumed(argv, args, folder) if folder else argv))
        args = _parsed(argv)
    except UserError as error:
        return argv, [str(error)], None
    return argv, *(([], None) if _is_question(args) else check(args, recorded))


def _is_question(args: Namespace) -> bool:
    """Whether Hydra answers this command by itself; it writes nothing then."""
    return any((args.cfg, args.info, args.help, args.hydra_help, args.shell_completion))


def _failed(argv: list[str]) -> int:
    """Tell of the exception at hand: a question about what cannot be composed, or an error."""
    args = _parsed(argv)
    problems = check(args)[0] if _is_question(args) else []
    if problems:
        return _refuse(problems)
    print(printable(traceback.format_exc()), end="", file=sys.stderr)
    return 1


def _refuse(problems: Sequence[str]) -> int:
    """Show the problems: one line each, folded only where a person reads them."""
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    print(f"medgrpo: {count}, nothing was started", file=sys.stderr)
    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else sys.maxsize
    fold = textwrap.TextWrapper(
        width, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False
    )
    for problem in problems:
        print(printable(fold.fill(problem)), file=sys.stderr)
    print(NEXT, file=sys.stderr)
    return 2


def _parsed(argv: list[str]) -> Namespace:
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message} (flags such as -m stand before all KEY=VALUE)")

    parser.error = refuse
    args = parser.parse_args(argv)
    if args.config_path or args.experimental_rerun:
        raise UserError("--config-path, --experimental-rerun: use --config-dir and resume=")
    if sum(map(bool, (args.run, args.multirun, args.cfg, args.info, args.shell_completion))) > 1:
        raise UserError("--run, --multirun, --cfg, --info and --shell-completion: only one of them")
    if args.resolve and not args.cfg:
        raise UserError("--resolve: goes with --cfg")
    return args


def _folder_to_resume(args: Namespace) -> str | None:
    """What `resume=` names."""
    typed = {key_of(arg): arg.partition("=")[2] for arg in args.overrides}
    folder = typed.get("resume") or "null"
    if folder == "null":
        return None
    if "output_dir" in typed:
        raise UserError("resume: a run resumes in its own folder; leave out output_dir")
    return folder


def _resumed(argv: list[str], args: Namespace, folder: str) -> list[str]:
    """The command with the overrides that `folder` was made with, unless retyped.

    The folder of a sweep makes it a sweep again.
    """
    typed = {key_of(arg): arg.partition("=")[2] for arg in args.overrides}
    _refuse_other_format(Path(folder))
    sweep = recorded_overrides(folder)
    if sweep is not None:
        kept = brought(sweep, folder, typed, own=is_own(Path(folder) / "multirun.yaml"))
        flag = [] if args.multirun else ["--multirun"]
        return [*flag, *argv, *kept, f"hydra.sweep.dir={quoted(folder)}"]
    recorded = Path(folder) / ".hydra" / "overrides.yaml"
    if not recorded.is_file():
        raise UserError(f"resume (command line): {folder} is no run folder (no {recorded} there)")
    if args.multirun:
        raise UserError(f"resume: {folder} is one run and no sweep; leave out -m")
    kept = brought(read_yaml(recorded), folder, typed, own=is_own(recorded))
    return [*argv, *kept, f"hydra.run.dir={quoted(folder)}"]


def _refuse_other_format(folder: Path) -> None:
    """A run, or a job of a sweep, that another version wrote would go on under other settings."""
    for summary in (*folder.glob("summary.json"), *folder.glob("*/summary.json")):
        if writer := RunFolder(summary.parent).other_writer():
            raise UserError(
                f"resume: {summary.parent} was written by {writer}, and this is medgrpo "
                f"{__version__} in format {FORMAT}: resume it with that version, or run it anew"
            )
