"""What a judge is: something that answers chat messages, if asked so in the shape of a schema.

Rewards and adapters know no more than this, so a stand-in, a local server and a hosted endpoint
are exchangeable. A judge is called from the event loops of others (TRL's, DeepEval's,
Evidently's): one that holds a client or a semaphore must run it on a loop of its own.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from medgrpo.dataset.example import Messages
from medgrpo.judge.usage import Usage, report

if TYPE_CHECKING:
    from pydantic import BaseModel

    from medgrpo.judge.cache import Cache


class JudgeError(Exception):
    """The judge gave no usable answer. A reward turns it into a missing verdict."""


@dataclass(frozen=True)
class Reply:
    """One answer of a judge and what it cost in tokens."""

    text: str
    tokens_in: int
    tokens_out: int
    logprobs: dict[str, Any] | None = None  # as the endpoint gave them, if they were asked for


class Verdict(NamedTuple):
    """What a judge thinks of one text."""

    score: float  # [0, 1] once a reward has clipped it
    reason: str | None = None  # if the judge was asked for reasons


def clipped(verdict: Verdict) -> Verdict:
    """With its score in [0, 1]. Raises ValueError for one that is not finite."""
    if not math.isfinite(verdict.score):
        raise ValueError(f"the judge's score is {verdict.score}")
    return verdict._replace(score=min(1.0, max(0.0, verdict.score)))


@dataclass(frozen=True)
class Limits:
    """How hard one process may press an endpoint; None for no limit."""

    concurrency: int
    requests_per_minute: float | None
    tokens_per_minute: float | None
    attempts: int
    attempt_timeout: float  # seconds
    backoff: float  # seconds before the second attempt, doubled with each
    deadline: float = math.inf  # seconds for all attempts, waiting included


@dataclass
class Asking:
    """The verdict for which calls are made: its reward, and the cache keys of its calls."""

    reward: str
    keys: list[bytes] = field(default_factory=list)


Verdicts = Callable[[], Awaitable[list[Verdict]]]  # asks for what is decided together

ASKING: ContextVar[Asking] = ContextVar("asking")  # unset outside a reward


Schema: TypeAlias = "type[BaseModel] | None"


class Judge(Protocol):
    """Anything that can be asked. `name` is shown to the user.

    The attributes below are what a judge may set; as they stand they mean none, no, never.
    """

    name: str
    reasons: bool = False  # whether verdicts shall come with reasons, for more calls
    logprobs: int = 0  # alternatives a token, for G-Eval's weighted mark
    cache: Cache | None = None  # of verdicts and calls
    limits: Limits | None = None
    max_tokens: int = 0  # of one reply
    verdict_deadline: float | None = None  # seconds for all calls of a verdict, waiting included
    max_failure_rate: float = 1.0  # of the last `failure_window` verdicts; above it a run stops
    failure_window: int = 200
    max_cost: float | None = None  # US dollars; above it a run stops
    members: Mapping[str, Judge] = MappingProxyType({})  # of a panel: all are asked
    price_in: float = 0.0  # US dollars per million tokens
    price_out: float = 0.0
    usage: defaultdict[str, Usage]  # by reward
    last_failure: str  # why the latest missing verdict is missing

    def __init__(self) -> None:
        self.usage = defaultdict(Usage)
        self.last_failure = "none"

    @property
    def fatal(self) -> str | None:
        """Why no further call can succeed, once that is known."""
        return None

    @property
    def identity(self) -> list[Any]:
        """What tells this judge's replies from another's, as plain data."""
        return [self.name]

    @abstractmethod
    async def chat(self, messages: Messages, schema: Schema, logprobs: int = 0) -> Reply:
        """Answer `messages`; with a `schema`, the text is JSON that the schema accepts.

        Raises JudgeError when no such answer could be had.
        """

    async def decide(self, verdicts: Verdicts) -> list[Verdict]:
        """What comes of `verdicts`, which asks this judge: a panel has each member decide."""
        return await verdicts()

    def preflight(self) -> None:
        """Ask once, before anything costly starts. Raises UserError if that cannot work."""

    def wait_for_answer(self) -> None:
        """Return once a question is answered, or when waiting longer is not worth it."""

    def report(self) -> dict[str, dict[str, float | None]]:
        """What this process asked and paid so far, by reward, and in `total`."""
        return report(self.usage)

    def close(self) -> None:
        """Let go of connections, threads and files. May be called again."""
        if self.cache:
            self.cache.close()
