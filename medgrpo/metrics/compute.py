"""From held-out predictions to the metrics of one stage: pure, so that anyone can recompute them.

What has no value (accuracy of no rows) is None, never NaN.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from medgrpo.metrics.base import Metric, aggregate, row_value
from medgrpo.metrics.intervals import wilson
from medgrpo.metrics.prediction import Prediction


def compute_metrics(
    predictions: Sequence[Prediction], metrics: Mapping[str, Metric], primary_metric: str
) -> dict[str, Any]:
    """A stage of evaluation.json: every metric by its name, None for "not defined".

    `primary` is the value of `primary_metric`, a key of `metrics`; binary metrics have an
    `<name>_interval`. Counts, classes, subgroups and rewards stand beside them.
    """
    values = {name: aggregate(metric, predictions) for name, metric in metrics.items()}
    labelled = [row for row in predictions if row["label"] is not None]
    return {
        "primary_metric": primary_metric,
        "primary": values[primary_metric],
        "n_primary": sum(map(metrics[primary_metric].about, predictions)),
        "n": len(predictions),
        "n_labelled": len(labelled),
        **values,
        **{
            f"{m.name}_interval": _interval(m, predictions)
            for m in metrics.values()
            if _has_interval(m)
        },
        **_details(predictions, metrics),
        "unparsed": sum(row["predicted"] is None for row in predictions),
        "k": max((len(row["votes"]) for row in labelled), default=0),
        **_classes(labelled),
        "groups": _groups(predictions, metrics[primary_metric]),
        "rewards": _reward_means(predictions),
    }


def _interval(metric: Metric, predictions: Sequence[Prediction]) -> tuple[float, float] | None:
    """The metric's own, or Wilson's, of one whose values are 0 or 1."""
    rows = [row for row in predictions if metric.about(row)]
    if own := getattr(metric, "interval", None):
        return own(rows)
    values = [row_value(metric, row) for row in rows]
    return wilson(sum(value == 1 for value in values), len(values))


def _has_interval(metric: Metric) -> bool:
    return metric.binary or hasattr(metric, "interval")


def _details(predictions: Sequence[Prediction], metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """What a metric has to say beside its value, as `<name>_details`."""
    return {
        f"{metric.name}_details": own(rows)
        for metric in metrics.values()
        if (own := getattr(metric, "details", None))
        and (rows := [row for row in predictions if metric.about(row)])
    }


def _classes(labelled: Sequence[Prediction]) -> dict[str, Any]:
    """How many rows each gold class has, and how many of them are answered right."""
    support = Counter(str(row["label"]) for row in labelled)
    right = Counter(str(row["label"]) for row in labelled if row["correct"])
    classes = sorted(support)
    return {
        "support": {label: support[label] for label in classes},
        "recall": {label: right[label] / support[label] for label in classes},
    }


def _groups(predictions: Sequence[Prediction], metric: Metric) -> dict[str, Any]:
    """The primary metric of each subgroup, with its interval if it has one."""
    groups = {}
    for name in sorted({row["group"] for row in predictions} - {""}):
        rows = [row for row in predictions if row["group"] == name]
        groups[name] = {
            "n": sum(map(metric.about, rows)),
            metric.name: aggregate(metric, rows),
            "interval": _interval(metric, rows) if _has_interval(metric) else None,
        }
    return groups


def _reward_means(predictions: Sequence[Prediction]) -> dict[str, dict[str, Any]]:
    """Each reward's mean over the rows of which it has a verdict."""
    means = {}
    for name in sorted({name for row in predictions for name in row["rewards"]}):
        scores = [row["rewards"].get(name) for row in predictions]
        known = [score for score in scores if score is not None]
        means[name] = {"n": len(known), "mean": sum(known) / len(known) if known else None}
    return means
