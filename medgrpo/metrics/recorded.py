"""Metrics as a run folder records them: for whoever shows or compares results without the config.

Nothing here builds a metric: what another machine wrote in evaluation.json is data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import Any, NamedTuple

import yaml

from medgrpo.config.provenance import CONF
from medgrpo.metrics.base import Metric, column_of
from medgrpo.rundir import RunFolder

Interval = Sequence[float] | None


@dataclass(frozen=True)
class MetricSpec:
    """What evaluation.json says of a metric: see `medgrpo.metrics.base.Metric`."""

    label: str
    digits: int = 3
    higher_is_better: bool = True
    for_texts: bool = False
    column: str | None = None  # of predictions.parquet; None: no row has a value

    @classmethod
    def of(cls, metric: Metric, primary_metric: str) -> MetricSpec:
        """What is to be recorded of a run's metric."""
        return cls(
            label=metric.label or metric.name.replace("_", " "),
            digits=metric.digits,
            higher_is_better=metric.higher_is_better,
            for_texts=metric.for_texts,
            column=column_of(metric, primary_metric),
        )


class Line(NamedTuple):
    """A metric in a table with a column for each stage."""

    label: str
    digits: int
    values: list[float | None]
    intervals: list[Interval]  # [] for a metric without


@dataclass(frozen=True)
class Evaluation:
    """evaluation.json, which a run of an earlier version (or one cut short) has less of."""

    stages: dict[str, dict[str, Any]]  # before, ..., after: what `compute_metrics` gives
    paired: list[dict[str, Any]] = field(default_factory=list)  # see `paired_metrics`
    metrics: dict[str, MetricSpec] = field(default_factory=dict)
    # what a sweep ranks the run by: split, n, primary, and by how many of these rows the checkpoint
    # was chosen (n_choosing); {} outside a sweep
    selection: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: RunFolder) -> Evaluation:
        """What the folder holds; without stages where nothing was evaluated."""
        stages = folder.read_json(folder.evaluation) or {}
        paired, recorded = stages.pop("paired", []), stages.pop("metrics", {})
        selection = stages.pop("selection", {})
        known = {spec.name for spec in fields(MetricSpec)}
        metrics = {
            name: MetricSpec(**{key: spec[key] for key in known & spec.keys()})
            for name, spec in recorded.items()
        }
        return cls(stages, paired, metrics, selection)

    def write(self, folder: RunFolder) -> None:
        """Write it: the stages, and `paired` and `metrics` beside them."""
        metrics = {name: asdict(spec) for name, spec in self.metrics.items()}
        beside = {"paired": self.paired, "metrics": metrics}
        beside |= {"selection": self.selection} if self.selection else {}
        folder.write_json(folder.evaluation, {**self.stages, **beside})

    @property
    def after(self) -> dict[str, Any]:
        """The last stage; {} where there is none."""
        return self.stages.get("after", {})

    @property
    def _rows(self) -> tuple[int, int]:
        """The rows of the last stage, and how many of them the primary metric is about."""
        return self.after["n"], self.after.get("n_primary", self.after["n"])

    @property
    def counts(self) -> str:
        """The rows of the last stage, and how many of them the primary metric is about."""
        n, about = self._rows
        label = self.spec(self.after["primary_metric"]).label
        return f"{n}" if about == n else f"{n}, {about} of them for {label}"

    @property
    def finding(self) -> str:
        """One sentence: what was found of the primary metric, and how sure it is. "" for nothing.

        A change is called one where its paired bootstrap interval leaves out zero.
        """
        after = self.after
        if after.get("primary") is None:
            return ""
        spec = self.spec(after["primary_metric"])
        label = spec.label[0].upper() + spec.label[1:]
        n, about = self._rows
        rows = f"{n if n == about else f'{about} of {n}'} held-out rows"
        value = format_number(after["primary"], spec.digits)
        pair = next((one for one in self.paired if one["to"] == "after"), {})
        if not pair or pair["difference"] is None or not pair.get("interval"):
            interval = after.get(f"{after['primary_metric']}_interval")
            sure = f", 95 % interval {format_interval(interval, spec.digits)}" if interval else ""
            return f"{label} is {value} on {rows}{sure}."
        low, high = pair["interval"]
        start = self.stages[pair["from"]]["primary"]
        change = (
            f"from {format_number(start, spec.digits)} to {value} on {rows} "
            f"({pair['difference']:+.3f}, 95 % interval {low:+.3f} to {high:+.3f})"
        )
        if low <= 0 <= high:
            return f"No change of {spec.label} was shown: {change}, which may be chance."
        rose = pair["difference"] > 0
        worse = "" if rose == spec.higher_is_better else ", which is worse"
        return f"{label} {'rose' if rose else 'fell'} {change}{worse}."

    @property
    def pair_lines(self) -> list[str]:
        """`after against before: +0.120 (95 % +0.041 to +0.199), 31 gained, 7 lost, p = 0.0001`"""
        return list(map(_pair_line, self.paired))

    @property
    def cuts(self) -> str:
        """What the last stage's prompts and responses lost; "" for nothing."""
        trimmed, cut = (self.after.get(key, 0) for key in ("prompts_trimmed", "responses_cut_off"))
        lost = [f"{trimmed} prompts lost passages to fit"] if trimmed else []
        lost += [f"{cut} responses were cut off at evaluation.max_new_tokens"] if cut else []
        return "; ".join(lost) and f"Of {self.after['n']} rows: {'; '.join(lost)}"

    @property
    def sources(self) -> list[str]:
        """Who answered, where that was not the run's model, and who graded by criteria, and how."""
        found, grader = [], self.after.get("grader")
        if answered := self.after.get("answered_by"):
            found.append(f"Answered by {answered}, not by the model of this run")
        if grader:
            stand_in = ", a stand-in that counts words" if grader["judge"] == "lexical" else ""
            way = "a question a criterion" if grader["calls"] == "each" else (
                "all criteria in one question, which is not HealthBench's protocol"
            )  # fmt: skip
            own = ", weights of one's own" if grader["weights"] else ""
            found.append(f"Graded by {grader['judge']}{stand_in}: {way}{own}")
        return found

    @property
    def more(self) -> dict[str, float | None]:
        """The last stage's metrics beyond the standard ones and the primary one, by label."""
        usual = {*_standard(), self.after.get("primary_metric")}
        return {
            spec.label: self.after.get(name)
            for name, spec in self.metrics.items()
            if name not in usual and self.after.get(name) is not None
        }

    @property
    def preferences(self) -> list[str]:
        """What the last stage's model picks options by, besides what they say; [] for nothing."""
        details = [value for key, value in self.after.items() if key.endswith("_details")]
        named = [one for detail in details for one in detail.get("preferences", [])]
        return [f"Chosen more often than chance explains: {one}" for one in named]

    def spec(self, metric: str) -> MetricSpec:
        """How a metric is shown and compared, also one of a run that did not record it."""
        column = "correct" if metric == "accuracy" else metric
        return self.metrics.get(metric) or MetricSpec(metric.replace("_", " "), column=column)

    def lines(self) -> Iterator[Line]:
        """The primary metric first, then every other that a stage defines, in their order."""
        primary = self.after["primary_metric"]
        all_labelled = self.after["n_labelled"] == self.after["n"]
        for name in dict.fromkeys([primary, *self.metrics]):
            spec = self.spec(name)
            values = [stage.get(name) for stage in self.stages.values()]
            repeats = spec.for_texts and all_labelled
            if name == primary or (not repeats and any(value is not None for value in values)):
                intervals = [stage.get(f"{name}_interval") for stage in self.stages.values()]
                yield Line(spec.label, spec.digits, values, intervals if any(intervals) else [])


