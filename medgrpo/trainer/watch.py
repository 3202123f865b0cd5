"""The hacking watch: a reward that rises while answers get no better is being gamed.

A judge, and a reward for form, can be pleased without a better answer (Gao et al. 2023, "Scaling
laws for reward model overoptimization", https://arxiv.org/abs/2210.10760). What answers are worth
is known all the same: sampled completions are read against the gold answer at every step, whatever
is rewarded, and the probe answers validation rows. The steps between two probes are a window. At
each probe the last window is compared with those before it: an alarm is a reward that rose since
the first one while answers got no better, or since a later one while they got worse, or that did
not notice that they got a lot worse. How much a curve moves by chance, the run's own steps say.
docs/judges.md has what the thresholds find in honest runs and in others.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

RISEN = 4.0  # standard errors, from which on a reward has risen
LEAST = 0.03  # of a reward's range: a smaller rise is not worth an alarm
NOT_RISEN = 1.0  # standard errors: since the first steps, answers got better by no more
FALLEN = -2.0  # standard errors: since later steps, answers got worse by so much; by -RISEN: a lot

DRIFT = ("completions/mean_length", "watch/repetition", "watch/distinct_answers")

History = Sequence[Mapping[str, Any]]  # what a trainer logged, several entries a step
Change = tuple[float, float]  # from, to


@dataclass(frozen=True)
class Alarm:
    """A reward that rose, or held, while answers did not; changes from earlier steps to the last.

    `score` is the primary metric of sampled completions, `probe` that of validation rows.
    """

    name: str  # of the reward
    step: int
    windows: tuple[int, int]  # the earlier one ends at that step, the last one begins after it
    reward: Change
    score: Change
    probe: Change
    length: Change  # mean, in tokens
    repetition: Change
    distinct_answers: Change

    def __str__(self) -> str:
        before, after = self.reward
        rose = f"rose from {before:.2f} to" if after - before >= LEAST else "stayed at"
        return (
            f"step {self.step}: {self.name} {rose} {after:.2f}, while answers got no better: "
            f"{self.score[0]:.2f} to {self.score[1]:.2f} in training, {self.probe[0]:.2f} to "
            f"{self.probe[1]:.2f} on validation rows"
        )


def alarms(
    history: History, rewards: Collection[str], *, higher_is_better: bool, probe_rows: int
) -> list[Alarm]:
    """The first alarm of each of the `rewards`, in their order of time.

    `probe_rows`: how many validation rows a probe is the mean of.
    """
    steps: dict[int, dict[str, Any]] = {}
    for row in history:
        steps.setdefault(row["step"], {}).update(row)
    probes = {step: row["eval_score"] for step, row in steps.items() if _has(row, "eval_score")}
    if not probe_rows:
        return []
    times = list(probes)
    logged = [row for row in steps.values() if "watch/score" in row]
    sign, by_chance = 1 if higher_is_better else -1, 0.5 / math.sqrt(probe_rows)
    found: dict[str, Alarm] = {}
    for now in range(2, len(times)):
        for then in range(1, now):
            curves = Curves.between(logged, *times[then - 1 : then + 1], *times[now - 1 : now + 1])
            start = 0 if then == 1 else then
            better = sign * (probes[times[now]] - probes[times[start]]) / by_chance
            risen = sign * curves.rise("watch/score")
            worse = better <= -2 and risen <= -RISEN
            if then == 1:
                no_better = better <= 1 and risen <= NOT_RISEN
            else:
                no_better = better <= -1 and risen <= FALLEN
            if min(len(curves.first), len(curves.last)) < 2:
                continue
            for name in rewards:
                key = f"rewards/{name}/mean"
                before, after = curves.change(key)
                rise = curves.rise(key)
                rose = after - before >= LEAST and rise >= RISEN
                held = after - before > -LEAST and rise > -NOT_RISEN
                if name in found or not ((rose and no_better) or (held and worse)):
                    continue
                probe = probes[times[start]], probes[times[now]]
                found[name] = Alarm(
                    name, times[now], (times[then], times[now - 1]), (before, after),
                    curves.change("watch/score"), probe, *map(curves.change, DRIFT),
                )  # fmt: skip
    return list(found.values())


@dataclass(frozen=True)
class Curves:
    """What was logged in an earlier window and in the last one."""

    first: History
    last: History
    until: History  # the end of the last one: all rows, whose noise is that of both

    @classmethod
    def between(cls, rows: History, start: int, end: int, since: int, now: int) -> Curves:
        """Those of steps (start, end] and (since, now]."""
        return cls(
            [row for row in rows if start < row["step"] <= end],
            [row for row in rows if since < row["step"] <= now],
            [row for row in rows if row["step"] <= now],
        )

    def change(self, key: str) -> Change:
        """The means of the two windows; NaN for one that has no value."""
        return _mean(_values(self.first, key)), _mean(_values(self.last, key))

    def rise(self, key: str) -> float:
        """By how many standard errors the last window is above the first; NaN: unknown.

        The noise of a step is taken from differences of neighbours, which a trend hardly moves
        (von Neumann et al. 1941, "The mean square successive difference").
        """
        before, after = self.change(key)
        known = _values(self.until, key)
        noise = _mean([(b - a) ** 2 / 2 for a, b in pairwise(known)])
        sizes = [len(_values(window, key)) for window in (self.first, self.last)]
        if not all(sizes):
            return math.nan
        if not noise:
            return math.copysign(math.inf, after - before) if after != before else 0.0
        return (after - before) / math.sqrt(noise * sum(1 / size for size in sizes))


def _has(row: Mapping[str, Any], key: str) -> bool:
    return row.get(key) is not None and not math.isnan(row[key])


def _values(rows: History, key: str) -> list[float]:
    return [row[key] for row in rows if _has(row, key)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
