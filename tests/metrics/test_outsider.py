"""Every metric of a run's evaluation.json again, from predictions.parquet and libraries alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score, recall_score
from statsmodels.stats.proportion import proportion_confint


def recomputed(rows: pd.DataFrame) -> dict[str, Any]:
    """The metrics of one stage of a multiple-choice run, as an outsider would compute them."""
    said = rows.predicted.fillna("(unparsed)")
    parsed = rows[rows.predicted.notna()]
    classes = sorted(rows.label.unique())
    hits = int((said == rows.label).sum())
    voted = rows.votes.map(lambda votes: pd.Series(votes).dropna().mode(dropna=True))
    clear = [(list(vote), label) for vote, label in zip(voted, rows.label, strict=True)]
    return {
        "primary_metric": "accuracy",
        "n": len(rows),
        "n_labelled": int(rows.label.notna().sum()),
        "primary": accuracy_score(rows.label, said),
        "accuracy": accuracy_score(rows.label, said),
        "accuracy_interval": proportion_confint(hits, len(rows), method="wilson"),
        "accuracy_parsed": accuracy_score(parsed.label, parsed.predicted),
        "majority_baseline": rows.label.value_counts(normalize=True).max(),
        "random_baseline": (1 / rows.options.map(len)).mean(),
        "k": rows.votes.map(len).max(),
        "maj_at_k": (clear, len(rows)),
        "support": rows.label.value_counts().to_dict(),
        "recall": dict(
            zip(
                classes,
                recall_score(rows.label, said, labels=classes, average=None),
                strict=True,
            )
        ),
        "macro_f1": f1_score(rows.label, said, labels=classes, average="macro"),
        "list_f1": (said == rows.label).mean(),
        "n_primary": int(rows.label.notna().sum()),
        "token_f1": (said == rows.label).mean(),
        "unparsed": int(rows.predicted.isna().sum()),
        "unparsed_rate": rows.predicted.isna().mean(),
        "format_compliance": rows.complies.mean(),
        "mean_tokens": rows.tokens.mean(),
        "groups": {},
        "rewards": {
            name.removeprefix("reward/"): {
                "n": int(rows[name].notna().sum()),
                "mean": rows[name].mean() if rows[name].notna().any() else None,
            }
            for name in rows
            if name.startswith("reward/")
        },
    }


@pytest.fixture(scope="module")
def run(sft_run: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    evaluation = json.loads((sft_run / "evaluation.json").read_text())
    return evaluation, pd.read_parquet(sft_run / "predictions.parquet")


@pytest.mark.parametrize("stage", ["before", "after"])
def test_every_metric_of_a_stage(run: tuple[dict[str, Any], pd.DataFrame], stage: str) -> None:
    evaluation, table = run
    told, found = evaluation[stage], recomputed(table[table.stage == stage])
    assert told.pop("prompts_trimmed") == 0
    assert 0 <= told.pop("responses_cut_off") <= told["n"]
    assert (told.pop("answers_cached"), told.pop("seconds_saved")) == (0, 0)
    votes, n = found.pop("maj_at_k")
    sure = sum(label in vote for vote, label in votes if len(vote) == 1)
    ties = sum(label in vote for vote, label in votes if len(vote) > 1)
    assert sure / n <= told.pop("maj_at_k") <= (sure + ties) / n
    assert told.keys() == found.keys()
    for key, value in found.items():
        if isinstance(value, dict) and key == "rewards":
            assert told[key].keys() == value.keys()
            for name, facts in value.items():
                assert told[key][name] == {"n": facts["n"], "mean": pytest.approx(facts["mean"])}
        else:
            assert told[key] == (value if isinstance(value, str) else pytest.approx(value)), key


def test_the_paired_metrics(run: tuple[dict[str, Any], pd.DataFrame]) -> None:
    evaluation, table = run
    before, after = (
        table[table.stage == stage].set_index("id").correct.astype(float)
        for stage in ("before", "after")
    )
    change = after - before.loc[after.index]
    (told,) = evaluation["paired"]
    gained, lost = int((change > 0).sum()), int((change < 0).sum())
    assert (told["gained"], told["lost"], told["n"]) == (gained, lost, len(change))
    assert gained + lost > 0
    assert told["difference"] == pytest.approx(change.mean())
    assert told["mcnemar_p"] == pytest.approx(binomtest(gained, gained + lost).pvalue)
    draws = np.random.default_rng(9).choice(change, (20_000, len(change))).mean(axis=1)
    assert told["interval"] == pytest.approx(np.percentile(draws, [2.5, 97.5]), abs=0.05)
