"""`python -m medgrpo.report RUN [RUN ...]`: make report.html and plots/ anew, and open them.

    python -m medgrpo.report outputs/X --open

From what lies in the folder alone, also of a run from another machine or an earlier version. Exit
codes: 0 done, 2 the user's input.
"""

from __future__ import annotations

import argparse
import sys
import webbrowser
from collections.abc import Sequence

from medgrpo.config.terminal import printable
from medgrpo.errors import UserError
from medgrpo.report.plots import plot_run
from medgrpo.report.run_report import trainings, write_report
from medgrpo.rundir import RunFolder


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m medgrpo.report", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    parser.add_argument("--open", action="store_true", help="open the pages in the browser")
    args = parser.parse_args(argv)
    try:
        for folder in map(RunFolder, args.runs):
            if not (folder.evaluation.is_file() and folder.passport.is_file()):
                raise UserError(f"{folder.path} holds no run that was evaluated")
            for part in trainings(folder):
                plot_run(part)
            write_report(folder)
            print(folder.report)
            if args.open:
                webbrowser.open(folder.report.as_uri())
    except UserError as error:
        print(f"medgrpo.report: {printable(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
