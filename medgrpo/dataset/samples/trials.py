"""Draw short trial abstracts whose numbers say yes, no or maybe, in the manner of PubMedQA.

Each abstract reports two outcomes and the question asks for one of them:

- yes: the asked outcome is rarer with the intervention and p < 0.05;
- no: it is not rarer, or the difference is not significant (p >= 0.05);
- maybe: the analysis is interim, or two time points contradict each other.

The trials are invented. Their p values are those of a two-sided two-proportion z test on the
numbers that the abstract gives, so that the numbers support what they are said to support.
"""

from __future__ import annotations

import math
from random import Random
from typing import NamedTuple

from medgrpo.dataset.samples.facts import INTERVENTIONS, OUTCOMES, PATIENTS

FINDINGS = ["fewer", "more", "same", "conflict"]
_DECISION = {"fewer": "yes", "more": "no", "same": "no", "conflict": "maybe"}
_ASKED_WEIGHTS = {"yes": [1, 0, 0, 0], "no": [0, 2, 3, 0], "maybe": [0, 0, 0, 1]}


class Result(NamedTuple):
    """One outcome in both arms: per cent of patients with it, and the p value as printed."""

    treated: int
    control: int
    p: str  # "p=0.03" or "p<0.001"

    @property
    def text(self) -> str:
        return f"{self.treated}% against {self.control}%, {self.p}"


class Trial(NamedTuple):
    """An abstract (`methods`, `results`) with a question and what the numbers say to it."""

    question: str
    methods: str
    results: list[str]  # one sentence an outcome
    asked: str  # the outcome that the question asks for
    finding: str  # of the asked outcome: one of FINDINGS
    interim: bool
    decision: str  # yes | no | maybe
    evidence: str  # the numbers of the asked outcome, as the abstract prints them

    @property
    def reason(self) -> str:
        """Why the numbers lead to the decision."""
        if self.interim:
            return f"For {self.asked}: {self.evidence}. But the analysis is interim."
        meaning = {
            "fewer": "significantly fewer",
            "more": "significantly more",
            "same": "not significant",
            "conflict": "the time points conflict",
        }[self.finding]
        return f"For {self.asked}: {self.evidence}. This is {meaning}."


def draw_trial(rng: Random, decision: str) -> Trial:
    """A trial whose asked outcome leads to `decision`; the other outcome is drawn freely."""
    interim = decision == "maybe" and rng.random() < 0.4
    wanted = rng.choice(["yes", "no"]) if interim else decision
    finding = rng.choices(FINDINGS, _ASKED_WEIGHTS[wanted])[0]
    other_finding = rng.choices(FINDINGS, [4, 2, 3, 2])[0]
    arm, patients = rng.choice(INTERVENTIONS), rng.choice(PATIENTS)
    asked, other = rng.sample(OUTCOMES, 2)
    size = rng.choice([200, 300, 400])  # patients analysed in each arm
    sentence, evidence = _sentence(rng, asked, arm, finding, size)
    results = [sentence, _sentence(rng, other, arm, other_finding, size)[0]]
    rng.shuffle(results)
    done = f"This interim analysis covers the first {2 * size}" if interim else f"All {2 * size}"
    return Trial(
        question=f"Can {arm} reduce {asked} in adults with {patients}?",
        methods=f"{done} planned adults with {patients} received {arm} or usual care.",
        results=results,
        asked=asked,
        finding=finding,
        interim=interim,
        decision=decision,
        evidence=evidence,
    )


def p_value(treated: int, control: int, size: int) -> float:
    """Two-sided p of a two-proportion z test; per cents of two arms of `size` patients each."""
    a, b = treated / 100, control / 100
    pooled = (a + b) / 2
    z = abs(a - b) / math.sqrt(2 * pooled * (1 - pooled) / size)
    return math.erfc(z / math.sqrt(2))


def _sentence(rng: Random, outcome: str, arm: str, finding: str, size: int) -> tuple[str, str]:
    """The sentence that reports an outcome, and the numbers in it."""
    evidence = (
        _result(rng, finding, size).text
        if finding != "conflict"
        else ", later ".join(
            _result(rng, half, size).text for half in rng.sample(["fewer", "more"], 2)
        )
    )
    return f"With {arm}, {outcome} affected {evidence}.", evidence


def _result(rng: Random, finding: str, size: int) -> Result:
    while True:
        treated, control = rng.randrange(8, 50), rng.randrange(8, 50)
        p = p_value(treated, control, size)
        if finding == _finding(treated, control, p) and not 0.03 < p < 0.07:
            shown = "p<0.001" if p < 0.001 else f"p={p:.3f}" if p < 0.01 else f"p={p:.2f}"
            return Result(treated, control, shown)


def _finding(treated: int, control: int, p: float) -> str:
    if p >= 0.05 or treated == control:
        return "same"
    return "fewer" if treated < control else "more"
