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
_MEANING = {
    "fewer": "significantly fewer",
    "more": "significantly more",
    "same": "no significant difference",
    "conflict": "the time points conflict",
}
# per cent of patients with the outcome, with the intervention and with usual care
_RATES = {
    "fewer": [(12, 25), (15, 27), (9, 19), (21, 34), (30, 44), (18, 31), (26, 41), (14, 23)],
    "more": [(24, 13), (28, 16), (20, 10), (35, 22), (45, 32), (33, 19), (40, 27), (23, 14)],
    "same": [(20, 22), (14, 13), (31, 29), (25, 25), (17, 20), (38, 36), (10, 12), (29, 32)],
}
_ARM = 200  # patients analysed in each arm
_ASKED_WEIGHTS = {"yes": [1, 0, 0, 0], "no": [0, 2, 3, 0], "maybe": [0, 0, 0, 1]}


class Trial(NamedTuple):
    """An abstract (`methods`, `results`) with a question and what the numbers say to it."""

    question: str
    methods: str
    results: str
    asked: str  # the outcome that the question asks for
    finding: str  # of the asked outcome: one of FINDINGS
    interim: bool
    decision: str  # yes | no | maybe
    evidence: str  # what the abstract prints about the asked outcome

    @property
    def reason(self) -> str:
        """Why the numbers lead to the decision."""
        meaning = "only an interim analysis" if self.interim else _MEANING[self.finding]
        return f"For {self.evidence}: {meaning}."


def draw_trial(rng: Random, decision: str) -> Trial:
    """A trial whose asked outcome leads to `decision`; the other outcome is drawn freely."""
    interim = decision == "maybe" and rng.random() < 0.4
    wanted = rng.choice(["yes", "no"]) if interim else decision
    finding = rng.choices(FINDINGS, _ASKED_WEIGHTS[wanted])[0]
    other_finding = rng.choices(FINDINGS, [4, 2, 3, 2])[0]
    arm, patients = rng.choice(INTERVENTIONS), rng.choice(PATIENTS)
    asked, other = rng.sample(OUTCOMES, 2)
    evidence = _evidence(rng, asked, finding)
    shown = [evidence, _evidence(rng, other, other_finding)]
    rng.shuffle(shown)
    done = f"This interim analysis covers the first {2 * _ARM}" if interim else f"All {2 * _ARM}"
    return Trial(
        question=f"Can {arm} reduce {asked} in adults with {patients}?",
        methods=f"{done} planned adults with {patients} received {arm} or usual care.",
        results=f"Results with {arm}: {'; '.join(shown)}.",
        asked=asked,
        finding=finding,
        interim=interim,
        decision=decision,
        evidence=evidence,
    )


def p_value(treated: int, control: int) -> float:
    """Two-sided p of a two-proportion z test on the per cents of two arms of `_ARM` patients."""
    a, b = treated / 100, control / 100
    pooled = (a + b) / 2
    z = abs(a - b) / math.sqrt(2 * pooled * (1 - pooled) / _ARM)
    return math.erfc(z / math.sqrt(2))


def _evidence(rng: Random, outcome: str, finding: str) -> str:
    """An outcome with its numbers, at two time points when they are to contradict each other."""
    case = rng.randrange(8)
    if finding != "conflict":
        return f"{outcome} {_figures(finding, case)}"
    early, late = ("fewer", "more") if case < 4 else ("more", "fewer")
    return f"{outcome} {_figures(early, case)}, later {_figures(late, case)}"


def _figures(finding: str, case: int) -> str:
    treated, control = _RATES[finding][case]
    p = p_value(treated, control)
    shown = "p<0.001" if p < 0.001 else f"p={p:.3f}" if p < 0.01 else f"p={p:.2f}"
    return f"{treated}% against {control}%, {shown}"