def _pair_line(pair: dict[str, Any]) -> str:
    text = f"{pair['to']} against {pair['from']}:".replace("_", " ")
    if pair["difference"] is None:
        return f"{text} not defined"
    low, high = pair["interval"] or (None, None)
    interval = "" if low is None else f" (95 % {low:+.3f} to {high:+.3f})"
    p = "" if pair["mcnemar_p"] is None else f", p = {pair['mcnemar_p']:.2g}"
    rows = f"{pair['gained']} gained, {pair['lost']} lost"
    return f"{text} {pair['difference']:+.3f}{interval}, {rows}{p}"


@cache
def _standard() -> set[str]:
    """What every run measures."""
    return set(yaml.safe_load((CONF / "metrics" / "standard.yaml").read_text(encoding="utf-8")))


def format_number(value: float | None, digits: int = 3, missing: str = "–") -> str:
    """
    >>> format_number(0.1234), format_number(12.34, 1), format_number(None)
    ('0.123', '12.3', '–')
    """
    return missing if value is None else f"{value:.{digits}f}"


def format_interval(interval: Interval, digits: int = 3, missing: str = "") -> str:
    """
    >>> format_interval((0.3012, 0.9541))
    '0.301 to 0.954'
    """
    return missing if interval is None else f"{interval[0]:.{digits}f} to {interval[1]:.{digits}f}"
