"""Several judges as one (after Verga et al. 2024, "Replacing judges with juries",
https://arxiv.org/abs/2404.18796).

Each member gives the whole verdict, its own questions and replies included: claims that one member
finds are not put to another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval

from medgrpo.dataset.example import Messages
from medgrpo.errors import UserError
from medgrpo.judge.client import (
    ASKING,
    Asking,
    Judge,
    JudgeError,
    Reply,
    Schema,
    Verdict,
    Verdicts,
    clipped,
)

_MEMBER: ContextVar[Judge] = ContextVar("member")  # whose verdict is being made


class Panel(Judge):
    """Asks every member and takes their mean, or the majority.

    Up to `max_missing` members may fail, verdict by verdict: that is counted (`members_failed`), as
    is how far the others are apart (`spread`). Members keep their caches, prices and limits.
    """

    def __init__(
        self,
        *,
        members: Mapping[str, Any],
        vote: Literal["mean", "majority"],
        max_missing: Annotated[int, Ge(0)],
        max_failure_rate: Annotated[float, Interval(ge=0, le=1)],
        failure_window: Annotated[int, Ge(1)],
        max_cost: Annotated[float, Gt(0)] | None,
    ) -> None:
        """`members`: judges by name. Raises UserError for some that do not go together."""
        super().__init__()
        if len(members) < 2 or max_missing >= len(members):
            raise UserError("judge.max_missing: at least two members, and fewer missing than those")
        for setting in ("logprobs", "reasons"):
            if len({getattr(member, setting) for member in members.values()}) > 1:
                raise UserError(f"judge.members: all need the same {setting}")
        self.members: dict[str, Judge] = dict(members)
        self._vote, self._max_missing = vote, max_missing
        self.max_failure_rate, self.failure_window = max_failure_rate, failure_window
        judges = self.members.values()
        self.name = f"panel of {', '.join(judge.name for judge in judges)}"
        first = next(iter(judges))
        self.logprobs, self.reasons = first.logprobs, first.reasons
        self.max_cost = max_cost
        self.max_tokens = max(judge.max_tokens for judge in judges)
        self.price_in = sum(judge.price_in for judge in judges)  # of a token that all are sent
        self.price_out = sum(judge.price_out for judge in judges)
        if max_cost is not None and not self.price_in + self.price_out:
            raise UserError("judge.max_cost needs a member with prices")
        deadlines = [judge.verdict_deadline for judge in judges]
        self.verdict_deadline = max(filter(None, deadlines), default=None)
        limits = [judge.limits for judge in judges if judge.limits]
        self.limits = min(limits, key=lambda limit: limit.concurrency, default=None)
        for judge in judges:
            judge.usage = self.usage  # one bill, by reward

    @property
    def fatal(self) -> str | None:
        """Set once too few members can be asked at all."""
        dead = [judge.fatal for judge in self.members.values() if judge.fatal]
        return dead[0] if len(dead) > self._max_missing else None

    @property
    def identity(self) -> list[Any]:
        return ["panel", self._vote, *(judge.identity for judge in self.members.values())]

    async def chat(self, messages: Messages, schema: Schema, logprobs: int = 0) -> Reply:
        """See Judge: of the member whose verdict is being made."""
        return await _MEMBER.get().chat(messages, schema, logprobs)

    async def decide(self, verdicts: Verdicts) -> list[Verdict]:
        """See Judge. Raises JudgeError where more than `max_missing` members gave none."""
        asked = (self._of(name, verdicts) for name in self.members)
        found = await asyncio.gather(*asked, return_exceptions=True)
        failed = [one for one in found if isinstance(one, BaseException)]
        for error in failed:
            if not isinstance(error, JudgeError):
                raise error
        usage = self.usage[ASKING.get(Asking("other")).reward]
        usage.members_failed += len(failed)
        if len(failed) > self._max_missing:
            raise JudgeError(f"{len(failed)} of {len(found)} members gave no verdict: {failed[0]}")
        given = [one for one in found if not isinstance(one, BaseException)]
        spreads = [max(scores) - min(scores) for scores in zip(*map(_scores, given), strict=True)]
        usage.spread += sum(spreads) / len(spreads)
        return [self._voted(together) for together in zip(*given, strict=True)]

    async def _of(self, name: str, verdicts: Verdicts) -> list[Verdict]:
        """One member's, clipped as those of a judge alone would be."""
        _MEMBER.set(self.members[name])  # of this task
        try:
            return [clipped(one) for one in await verdicts()]
        except UserError:
            raise
        except Exception as error:
            raise JudgeError(f"{name}: {type(error).__name__}: {error}") from error

    def _voted(self, verdicts: Sequence[Verdict]) -> Verdict:
        """One of what all members say of the same."""
        scores = _scores(verdicts)
        reasons = "\n".join(one.reason for one in verdicts if one.reason)
        if self._vote == "mean":
            return Verdict(sum(scores) / len(scores), reasons or None)
        in_favour = sum(score >= 0.5 for score in scores) / len(scores)
        return Verdict(0.5 if in_favour == 0.5 else float(in_favour > 0.5), reasons or None)

    def preflight(self) -> None:
        """See Judge: every member has to answer before a run starts."""
        for judge in self.members.values():
            judge.preflight()

    def wait_for_answer(self) -> None:
        for judge in self.members.values():
            judge.wait_for_answer()

    def close(self) -> None:
        for judge in self.members.values():
            judge.close()
        super().close()


def _scores(verdicts: Sequence[Verdict]) -> list[float]:
    return [one.score for one in verdicts]
