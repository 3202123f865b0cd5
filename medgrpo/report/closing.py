"""The last thing a run shows: what training changed, and where everything lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from medgrpo.config.terminal import console as plain_console
from medgrpo.metrics.recorded import Evaluation, format_interval, format_number
from medgrpo.metrics.suite import conclusion, read_suite
from medgrpo.rundir import RunFolder
from medgrpo.tracking.metrics_log import read_log, tenths

COLUMNS = 80

_FILES = {
    "report.html": "all of this and more, to look at",
    "evaluation.json": "held-out metrics, paired tests of before and after",
    "predictions.parquet": "every held-out answer",
    "suite.json": "the suite's sets and averages; answers are in suite/",
    "evidently.html": "Evidently's report of after against before",
    "adapter": "the trained adapter, its tokenizer and model card",
    "merged_16bit": "the adapter merged into its model",
    "gguf": "the merged model as one file, for llama.cpp",
    "plots": "curves of the training",
    "watch.json": "alarms of the hacking watch, with completions",
    "completions": "what was sampled in training, with its rewards",
    "metrics.jsonl": "what training logged",
    "passport.json": "command, versions, data fingerprint",
}


def closing_table(folder: RunFolder) -> None:
    """Print the held-out metrics of each stage, what changed, and the folder's contents.

    What has no value is shown as "-". Of a run that trained nothing there is one stage.
    """
    console = plain_console()
    console.width = min(COLUMNS, console.width)
    evaluation = Evaluation.read(folder)
    rows = _metric_rows(evaluation) + _reward_row(folder, len(evaluation.stages))
    table = Table(box=SIMPLE_HEAD, title=f"Held-out rows: {evaluation.counts}")
    table.add_column("metric", ratio=1)
    several = len(evaluation.stages) > 1
    columns = [*evaluation.stages, "difference"] if several else ["as it is"]
    for name in columns:
        table.add_column(name.replace("_", " "), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row[: 1 + len(columns)])
    console.print(table)
    if evaluation.finding:
        console.print(evaluation.finding)
    if suite := read_suite(folder):
        console.print(_suite_table(suite, list(evaluation.stages)))
    for line in (*_suite_lines(suite), *_lines(folder, evaluation)):
        console.print(line)
    if judge := folder.summary.get("judge"):
        console.print(_judge_line(judge["total"]))
        if judge["total"]["calls"]:
            console.print(_judge_table(judge))
    console.print(f"Everything is in {_short(folder.path)}", soft_wrap=True)
    for name, what in _FILES.items():
        path = folder.path / name
        if path.exists():
            console.print(f"  {name + '/' * path.is_dir():<20} {what}")


def _lines(folder: RunFolder, evaluation: Evaluation) -> Iterator[str]:
    """What goes with the metrics: how they came about, and what to be wary of."""
    if selection := evaluation.selection:
        score = format_number(selection["primary"], missing="-")
        yield f"Validation, which ranks the sweep: {score} on {selection['n']} rows"
    if evaluation.cuts:
        yield evaluation.cuts
    yield from evaluation.sources
    yield from evaluation.preferences
    details = evaluation.after.get("rubric_score_details") or {}
    for tag, one in details.get("tags", {}).items():
        yield f"  {tag:<40}{one['score']:.3f}  ({one['n']} rows)"
    yield from evaluation.pair_lines
    if best := folder.read_json(folder.best):
        yield _best_line(best)
    yield from (f"Watch: {alarm['text']}" for alarm in folder.read_watch())


def _suite_table(suite: Mapping[str, Any], stages: Sequence[str]) -> Table:
    """A line a set, by its primary metric, then the averages over sets."""
    table = Table(box=SIMPLE_HEAD, title="Suite: each set by its primary metric")
    table.add_column("set", ratio=1)
    several = ["difference", "p (Holm)"] if len(stages) > 1 else []
    for name in ("metric", "n", *stages, *several):
        table.add_column(name.replace("_", " "), justify="right", no_wrap=name != "metric")
    for name, one in suite["sets"].items():
        digits = one["digits"]
        values = [one["stages"][stage]["primary"] for stage in stages]
        mark = " (in)" if one["in_domain"] else ""
        p = "-" if one["p_holm"] is None else f"{one['p_holm']:.2g}"
        _, *shown = _row("", values, digits)
        change = [shown[-1], p] * bool(several)
        table.add_row(name + mark, one["label"], str(one["n"]), *shown[:-1], *change)
    for name, one in suite["macro"].items():
        _, *shown = _row("", [one["stages"].get(stage) for stage in stages])
        text = f"mean, {name.replace('_', ' ')}"
        sets = f"{one['n']} set{'s' * (one['n'] != 1)}"
        table.add_row(text, "", sets, *shown[: len(stages) + bool(several)])
    return table


def _suite_lines(suite: Mapping[str, Any]) -> Iterator[str]:
    """What got worse beyond chance, and what could not be read; nothing without a suite."""
    if not suite:
        return
    yield from filter(None, [conclusion(suite)])
    for name, why in suite["missing"].items():
        yield f"Missing from the suite: {name} ({why.splitlines()[0]})"


def _judge_line(total: Mapping[str, Any]) -> str:
    """What judging took, all rewards together (see medgrpo.judge.usage)."""
    estimated = " (tokens estimated)" if total["estimated"] else ""
    return (
        f"Judge: {total['verdicts']:,} verdicts, {total['failures']:,} failed, "
        f"{total['calls']:,} calls, {_again(total):,} answered again, "
        f"${total['cost']:.2f}{estimated}"
    )


def _judge_table(spent: Mapping[str, Mapping[str, Any]]) -> Table:
    """The same for each reward that asked, with tokens in and out, and seconds a call."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("reward", ratio=1)
    for name in ("verdicts", "failed", "calls", "again", "tokens", "p50/p95 s", "$"):
        table.add_column(name, justify="right", no_wrap=True)
    for reward, one in spent.items():
        counts = [one["verdicts"], one["failures"], one["calls"], _again(one)]
        seconds = [f"{one[name]:.1f}" for name in ("latency_p50", "latency_p95") if one[name]]
        table.add_row(
            reward,
            *map(str, counts),
            _thousands(one["tokens_in"] + one["tokens_out"]),
            "/".join(seconds) or "-",
            f"{one['cost']:.2f}",
        )
    return table


