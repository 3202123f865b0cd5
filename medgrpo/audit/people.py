"""A judge held against people: how far they agree, and what sways the judge and not them.

All biases are looked for among answers that people grade alike: what people like, too, is no bias.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from medgrpo.answers.parse import Style
from medgrpo.answers.text import segments
from medgrpo.audit.grades import Graded
from medgrpo.metrics.settings import holm

if TYPE_CHECKING:
    import numpy as np

LEAST = 0.1  # of a judge's range, on average: a smaller bias is not named
FEW = 20  # answers: fewer show numbers, and accuse nobody
ALPHA = 0.05  # after Holm, over the biases of one reward
_DRAWS = 2000  # of permutations and bootstraps
_STRATA = 5  # of human grades, at most

_BOLD = re.compile(r"\*\*|__|^#+ ", re.MULTILINE)
_LIST = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s", re.MULTILINE)
_CONFIDENCE = re.compile(
    r"\b(certain(?:ly)?|definite(?:ly)?|clearly|undoubtedly|without (?:any )?doubt|100 ?%|as an? "
    r"(?:\w+ )?(?:physician|doctor|expert|specialist))\b",
    re.IGNORECASE,
)
_OTHER_SCRIPT = re.compile(r"[^\W\d_A-Za-z\u00c0-\u024f]")


def traits(own: Sequence[str], style: Style) -> dict[str, Callable[[Graded], float | None]]:
    """What may sway a judge, as a number a completion; None: it does not say.

    `own`: names of the judge's and the policy's models.
    """
    names = [name.rpartition("/")[2].casefold() for name in own if name]

    def by_itself(one: Graded) -> float | None:
        return float(one.model.rpartition("/")[2].casefold() in names) if one.model else None

    def foreign(one: Graded) -> float:
        if one.language:
            return float(not one.language.casefold().startswith("en"))
        letters = [sign for sign in one.completion if sign.isalpha()]
        return float(5 * len(_OTHER_SCRIPT.findall(one.completion)) > len(letters))

    return {
        "length": lambda one: math.log1p(len(segments(one.completion))),
        "position": lambda one: one.option(style),
        "bold": lambda one: float(bool(_BOLD.search(one.completion))),
        "lists": lambda one: float(len(_LIST.findall(one.completion)) > 1),
        "confidence": lambda one: float(bool(_CONFIDENCE.search(one.completion))),
        "self-preference": by_itself,
        "language": foreign,
    }


def against_people(
    graded: Sequence[Graded], scores: Sequence[float | None], own: Sequence[str], style: Style
) -> dict[str, Any]:
    """How one reward's `scores` go with the grades; None where a figure is not defined.

    `agreement` and `raters` have kappa and macro F1 (HealthBench's: each pair of a judge, or rater,
    and another rater is an observation), `auroc` an interval by bootstrap over rows, `leniency` the
    mean of score less grade with an interval, also by class, `biases` what each trait moves between
    answers that people grade alike, and `named` what has to be said of the judge.
    """
    import numpy as np

    known = [index for index, score in enumerate(scores) if score is not None]
    rows = [graded[index] for index in known]
    score = np.array([scores[index] for index in known], dtype=float)
    human = np.array([row.human for row in rows])
    found: dict[str, Any] = {"n": len(rows), "missing": 1 - len(rows) / len(graded)}
    pairs = zip(score, rows, strict=True)
    found["agreement"] = _pairs([(one >= 0.5, g >= 0.5) for one, row in pairs for g in row.grades])
    others = [
        (one >= 0.5, other >= 0.5)
        for row in rows
        for i, one in enumerate(row.grades)
        for j, other in enumerate(row.grades)
        if i != j
    ]
    found["raters"] = _pairs(others)
    found["auroc"], found["auroc_interval"] = _auroc(human >= 0.5, score)
    found["leniency"], found["leniency_interval"] = _mean(score - human)
    found["by_class"] = {
        name: {"n": int(of.sum()), "grade": _plain(human[of]), "score": _plain(score[of])}
        for name, of in (("good", human >= 0.5), ("bad", human < 0.5))
    }
    found["biases"] = _biases(rows, score, human, traits(own, style))
    found["named"] = _named(found)
    return found


def _pairs(pairs: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    """Cohen's kappa and macro F1 of (said, meant); None where one side always says the same."""
    from sklearn.metrics import cohen_kappa_score, f1_score

    said, meant = [bool(one) for one, _ in pairs], [bool(other) for _, other in pairs]
    if len(set(meant)) < 2:
        return {"n": len(pairs), "kappa": None, "macro_f1": None}
    kappa = float(cohen_kappa_score(said, meant))
    f1 = float(f1_score(meant, said, average="macro", labels=[False, True], zero_division=0))
    return {"n": len(pairs), "kappa": None if math.isnan(kappa) else kappa, "macro_f1": f1}


