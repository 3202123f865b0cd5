"""`python -m medgrpo.compare FOLDER...`: rank runs, and say which differences are real."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from medgrpo.compare import report
from medgrpo.errors import UserError
from medgrpo.terminal import printable


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (0 done, 2 the user's input)."""
    parser = argparse.ArgumentParser(
        prog="python -m medgrpo.compare",
        description="Compare runs by what lies in their folders: a ranked table here, and "
        "comparison.html and comparison.csv in the first folder.",
    )
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="a sweep, or a run")
    parser.add_argument("--output", metavar="FOLDER", help="write the two files there instead")
    parser.add_argument(
        "--wandb",
        metavar="ENTITY/PROJECT",
        help="also save a workspace of the (first) sweep in W&B",
    )
    args = parser.parse_args(argv)
    try:
        comparison = report(args.folders, args.output or args.folders[0])
        if args.wandb:
            from medgrpo.compare.workspace import save_workspace

            group = Path(args.folders[0]).absolute().name
            print(f"W&B: {save_workspace(comparison, args.wandb, group)}")
    except UserError as error:
        print(f"medgrpo.compare: {printable(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
