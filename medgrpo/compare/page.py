"""The comparison as one HTML file that needs no network, no server and no account.

Data, style and script are inside; charts are SVG that the page's own script draws. (plotly would
bring 3.5 MB of script for two charts, and its parallel coordinates need WebGL.)
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from medgrpo.compare.comparison import Comparison
from medgrpo.compare.conclusions import conclusions, differing, label
from medgrpo.compare.records import POINTS, RunRecord
from medgrpo.compare.settings import Setting
from medgrpo.compare.statistics import as_text, differing_settings, value_of
from medgrpo.metrics.recorded import format_number
from medgrpo.rundir import nan_to_null, replacing

_HERE = Path(__file__).parent


def write_page(comparison: Comparison, path: Path, title: str) -> None:
    """Write the page at `path`."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters["format_number"] = format_number
    template = environment.from_string((_HERE / "page.html.jinja").read_text(encoding="utf-8"))
    data = json.dumps(nan_to_null(_data(comparison)), ensure_ascii=False, separators=(",", ":"))
    statuses = Counter(job.status for job in comparison.jobs)
    held_out: Counter[str] = Counter()  # rows, by test set
    for job in comparison.jobs:
        held_out[job.test_set] = max(held_out[job.test_set], job.rows or 0)
    page = template.render(
        title=title,
        counts=", ".join(f"{count} {status}" for status, count in statuses.most_common()),
        keys=comparison.keys,
        scores=_scores(comparison),
        conclusions=conclusions(comparison),
        points=POINTS,
        pairs=len(comparison.pairs),
        hypotheses=comparison.hypotheses,
        questions=len(comparison.questions),
        rows=held_out.total(),
        sets=comparison.sets,
        suites=_suites(comparison),
        css=(_HERE.parent / "page.css").read_text(encoding="utf-8"),
        js=(_HERE / "page.js").read_text(encoding="utf-8"),
        data=data.replace("<", "\\u003c"),  # no text of a model can end the script element
    )
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _suites(comparison: Comparison) -> list[tuple[str, dict[str, float | None]]]:
    """The scores of each run with a suite, under what sets it apart, or its folder."""
    names = differing(comparison.jobs, comparison.keys)
    return [(label(job, names) or job.name, job.suite) for job in comparison.jobs if job.suite]


def _scores(comparison: Comparison) -> list[str]:
    """What the scores are, in words."""
    specs = [job.spec for job in comparison.jobs if job.score is not None]
    names = [s.label if s.higher_is_better else f"{s.label} (lower is better)" for s in specs]
    return list(dict.fromkeys(names))


def _data(comparison: Comparison) -> dict[str, Any]:
    """What page.js reads; runs are named by their places in `jobs`."""
    jobs = comparison.jobs
    place = {id(job): number for number, job in enumerate(jobs)}
    return {
        "keys": comparison.keys,
        "jobs": [
            row
            | {"values": {key: value_of(job, key) for key in comparison.keys}}
            | {"digits": job.spec.digits, "effective": job.effective, "more": job.more}
            | {"asked": _asked(job)}
            | {"steps": job.steps, "curves": {k: _rounded(v) for k, v in job.curves.items()}}
            for job, row in zip(jobs, comparison.rows(), strict=True)
        ],
        "settings": [
            _setting(setting) | {"jobs": [place[id(job)] for job in setting.jobs]}
            for setting in comparison.settings
        ],
        "pairs": [vars(pair) for pair in comparison.pairs],
        "differing": {
            key: [as_text(job.config.get(key)) if job.config else None for job in jobs]
            for key in differing_settings(jobs)
        },
        "questions": [vars(question) for question in comparison.questions],
    }


def _asked(job: RunRecord) -> dict[str, Any]:
    """The weight of each reward in the run's config."""
    weights = {name: job.config.get(f"rewards.{name}.weight") for name in job.effective}
    return {name: weight for name, weight in weights.items() if weight is not None}


def _setting(setting: Setting) -> dict[str, Any]:
    """A setting's seeds and, where there is one, its contrast with the baseline, as JSON."""
    contrast = vars(setting.contrast) if setting.contrast else {}
    low, high = setting.interval or (None, None)
    return {
        "seeds": len(setting.seeds),
        "mean": setting.mean,
        "validation": setting.selection,
        "low": low,
        "high": high,
        "deviation": setting.deviation,
        "contrast": {name: float(value) for name, value in contrast.items()},
        "p_holm": setting.p_holm,
        "conclusion": setting.conclusion,
    }


def _rounded(values: list[float | None]) -> list[float | None]:
    return [None if value is None else float(f"{value:.4g}") for value in values]