def _auroc(good: np.ndarray, score: np.ndarray) -> tuple[float | None, list[float] | None]:
    """How well scores tell good from bad, with a 95 % interval."""
    import numpy as np
    from scipy.stats import rankdata

    if good.all() or not good.any():
        return None, None
    draws = np.random.default_rng(0).integers(0, len(good), (_DRAWS, len(good)))
    draws[0] = np.arange(len(good))  # the rows as they are
    good, ranks = good[draws], rankdata(score[draws], axis=1)
    n = good.sum(axis=1)
    with np.errstate(invalid="ignore"):  # a draw of one class has no area
        areas = ((ranks * good).sum(axis=1) - n * (n + 1) / 2) / (n * (good.shape[1] - n))
    interval = np.nanquantile(areas[1:], [0.025, 0.975])
    return float(areas[0]), [float(value) for value in interval]


def _mean(values: np.ndarray) -> tuple[float | None, list[float] | None]:
    import numpy as np

    if len(values) < 2:
        return None, None
    draws = np.random.default_rng(0).integers(0, len(values), (_DRAWS, len(values)))
    interval = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return float(values.mean()), [float(value) for value in interval]


def _biases(
    rows: Sequence[Graded],
    score: np.ndarray,
    human: np.ndarray,
    found: dict[str, Callable[[Graded], float | None]],
) -> dict[str, dict[str, Any]]:
    """Of each trait that differs between rows: how much it moves the score, and Holm's p.

    `effect`: the mean score where the trait is above the mean of its stratum, less where it is not;
    strata are answers of the same human grade. p: by permutation of the trait within them.
    """
    import numpy as np

    strata = _strata(human)
    rng = np.random.default_rng(0)
    biases: dict[str, dict[str, Any]] = {}
    for name, trait in found.items():
        values = [trait(row) for row in rows]
        there = np.array([value is not None for value in values])
        trait_of = np.array([0.0 if value is None else value for value in values])[there]
        groups = [np.flatnonzero(strata[there] == one) for one in np.unique(strata[there])]
        high = np.zeros(len(trait_of), dtype=bool)
        residual = score[there].copy()
        for group in groups:
            high[group] = trait_of[group] > np.median(trait_of[group])
            if not high[group].any():
                high[group] = trait_of[group] > trait_of[group].min()
            residual[group] -= residual[group].mean()
        if not high.any() or high.all():
            continue
        effect = float(_difference(residual, high[None])[0])
        shuffled = np.tile(high, (_DRAWS, 1))
        for group in groups:
            shuffled[:, group] = rng.permuted(shuffled[:, group], axis=1)
        as_large = np.abs(_difference(residual, shuffled)) >= abs(effect) - 1e-12
        p = (1 + int(as_large.sum())) / (1 + _DRAWS)
        biases[name] = {"n": int(high.sum()), "effect": effect, "p": p}
    corrected = holm(np.array([bias["p"] for bias in biases.values()])).tolist()
    for bias, p_holm in zip(biases.values(), corrected, strict=True):
        bias["p_holm"] = p_holm
    return biases


def _difference(values: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The mean of `values` [n] where `high` [draws, n], less that elsewhere; [draws]."""
    n = high.sum(axis=1)
    return (high @ values) / n - (~high @ values) / (high.shape[1] - n)


def _strata(human: np.ndarray) -> np.ndarray:
    """A number for each row: rows of the same human grade, or of about the same."""
    import numpy as np

    if len(np.unique(human)) <= _STRATA:
        return np.unique(human, return_inverse=True)[1]
    edges = np.quantile(human, np.linspace(0, 1, _STRATA + 1)[1:-1])
    return np.searchsorted(edges, human, side="right")


def _named(found: dict[str, Any]) -> list[str]:
    """What a judge is accused of, in words; of few answers nothing can be said."""
    if found["n"] < FEW:
        return []
    named = []
    interval = found["auroc_interval"]
    if interval and interval[0] <= 0.5:
        named.append(f"random: tells good from bad by chance (AUROC {found['auroc']:.2f})")
    low, high = found["leniency_interval"] or (0.0, 0.0)
    lenient = found["leniency"] or 0.0
    if abs(lenient) >= LEAST and (low > 0 or high < 0):
        word = "lenient" if lenient > 0 else "strict"
        named.append(f"{word}: {lenient:+.2f} against people")
    for name, bias in found["biases"].items():
        if abs(bias["effect"]) >= LEAST and bias["p_holm"] < ALPHA:
            named.append(f"{name}: {bias['effect']:+.2f} where people see no difference")
    return named


def _plain(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