def _again(spent: Mapping[str, Any]) -> int:
    """Verdicts and calls that were not made, for the same one was there or under way."""
    return spent["cache_hits"] + spent["verdict_hits"] + spent["shared"]


def _thousands(count: int) -> str:
    return str(count) if count < 10_000 else f"{count / 1000:,.0f}k"


def _metric_rows(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """The primary metric first, each with its interval if it has one."""
    rows = []
    for metric in evaluation.lines():
        rows.append(_row(metric.label, metric.values, metric.digits))
        if metric.intervals:
            digits = 3 if len(metric.intervals) < 3 else 2
            spans = [format_interval(interval, digits, "-") for interval in metric.intervals]
            rows.append(("  95 % interval", *spans, ""))
    return rows


def _best_line(best: Mapping[str, Any]) -> str:
    if best["value"] is None:
        return f"Best checkpoint: the last, step {best['step']} (no validation rows were measured)"
    return f"Best checkpoint: step {best['step']}, by {best['measure']} = {best['value']:.4f}"


def _reward_row(folder: RunFolder, stages: int) -> list[tuple[str, ...]]:
    """The mean total reward of the first and of the last tenth of the logged steps."""
    ends = tenths(read_log(folder.metrics), "reward")
    return [_row("reward, first and last tenth", [None] * (stages - 2) + [*ends])] if ends else []


def _row(text: str, values: Sequence[float | None], digits: int = 3) -> tuple[str, ...]:
    shown = [format_number(value, digits, "-") for value in values]
    known = [value for value in values if value is not None]
    change = f"{known[-1] - known[0]:+.{digits}f}" if len(known) > 1 else "-"
    return text, *shown, change


def _short(path: Path) -> str:
    """Relative to where the user stands, if it lies below."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
