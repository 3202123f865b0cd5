"""What the audit shows a person."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from medgrpo.audit.answers import GOLD
from medgrpo.terminal import console as plain_console

_COLUMNS = {
    "mean": "mean",
    "sd": "sd",
    "variance_share": "share",
    "auroc": "AUROC",
    "kappa": "kappa",
    "retest": "retest",
    "length_rho": "length",
}


def show(found: dict[str, Any], weights: dict[str, float]) -> None:
    """The two tables, and what they mean where that is not plain."""
    console = plain_console()
    gold = found["total_by_kind"][GOLD]
    kinds = Table(
        "answer", "earns", "against gold", title=f"{found['rows']} held-out rows", box=None
    )
    for kind, total in found["total_by_kind"].items():
        mark = "  EXPLOIT" if kind in found["exploits"] else ""
        kinds.add_row(kind, f"{total:.3f}", f"{total - gold:+.3f}{mark}")
    rewards = Table(
        "reward", "weight", "mean", "sd", "share", "AUROC", "kappa", "retest", "length", box=None
    )
    for name, of in found["rewards"].items():
        shown = ["-" if of[key] is None else f"{of[key]:.2f}" for key in _COLUMNS]
        rewards.add_row(name, f"{weights[name]:g}", *shown)
    console.print(kinds)
    console.print(rewards)
    console.print(
        "share: of the variance within rows, which is what GRPO learns from. AUROC, kappa: gold "
        "told from wrong. retest: mean difference when asked again. length: rank correlation "
        "with length over wrong answers.",
    )
    for pair, value in alike(found["rewards"]).items():
        console.print(f"{pair[0]} and {pair[1]} say nearly the same (r = {value:.2f})")
    if found["judge"] == "lexical":
        console.print(
            "judge=lexical counts words and whoever copies the right words fools it: what judged "
            "rewards earn above says that the run works, not what a judge would think."
        )
    if found["cost"] and found["cost"]["total"]["calls"]:
        bill = found["cost"]["total"]
        console.print(
            f"judge {found['judge']}: {bill['verdicts']} verdicts, {bill['failures']} missing, "
            f"{bill['calls']} calls, ${bill['cost']:.4f}"
        )


def alike(rewards: dict[str, dict[str, Any]]) -> dict[tuple[str, str], float]:
    """Pairs of rewards with a correlation of at least 0.9."""
    return {
        (one, other): value
        for one, of in rewards.items()
        for other, value in of["correlations"].items()
        if one < other and value is not None and value >= 0.9
    }
