"""`python -m medgrpo.compare FOLDER...`: rank runs, and say which differences are real.

Also the way into a notebook: `load` gives the same runs as a DataFrame.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medgrpo.errors import UserError
from medgrpo.report.comparison import Comparison, compare
from medgrpo.report.comparison_page import write_page
from medgrpo.report.comparison_table import print_comparison

if TYPE_CHECKING:
    import pandas as pd


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
            from medgrpo.report.comparison_workspace import save_workspace

            group = Path(args.folders[0]).absolute().name
            print(f"W&B: {save_workspace(comparison, args.wandb, group)}")
    except UserError as error:
        print(f"medgrpo.compare: {error}", file=sys.stderr)
        return 2
    return 0


def report(folders: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]) -> Comparison:
    """Print the comparison of `folders` and write comparison.html and .csv into `output`."""
    comparison = compare(folders)
    print_comparison(comparison)
    title = "Comparison of " + ", ".join(Path(folder).absolute().name for folder in folders)
    comparison.write_csv(Path(output) / "comparison.csv")
    write_page(comparison, Path(output) / "comparison.html", title)
    print(f"Tables, curves and tests: {Path(output) / 'comparison.html'}")
    return comparison


def load(*folders: str | os.PathLike[str]) -> pd.DataFrame:
    """The runs in or below `folders`, a row each with the columns of comparison.csv, best first.

    Settings are text, as typed; `curves` holds a run's training curves as a DataFrame over `step`.
    """
    import pandas as pd

    comparison = compare(folders)
    runs = pd.DataFrame(comparison.rows())
    curves = [
        pd.DataFrame(job.curves, index=pd.Index(job.steps, name="step"), dtype=float)
        for job in comparison.jobs
    ]
    return runs.assign(curves=pd.Series(curves, dtype=object))


if __name__ == "__main__":
    sys.exit(main())
