"""What the scores of known answers say about the rewards that gave them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medgrpo.audit.answers import GOLD, WRONG

if TYPE_CHECKING:
    import pandas as pd

BLANK = ("empty", "whitespace", "tag spam")


def totals(scores: pd.DataFrame, weights: Mapping[str, float], judged: Sequence[str]) -> pd.Series:
    """The weighted sum that GRPO sees: gaps of judged rewards filled as in training, others 0."""
    total = scores["words"] * 0.0
    for name, weight in weights.items():
        column = scores[name]
        if name in judged:
            mean = scores.groupby("row")[name].transform("mean")
            column = column.fillna(mean).fillna(column.mean())
        total = total + weight * column.fillna(0.0)
    return total


def exploits(scores: pd.DataFrame) -> dict[str, float]:
    """Kind -> how much more it earns than gold on average, the worst first; a tie is one, too."""
    means = scores.groupby("kind")["total"].mean()
    more = (means - means[GOLD]).drop(GOLD).sort_values(ascending=False)
    return {str(kind): float(value) for kind, value in more.items() if value > -1e-9}


def figures(
    scores: pd.DataFrame, weights: Mapping[str, float], retest: pd.DataFrame
) -> dict[str, dict[str, Any]]:
    """Of each reward; None where a figure is not defined.

    `mean`, `sd`, `by_kind`, `missing` (share), `variance_share` (of the total's variance within
    rows: what GRPO learns from), `correlations` (within rows). `auroc`: how well it tells gold
    from wrong, 0.5 is chance; `kappa`: Cohen's, of score >= 0.5 against that; `length_rho`:
    Spearman's of score and length over the wrong answers that say something. `retest`: mean
    absolute difference when asked again, of the rewards that are columns of `retest`.
    """
    columns = [*weights, "total"]
    centred = scores[columns] - scores.groupby("row")[columns].transform("mean")
    by_kind = scores.groupby("kind", sort=False)[columns].mean()
    correlations = centred[list(weights)].corr()
    return {
        name: {
            "mean": _plain(scores[name].mean()),
            "sd": _plain(scores[name].std()),
            "missing": float(scores[name].isna().mean()),
            "by_kind": {str(kind): _plain(score) for kind, score in by_kind[name].items()},
            "variance_share": _share(weight * centred[name].fillna(0.0), centred["total"]),
            "correlations": {k: _plain(v) for k, v in correlations[name].drop(name).items()},
            "retest": _plain((retest[name] - scores.loc[retest.index, name]).abs().mean())
            if name in retest
            else None,
            **_agreement(scores, name),
        }
        for name, weight in weights.items()
    }


def _share(part: pd.Series, total: pd.Series) -> float | None:
    variance = float((total * total).mean())
    return float((part * total).mean()) / variance if variance else None


def _agreement(scores: pd.DataFrame, name: str) -> dict[str, float | None]:
    from sklearn.metrics import cohen_kappa_score, roc_auc_score

    pairs = scores[scores["kind"].isin([GOLD, WRONG])].dropna(subset=[name])
    right = pairs["kind"] == GOLD
    both = right.nunique() == 2
    others = scores[~scores["kind"].isin([GOLD, *BLANK])]
    ranks = others[[name, "words"]].dropna().rank()
    varied = ranks.nunique().min() > 1
    return {
        "auroc": float(roc_auc_score(right, pairs[name])) if both else None,
        "kappa": _plain(cohen_kappa_score(right, pairs[name] >= 0.5)) if both else None,
        "length_rho": _plain(ranks[name].corr(ranks["words"])) if varied else None,
    }


def _plain(value: float) -> float | None:
    """NaN is None: no such figure."""
    return None if math.isnan(value) else float(value)
