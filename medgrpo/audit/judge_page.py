"""`audit.grades=FILE`: the judged rewards of a config against answers that people have graded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from omegaconf import DictConfig
from rich.table import Table

from medgrpo.audit.grades import Graded, read_grades
from medgrpo.audit.people import FEW, against_people
from medgrpo.config.terminal import console as plain_console
from medgrpo.errors import UserError
from medgrpo.evaluation.rewarded import score_responses
from medgrpo.metrics.recorded import format_interval, format_number
from medgrpo.rewards.base import JudgedReward
from medgrpo.rundir import RunFolder, nan_to_null, replacing

log = logging.getLogger(__name__)

SHOWN = 20  # answers on the page about which judge and people differ most
_HERE = Path(__file__).parent

Scores = dict[str, list[float | None]]


def audit_judge(cfg: DictConfig, file: Path) -> None:
    """Write judge.json and judge.html of `cfg`'s judged rewards.

    Raises UserError where nothing is judged, or the file cannot be read.
    """
    graded = read_grades(file)
    if not any("judge" in node for node in cfg.rewards.values()):
        raise UserError("audit.grades: no reward asks a judge; choose rewards=[judges]")
    with ExitStack() as stack:
        scores = judged(cfg, graded, stack)
        again = judged(with_fresh_cache(cfg), graded, stack)
    own = [str(cfg.judge.get("model") or ""), str(cfg.model.get("name_or_path") or "")]
    found = {
        name: against_people(graded, values, own, cfg.prompt.style)
        | {"retest": _retest(values, again[name])}
        for name, values in scores.items()
    }
    folder = RunFolder(cfg.output_dir)
    found = nan_to_null(found)
    folder.write_json("judge.json", {"grades": str(file), "rows": len(graded), "rewards": found})
    _write_page(folder, file, graded, scores, found)
    _show(found, graded)
    print(f"Figures and disagreements side by side: {folder.path / 'judge.html'}")


def with_fresh_cache(cfg: DictConfig) -> DictConfig:
    """The same config with a judge that finds nothing of the first in its cache."""
    anew = deepcopy(cfg)
    for node in (anew.judge, *anew.judge.get("members", {}).values()):
        if "salt" in node:
            node.salt = f"{node.salt} asked again"
    return anew


def judged(cfg: DictConfig, graded: Sequence[Graded], stack: ExitStack) -> Scores:
    """The scores of each judged reward, in order; one that takes criteria gets each row's own."""
    from medgrpo.rewards.build import build_rewards, open_judge

    judge = open_judge(cfg, stack)
    scores: Scores = {}
    for criteria in dict.fromkeys(one.criteria for one in graded):
        places = [n for n, one in enumerate(graded) if one.criteria == criteria]
        about = _about(cfg, criteria)
        rewards = [r for r in build_rewards(about, judge) if isinstance(r, JudgedReward)]
        log.info("audit: %d answers%s", len(places), f" on {criteria[:60]!r}" if criteria else "")
        rows = [graded[place].row for place in places]
        found = score_responses(rewards, rows, [graded[place].completion for place in places])
        for name, values in found.items():
            column = scores.setdefault(name, [None] * len(graded))
            for place, value in zip(places, values, strict=True):
                column[place] = value
    return scores


def _about(cfg: DictConfig, criteria: str) -> DictConfig:
    """The config whose rewards ask about these criteria, where they take some."""
    about = deepcopy(cfg)
    for node in about.rewards.values():
        if criteria and "criteria" in node:
            node.criteria = criteria
            if "evaluation_steps" in node:
                node.evaluation_steps = ["Judge by this criterion and by nothing else."]
    return about


def _retest(first: Sequence[float | None], again: Sequence[float | None]) -> float | None:
    """The mean absolute difference when asked again."""
    pairs = [(a, b) for a, b in zip(first, again, strict=True) if None not in (a, b)]
    return sum(abs((a or 0.0) - (b or 0.0)) for a, b in pairs) / len(pairs) if pairs else None


def _write_page(
    folder: RunFolder, file: Path, graded: Sequence[Graded], scores: Scores, found: dict[str, Any]
) -> None:
    """One page without scripts: what was said of each reward, and where it differs most."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"number": format_number, "interval": format_interval}
    template = environment.from_string((_HERE / "judge.html.jinja").read_text("utf-8"))
    differing = {
        name: sorted(
            ((one, score) for one, score in zip(graded, values, strict=True) if score is not None),
            key=lambda pair: -abs(pair[1] - pair[0].human),
        )[:SHOWN]
        for name, values in scores.items()
    }
    css = (_HERE.parent / "page.css").read_text("utf-8")
    page = template.render(file=file.name, rows=len(graded), css=css, found=found, most=differing)
    with replacing(folder.path / "judge.html") as temporary:
        temporary.write_text(page, encoding="utf-8")


def _show(found: dict[str, Any], graded: Sequence[Graded]) -> None:
    console = plain_console()
    table = Table(
        "reward", "n", "kappa", "macro F1", "AUROC (95 %)", "leniency", "retest", box=None,
        title=f"{len(graded)} answers that people graded",
    )  # fmt: skip
    for name, of in found.items():
        area = (
            f"{format_number(of['auroc'], 2, '-')} {format_interval(of['auroc_interval'], 2, '')}"
        )
        agreement = [format_number(of["agreement"][key], 2, "-") for key in ("kappa", "macro_f1")]
        ends = [format_number(of[key], 2, "-") for key in ("leniency", "retest")]
        table.add_row(name, str(of["n"]), *agreement, area, *ends)
    raters = next(iter(found.values()))["raters"]
    if raters["n"]:
        both = [format_number(raters[key], 2, "-") for key in ("kappa", "macro_f1")]
        table.add_row("the raters, each other", "", *both, "", "", "")
    console.print(table)
    for name, of in found.items():
        for line in of["named"]:
            console.print(f"{name}: {line}")
        if not of["named"]:
            few = f", for {of['n']} answers are too few" if of["n"] < FEW else ""
            console.print(f"{name}: nothing found to hold against it{few}")
