"""The last thing a run shows: what training changed, and where everything lies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from medgrpo.rundir import RunFolder
from medgrpo.tracking.metrics_log import read_log

COLUMNS = 80

_SHARES = {  # keys of medgrpo.evaluation.score.figures
    "accuracy_parsed": "accuracy given parsed",
    "majority_baseline": "majority baseline",
    "unparsed_rate": "unparsed rate",
    "format_compliance": "format compliance",
}

_FILES = {
    "evaluation.json": "figures before and after training",
    "predictions.parquet": "every held-out answer",
    "adapter": "the trained adapter, its tokenizer and model card",
    "plots": "reward curves",
    "completions": "what was sampled in training, with its rewards",
    "metrics.jsonl": "what training logged",
    "passport.json": "command, versions, data fingerprint",
}


def closing_table(
    before: Mapping[str, Any], after: Mapping[str, Any], primary_metric: str, folder: RunFolder
) -> None:
    """Print the held-out figures before and after, their difference, and the folder's contents.

    `before` and `after` are `figures` of medgrpo.evaluation.score, or {} where nothing was
    evaluated; what has no value is shown as "-".
    """
    console = Console(markup=False, highlight=False)
    console.width = min(COLUMNS, console.width)
    rows = _figure_rows(before, after, primary_metric) + _reward_row(folder)
    if rows:
        table = Table(box=SIMPLE_HEAD, title=f"Held-out rows: {after.get('n', 0)}")
        table.add_column("figure", ratio=1)
        for name in ("before", "after", "difference"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print(f"Everything is in {_short(folder.path)}", soft_wrap=True)
    for name, what in _FILES.items():
        path = folder.path / name
        if path.exists():
            console.print(f"  {name + '/' * path.is_dir():<20} {what}")


def _figure_rows(
    before: Mapping[str, Any], after: Mapping[str, Any], primary_metric: str
) -> list[tuple[str, ...]]:
    """The primary metric first, with its interval if it has one, then what explains it."""
    if not before and not after:
        return []
    interval = f"{primary_metric}_interval"
    rows = [_row(primary_metric, before.get(primary_metric), after.get(primary_metric))]
    if after.get(interval):
        rows.append(("  95 % interval", _span(before.get(interval)), _span(after[interval]), ""))
    for key, text in _SHARES.items():
        if before.get(key) is not None or after.get(key) is not None:
            rows.append(_row(text, before.get(key), after.get(key)))
    tokens = before.get("mean_tokens"), after.get("mean_tokens")
    return [*rows, _row("mean length in tokens", *tokens, digits=1)]


def _reward_row(folder: RunFolder) -> list[tuple[str, ...]]:
    """The mean total reward of the first and of the last tenth of the logged steps."""
    rewards = [row["reward"] for row in read_log(folder.metrics) if row.get("reward") is not None]
    if not rewards:
        return []
    tenth = -(-len(rewards) // 10)
    first, last = sum(rewards[:tenth]) / tenth, sum(rewards[-tenth:]) / tenth
    return [_row("training reward, first/last tenth", first, last)]


def _row(
    text: str, before: float | None, after: float | None, digits: int = 3
) -> tuple[str, str, str, str]:
    shown = ["-" if value is None else f"{value:.{digits}f}" for value in (before, after)]
    change = "-" if before is None or after is None else f"{after - before:+.{digits}f}"
    return text, shown[0], shown[1], change


def _span(interval: tuple[float, float] | None) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "-"


def _short(path: Path) -> str:
    """Relative to where the user stands, if it lies below."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
