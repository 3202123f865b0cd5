"""Compare runs by what lies in their folders: rank them, and say which differences are real.

`report` is what `python -m medgrpo.compare` does; `load` gives a notebook the same runs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medgrpo.compare.comparison import Comparison, compare
from medgrpo.compare.page import write_page
from medgrpo.compare.table import print_comparison

if TYPE_CHECKING:
    import pandas as pd


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
