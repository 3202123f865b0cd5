"""`python -m medgrpo.audit`: the overrides of the run to come, and what its rewards pay for.

    python -m medgrpo.audit dataset=pubmedqa 'rewards=[judges,formats]' judge=openai
    python -m medgrpo.audit --rows 50 rewards.response_format.weight=3
    python -m medgrpo.audit judge=local_server audit.grades=graded.jsonl

Asks every configured reward about answers of known worth to held-out rows (see answers.py), with
the run's judge and no policy model. Prints and saves (audit.json, audit.parquet in the run
folder) what each reward pays for.

With `audit.grades`, a file of answers that people have graded (docs/judges.md has its form), it
holds each judged reward against them instead: agreement, biases, and a page (judge.html).

Exit codes: 0, 1 when an exploit earns more than gold or something failed, 2 the user's input.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from medgrpo.audit.answers import CUT_OFF, GOLD, WRONG, candidates
from medgrpo.audit.figures import exploits, figures, totals
from medgrpo.audit.judge_page import audit_judge, with_fresh_cache
from medgrpo.audit.tables import show
from medgrpo.dataset.base import Benchmark
from medgrpo.dataset.example import Example
from medgrpo.errors import RunStopped, UserError
from medgrpo.evaluation.rewarded import score_responses
from medgrpo.rewards.base import JudgedReward, Reward

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

_GRADES = "audit.grades="


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    from medgrpo.cli import main as run_command

    parser = argparse.ArgumentParser(
        prog="python -m medgrpo.audit", description=__doc__, allow_abbrev=False,
        usage="python -m medgrpo.audit [--rows ROWS] [audit.grades=FILE] [KEY=VALUE ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--rows", type=int, default=20, help="held-out rows (default: 20)")
    args, overrides = parser.parse_known_args(argv)
    if args.rows < 2:
        parser.error("--rows: at least 2")
    given = [value for value in overrides if value.startswith(_GRADES)]
    if given:
        file = Path(given[-1].removeprefix(_GRADES)).expanduser().absolute()
        rest = [value for value in overrides if value not in given]
        return run_command(rest, partial(audit_judge, file=file))
    return run_command(overrides, partial(audit, count=args.rows))


def audit(cfg: DictConfig, count: int) -> None:
    """Judge the rewards of `cfg` on its first `count` held-out rows.

    Raises RunStopped, naming the exploits, when one earns as much as gold under the weights.
    """
    from medgrpo.rewards.build import build_rewards, open_judge
    from medgrpo.rundir import RunFolder, nan_to_null

    rows = held_out(cfg, count)
    others = [*rows[1:], rows[0]]
    answers = [candidates(*pair, cfg.prompt.style) for pair in zip(rows, others, strict=True)]
    with ExitStack() as stack:
        judge = open_judge(cfg, stack)
        rewards = build_rewards(cfg, judge)
        log.info("audit: %d answers to %d rows", sum(map(len, answers)), len(rows))
        scores = scored(rewards, rows, answers)
        again = build_rewards(cfg, open_judge(with_fresh_cache(cfg), stack))
        retest = scored_again(again, rows, answers)
        bill = judge.report() if judge else None
    judged = [reward.__name__ for reward in rewards if isinstance(reward, JudgedReward)]
    weights = {reward.__name__: reward.weight for reward in rewards}
    scores["total"] = totals(scores, weights, judged)
    found: dict[str, Any] = {
        "rows": len(rows),
        "judge": judge.name if judge else None,
        "exploits": exploits(scores),
        "total_by_kind": scores.groupby("kind", sort=False)["total"].mean().to_dict(),
        "rewards": figures(scores, weights, retest),
        "cost": bill,
    }
    folder = RunFolder(cfg.output_dir)
    folder.write_json("audit.json", nan_to_null(found))
    folder.write_parquet("audit.parquet", records(scores))
    show(found, weights)
    print(f"Every answer and its scores: {folder.path / 'audit.parquet'}")
    if found["exploits"]:
        named = ", ".join(f"{kind} (+{more:.2f})" for kind, more in found["exploits"].items())
        raise RunStopped(
            f"under these weights answers that are no answers earn as much as gold or more: {named}"
        )


def held_out(cfg: DictConfig, count: int) -> list[Example]:
    """The first `count` rows of the split that the run will be evaluated on.

    Of those with a rubric, that also have an answer: what is good has to be known.
    """
    from medgrpo.config.build import build

    dataset: Benchmark = build(cfg.dataset)
    split = dataset.load()[cfg.evaluation.get("split", "test")]
    answered = (row for row in split if row["answer"] or not row.get("rubric"))
    rows = list(islice(answered, count))
    if len(rows) < 2:
        known = " with a reference answer (dataset.answer)" if "rubric" in split.features else ""
        raise UserError(
            f"dataset: the audit needs 2 held-out rows{known} and there are {len(rows)}"
        )
    return rows


def scored(
    rewards: Sequence[Reward], rows: list[Example], answers: list[dict[str, str]]
) -> pd.DataFrame:
    """One line an answer: row, kind, words, completion and the score of each reward."""
    import numpy as np
    import pandas as pd

    asked = [
        (row, kind, text)
        for row, kinds in zip(rows, answers, strict=True)
        for kind, text in kinds.items()
    ]
    texts = [text for _, _, text in asked]
    cuts = [kind in CUT_OFF for _, kind, _ in asked]
    scores = score_responses(rewards, [row for row, _, _ in asked], texts, cuts)
    return pd.DataFrame(
        {
            "row": [row["id"] for row, _, _ in asked],
            "kind": [kind for _, kind, _ in asked],
            "words": [len(text.split()) for text in texts],
            "completion": texts,
            **{name: np.array(values, dtype=float) for name, values in scores.items()},
        }
    )


def scored_again(
    rewards: Sequence[Reward], rows: list[Example], answers: list[dict[str, str]]
) -> pd.DataFrame:
    """Gold and wrong answers once more, by the judged rewards alone; the index is `scored`'s."""
    judged = [reward for reward in rewards if isinstance(reward, JudgedReward)]
    few = [{kind: kinds[kind] for kind in (GOLD, WRONG)} for kinds in answers]
    again = scored(judged, rows, few)
    kinds = list(answers[0])
    again.index = [
        row * len(kinds) + kinds.index(kind) for row in range(len(rows)) for kind in (GOLD, WRONG)
    ]
    return again


def records(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """The lines of a table, None for a score that is missing."""
    rows: Any = scores.astype(object).where(scores.notna(), None).to_dict("records")
    return list(rows)


if __name__ == "__main__":
    sys.exit(main())
