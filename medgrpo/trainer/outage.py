"""When so many verdicts are missing that going on would be to train unjudged.

A share of a few verdicts says little, so a run is not stopped before its share is surely above the
limit: when so many missing ones or more would come with a probability below 5 % if the limit were
the true share, which is when the lower 95 % bound of Clopper and Pearson (1934) lies above it. A
judge that answers nothing at all is another matter: at the start it is a mistake, and later
perhaps a server that is being restarted, worth waiting for twice.
"""

from __future__ import annotations

from collections import deque
from typing import Any

_PATIENCE = 3  # batches in a row without any verdict end a run
_LEVEL = 0.05


class Outage:
    """The latest verdicts of a run, and why it shall not go on.

    Those that were asked for count: what repeats or says nothing takes no verdict.
    """

    def __init__(self, window: int = 1, limit: float = 1.0) -> None:
        """`limit` is the share of the last `window` verdicts that may be missing, in [0, 1]."""
        self._limit = limit
        self._missing: deque[bool] = deque(maxlen=window)
        self._ever_given = False
        self.empty_batches = 0  # in a row, without any verdict

    def add(self, given: int, missing: int) -> str | None:
        """Note a batch; returns why the run shall end, None as long as it may go on."""
        if not given + missing:
            return None
        self._missing.extend([False] * given + [True] * missing)
        self._ever_given |= given > 0
        self.empty_batches = 0 if given else self.empty_batches + 1
        if not self._ever_given:
            return f"none of the first {missing} verdicts was given"
        if self.empty_batches >= _PATIENCE:
            return f"no verdict was given in {self.empty_batches} batches, waits between them"
        worse = missing > self._limit * (given + missing)  # a resumed run may have got better
        return self.above_limit() if given and worse and self._surely_above() else None

    def above_limit(self) -> str | None:
        """How the share of missing verdicts passes the limit; None where it does not."""
        latest = len(self._missing)
        if sum(self._missing) <= self._limit * latest:
            return None
        share = sum(self._missing) / latest
        return (
            f"{share:.0%} of the last {latest} verdicts are missing, more than "
            f"judge.max_failure_rate={self._limit:g}"
        )

    def state(self) -> dict[str, Any]:
        """All of it, for a checkpoint: plain data."""
        window = "".join(str(int(missing)) for missing in self._missing)
        return {"missing": window, "given": self._ever_given, "empty_batches": self.empty_batches}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._missing.clear()
        self._missing.extend(sign == "1" for sign in state["missing"])
        self._ever_given, self.empty_batches = state["given"], state["empty_batches"]

    def _surely_above(self) -> bool:
        from scipy.stats import binom

        at_least = binom.sf(sum(self._missing) - 1, len(self._missing), self._limit)
        return bool(at_least < _LEVEL)
