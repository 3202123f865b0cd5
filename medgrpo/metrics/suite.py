"""What several benchmarks say together: averages, and what got worse beyond chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from medgrpo.metrics.base import Metric, row_value
from medgrpo.metrics.paired import wilcoxon_p
from medgrpo.metrics.prediction import Prediction
from medgrpo.metrics.recorded import Evaluation
from medgrpo.metrics.settings import holm
from medgrpo.rundir import RunFolder

ALPHA = 0.05


class SetResult(NamedTuple):
    """One set's evaluation."""

    name: str
    metric: Metric  # its primary one
    evaluation: Evaluation
    answered: Mapping[str, Sequence[Prediction]]  # by stage
    in_domain: bool
    in_training: int


def summed_up(results: Sequence[SetResult], missing: Mapping[str, str]) -> dict[str, Any]:
    """The content of suite.json: `sets` by name, the `macro` averages by stage, what is `missing`.

    A set's `p` is that of its change from the first stage to the last (McNemar's exact test, or
    Wilcoxon's of values that are shares), `p_holm` the same corrected for all sets, and `forgotten`
    says that it got worse with `p_holm` < 0.05. Macro averages are means of primary metrics over
    sets, of those within the domain of the training and those outside apart; only sets that
    define theirs at every stage count, and `n` says how many do.
    """
    import numpy as np

    tests = [_p_value(result) for result in results]
    known = [p for p in tests if p is not None]
    corrected = iter(holm(np.array(known)).tolist() if known else [])
    sets = {}
    for result, p in zip(results, tests, strict=True):
        p_holm = None if p is None else next(corrected)
        sets[result.name] = _set(result, p, p_holm)
    return {"sets": sets, "macro": _macro(sets), "missing": dict(missing)}


def _set(result: SetResult, p: float | None, p_holm: float | None) -> dict[str, Any]:
    evaluation, metric = result.evaluation, result.metric
    spec = evaluation.spec(metric.name)
    pair = _pair(result)
    change = pair.get("difference")
    worse = change is not None and (change < 0) == metric.higher_is_better and change != 0
    return {
        "metric": metric.name,
        "label": spec.label,
        "digits": spec.digits,
        "higher_is_better": metric.higher_is_better,
        "n": evaluation.after["n_primary"],
        "in_domain": result.in_domain,
        "in_training": result.in_training,
        "stages": {
            stage: {
                "primary": found["primary"],
                "interval": found.get(f"{metric.name}_interval"),
                **{key: found.get(key) for key in ("majority_baseline", "random_baseline")},
                **{key: found[key] for key in ("unparsed", "answers_cached", "seconds_saved")},
            }
            for stage, found in evaluation.stages.items()
        },
        **{key: pair.get(key) for key in ("difference", "interval", "gained", "lost")},
        "p": p,
        "p_holm": p_holm,
        "forgotten": worse and p_holm is not None and p_holm < ALPHA,
    }


def _p_value(result: SetResult) -> float | None:
    """Of the change from the first stage to the last; None where there is none, or one stage."""
    import numpy as np

    if len(result.answered) < 2 or not result.evaluation.after["n_primary"]:
        return None
    pair = _pair(result)
    if pair["difference"] is None or result.metric.binary:
        return pair["mcnemar_p"]
    first, last = (result.answered[stage] for stage in _ends(result))
    values = [
        (row_value(result.metric, a), row_value(result.metric, b))
        for a, b in zip(first, last, strict=True)
    ]
    return wilcoxon_p(np.array([b - a for a, b in values if a is not None and b is not None]))


def _pair(result: SetResult) -> Mapping[str, Any]:
    """The last stage against the first; {} of a single stage."""
    pairs = {(one["from"], one["to"]): one for one in result.evaluation.paired}
    return pairs.get(_ends(result), {})


def _ends(result: SetResult) -> tuple[str, str]:
    stages = list(result.answered)
    return stages[0], stages[-1]


def _macro(sets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    chosen = {
        "all": list(sets.values()),
        "in_domain": [one for one in sets.values() if one["in_domain"]],
        "out_of_domain": [one for one in sets.values() if not one["in_domain"]],
    }
    return {name: _mean(found) for name, found in chosen.items() if found}


def _mean(sets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean primary metric by stage, of the `n` sets that define it at every stage."""
    values = [[stage["primary"] for stage in one["stages"].values()] for one in sets]
    known = [row for row in values if None not in row]
    means = [sum(column) / len(known) for column in zip(*known, strict=True)]
    return {"n": len(known), "stages": dict(zip(sets[0]["stages"], means, strict=False))}


def read_suite(folder: RunFolder) -> dict[str, Any]:
    """suite.json; {} of a run without a suite."""
    return folder.read_json(folder.suite) or {}


def conclusion(suite: Mapping[str, Any]) -> str:
    """What became of the sets in one line; "" where nothing was trained.

    >>> fallen = {"forgotten": True, "difference": -0.12, "p_holm": 0.003, "digits": 3}
    >>> conclusion({"sets": {"medqa": fallen, "bioasq": {**fallen, "forgotten": False}}})
    'Forgotten beyond chance (Holm, 2 sets): medqa -0.120 (p = 0.003)'
    """
    tested = {name: one for name, one in suite["sets"].items() if one["p_holm"] is not None}
    worse = [
        f"{name} {one['difference']:+.{one['digits']}f} (p = {one['p_holm']:.2g})"
        for name, one in tested.items()
        if one["forgotten"]
    ]
    if not tested:
        return ""
    over = f"(Holm, {len(tested)} set{'s' if len(tested) > 1 else ''})"
    return (
        f"Forgotten beyond chance {over}: {', '.join(worse)}"
        if worse
        else (f"Nothing got worse beyond chance {over}")
    )


def suite_scores(suite: Mapping[str, Any]) -> dict[str, float | None]:
    """By set, its primary metric at the last stage, and their mean as `macro`; {} without a suite.

    A set that could not be read is there, as None.
    """
    if not suite:
        return {}
    scores = {name: one["stages"]["after"]["primary"] for name, one in suite["sets"].items()}
    macro = suite["macro"].get("all", {}).get("stages", {}).get("after")
    return {**scores, **dict.fromkeys(suite["missing"]), "macro": macro}
