"""`python -m medgrpo.replay RUN`: make a run again from its passport, and compare step by step.

    python -m medgrpo.replay outputs/X                 into outputs/X-replay
    python -m medgrpo.replay multirun/Y output_dir=Z   each job of a sweep, into Z
    python -m medgrpo.replay --check outputs/X         only what this machine would do otherwise

Judges' answers come from the cache where they lie in one; held-out rows are answered anew. What a
folder brings is data: only plain settings of it are typed again. Exit codes: 0 the same to the bit,
3 the same within a tolerance (1e-4), 4 it differs (the first difference is named, and what may be
why), 1 the run failed, 2 the user's input. With --check: 0 nothing differs, 4 something does.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medgrpo.config.foreign import brought, read_yaml
from medgrpo.config.overrides import quoted
from medgrpo.config.signature import is_own
from medgrpo.config.terminal import printable
from medgrpo.errors import UserError
from medgrpo.replay.passports import ANSWERS, Difference, passport_differences
from medgrpo.replay.results import result_differences
from medgrpo.rundir import RunFolder

SAME, FAILED, REFUSED, NEAR, DIFFERS = 0, 1, 2, 3, 4
OF_MACHINES = ("libraries", "git_commit", "git_diff_sha256", "python", "hardware", "platform")
REASONS = 8  # shown


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code, the worst of a sweep's jobs."""
    parser = argparse.ArgumentParser(
        prog="python -m medgrpo.replay", description=__doc__, allow_abbrev=False,
        usage="python -m medgrpo.replay [--check] FOLDER [output_dir=FOLDER] [KEY=VALUE ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folder", metavar="FOLDER", help="a run, or a sweep")
    parser.add_argument("typed", nargs="*", metavar="KEY=VALUE", help="what is to be otherwise")
    parser.add_argument(
        "--check", action="store_true", help="compare with this machine, run nothing"
    )
    args = parser.parse_intermixed_args(argv)
    try:
        typed = dict(override.partition("=")[::2] for override in args.typed)
        place = Path(typed.pop("output_dir", f"{args.folder.rstrip('/')}-replay"))
        codes = []
        for run in _runs(Path(args.folder)):
            print(f"{run.path.name}:", flush=True)
            target = place / run.path.relative_to(Path(args.folder).absolute())
            codes.append(_check(run) if args.check else _replay(run, target, typed))
        return max(codes, key=[SAME, NEAR, DIFFERS, FAILED].index)
    except UserError as error:
        print(f"medgrpo.replay: {printable(error)}", file=sys.stderr)
        return REFUSED


def _runs(folder: Path) -> list[RunFolder]:
    """The run, or the runs of a sweep. UserError where there is none that began to train."""
    files = [*folder.glob("passport.json"), *sorted(folder.glob("*/passport.json"))]
    if not files:
        raise UserError(f"{folder}: no run with a passport.json, nor a sweep of such runs")
    return [RunFolder(file.parent) for file in files]


def _check(run: RunFolder) -> int:
    from medgrpo.trainer.machine import this_machine

    return _tell(list(passport_differences(run.read_passport(), this_machine(), OF_MACHINES)))


def _tell(differences: Sequence[Difference]) -> int:
    """Print what differs from a passport."""
    for difference in differences[:REASONS]:
        print(f"  {printable(difference)}")
    if len(differences) > REASONS:
        print(f"  and {len(differences) - REASONS} more")
    if not differences:
        print("  nothing differs from its passport")
    return DIFFERS if differences else SAME


def _replay(run: RunFolder, place: Path, typed: dict[str, str]) -> int:
    """Make `run` again in `place`, compare, and print what was found."""
    if place.exists():
        raise UserError(f"output_dir: {place} is there already; name another")
    file = run.path / ".hydra" / "overrides.yaml"
    recorded = brought(read_yaml(file), str(run.path), typed, own=is_own(file))
    changed = {change["key"]: change["to"] for change in run.read_passport().get("changes", [])}
    anew = [*recorded, *(f"{key}={value}" for key, value in typed.items())]
    if changed:
        print(f"  it was resumed with other settings ({', '.join(changed)}): as if from the start")
        kept = {*changed, *typed}
        anew = [line for line in anew if line.lstrip("+").partition("=")[0] not in kept]
        anew += [f"{key}={_typed(value)}" for key, value in changed.items() if key not in typed]
    anew += [f"++{ANSWERS}=null"] * (ANSWERS not in typed)  # those of the run would be its own
    command = [sys.executable, "-m", "medgrpo", *anew, "hydra.mode=RUN"]
    place.parent.mkdir(parents=True, exist_ok=True)
    log = place.with_name(f"{place.name}.log")
    with log.open("wb") as output:
        done = subprocess.run(
            [*command, f"output_dir={quoted(str(place))}"],
            stdout=output, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    if done.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
        print(f"  failed (exit code {done.returncode}): {printable(lines[-1])}; all of it: {log}")
        return FAILED
    log.replace(place / "replay.log")
    return _compare(run, RunFolder(place))


def _compare(run: RunFolder, again: RunFolder) -> int:
    found = list(result_differences(run, again))
    reasons = list(passport_differences(run.read_passport(), again.read_passport()))
    if not found:
        print(f"  the same to the bit{', though not all is as it was' if reasons else ''}")
        if reasons:
            _tell(reasons)
        return SAME
    near = all(difference.near for difference in found)
    print(f"  {'the same within 1e-4' if near else 'it differs'}: first, {printable(found[0])}")
    print(f"  what may be why{'' if reasons else ': nothing that the passports know of'}")
    if reasons:
        _tell(reasons)
    return NEAR if near else DIFFERS


def _typed(value: Any) -> Any:
    return "null" if value is None else value


if __name__ == "__main__":
    sys.exit(main())
