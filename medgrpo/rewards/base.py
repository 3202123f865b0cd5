"""What TRL's GRPOTrainer calls: a batch of completions in, one score in [0, 1] each out.

A reward answers one question about one response; this module does the rest: TRL's calling
convention (as in `trl/rewards/`), order, and for judged rewards concurrency, duplicates, failures
and what a judge is shown.
"""

from __future__ import annotations

import asyncio
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar, cast

from medgrpo import __version__
from medgrpo.dataset.example import Example
from medgrpo.errors import UserError
from medgrpo.judge.cache import cache_key
from medgrpo.judge.client import ASKING, Asking, Judge, JudgeError, Verdict, Verdicts, clipped
from medgrpo.rewards.shown import whole_response

Completion: TypeAlias = str | list[dict[str, str]]  # plain text or the messages of one turn

T = TypeVar("T")
SAYS_SOMETHING = re.compile(r"\w")

_FAILURES_TOLD = 3  # of each reward; the rest are counted
_log = logging.getLogger(__name__)


def response_text(completion: Completion) -> str:
    """The text that the model wrote last, of either kind of completion."""
    return completion if isinstance(completion, str) else completion[-1]["content"] or ""


def each_with_row(
    completions: list[Completion], columns: dict[str, list[Any]]
) -> list[tuple[str, Example]]:
    """Each completion's text with its row, rebuilt from the columns that TRL passes along."""
    fields = {key: columns[key] for key in Example.__annotations__}
    fields |= {"rubric": columns["rubric"]} if "rubric" in columns else {}
    rows = [dict(zip(fields, values, strict=True)) for values in zip(*fields.values(), strict=True)]
    texts = map(response_text, completions)
    return [(text, cast(Example, row)) for text, row in zip(texts, rows, strict=True)]


class Reward(Protocol):
    """What the run, TRL and the audit use of a reward."""

    weight: float  # in the total
    verifiable: bool = False  # compares with the gold answer, by rule: cannot be talked into more
    default_name: ClassVar[str] = ""  # where no run gives it one
    __name__: str  # its config key; TRL logs rewards/<__name__>/mean

    def __init__(self, *, weight: float = 1.0, name: str = "") -> None:
        self.weight = weight
        self.__name__ = name or self.default_name

    @abstractmethod
    def __call__(
        self, completions: list[Completion], **columns: Any
    ) -> list[float | None] | Awaitable[list[float | None]]:
        """Scores of a batch in [0, 1], in order; None for "no verdict".

        `columns` hold the fields of an Example as lists, one value a completion.
        """


class RuleReward(Reward, ABC):
    """A reward that is computed: the same pair always scores the same."""

    @abstractmethod
    def score(self, response: str, row: Example) -> float | None:
        """The score of one response, in [0, 1]; None for a row that the reward is not about."""

    def __call__(self, completions: list[Completion], **columns: Any) -> list[float | None]:
        """Scores of a batch, in order. `columns` hold the fields of an Example as lists."""
        return [self.score(response, row) for response, row in each_with_row(completions, columns)]


class JudgedReward(Reward, ABC):
    """A reward that a judge decides.

    The judge sees no more of a response than `reads` returns. What holds no letter and no digit
    scores 0.0 unjudged (DeepEval gives it full marks: it claims nothing). The distinct texts of a
    batch are judged at the same time and once each: generations of a group repeat each other.
    """

    def __init__(
        self,
        *,
        judge: Judge,
        weight: float,
        name: str,
        calls: int,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        """`calls` a verdict takes at most; `parameters`: all of this reward that can change one.

        A verdict is kept in the judge's cache under the latter: one left out would not be noticed.
        """
        super().__init__(weight=weight, name=name)
        self.judge = judge
        self.calls = calls
        self._parameters = dict(parameters or {})

    def reads(self, response: str, row: Example) -> str:
        """The part of a response that is judged: all of it, unless a subclass says otherwise."""
        return whole_response(response, row)

    def calls_on_average(self, rows: Sequence[Example]) -> float:
        """Calls that a verdict on one of the rows takes."""
        return self.calls

    def applies(self, row: Example) -> bool:
        """Whether it is about this row: where not, None is no missing verdict but none at all."""
        return True

    @abstractmethod
    async def verdict(self, text: str, row: Example) -> Verdict:
        """The judge's verdict on one text that says something; the caller clips its score.

        May raise: there is no verdict then. Many calls run at the same time, so a verdict must
        leave nothing behind on the reward.
        """

    async def __call__(
        self,
        completions: list[Completion],
        log_extra: Callable[[str, list[Any]], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Scores of a batch, in order; None where the judge failed, which never means "bad".

        With `judge.reasons`, the reasons go to TRL's `log_extra` as a column of the completions.
        """
        verdicts = await self.verdicts(completions, columns)
        if self.judge.reasons and log_extra is not None:
            log_extra(f"{self.__name__}/reason", [v and v.reason for v in verdicts])
        return [None if v is None else v.score for v in verdicts]

    async def verdicts(
        self, completions: list[Completion], columns: dict[str, list[Any]]
    ) -> list[Verdict | None]:
        """Scores and reasons of a batch, in order; None where the judge failed."""
        return await self.each_once(self._judged, completions, columns)

    async def each_once(
        self,
        ask: Callable[[str, Example], Awaitable[T]],
        completions: list[Completion],
        columns: dict[str, list[Any]],
    ) -> list[T]:
        """What `ask` finds of the part of each response that is judged, the same ones once."""
        pairs = [(self.reads(text, row), row) for text, row in each_with_row(completions, columns)]
        keys = [(text, repr(row)) for text, row in pairs]
        distinct = dict(zip(keys, pairs, strict=True))
        found = await asyncio.gather(*(ask(*pair) for pair in distinct.values()))
        by_key = dict(zip(distinct, found, strict=True))
        return [by_key[key] for key in keys]

    async def _judged(self, text: str, row: Example) -> Verdict | None:
        """The verdict on one text; what says nothing is not judged."""
        if not self.applies(row):
            return None
        if not SAYS_SOMETHING.search(text):
            return Verdict(0.0, "says nothing")

        async def alone() -> list[Verdict]:
            return [await self.verdict(text, row)]

        found = await self._decided(text, row, alone)
        return found[0] if found else None

    async def _decided(
        self, asked: str | list[str], row: Example, verdicts: Verdicts
    ) -> list[Verdict] | None:
        """The verdicts on what is `asked` about, from the cache, or else within the deadline."""
        usage, cache = self.judge.usage[self.__name__], self.judge.cache
        usage.verdicts += 1
        key = self._cache_key(asked, row) if cache else b""
        stored = cache.get(key) if cache else None
        if stored is not None:
            usage.verdict_hits += 1
            return [Verdict(*one) for one in ([stored] if isinstance(asked, str) else stored)]
        found = await self.decided(row, verdicts)
        if cache and found:
            cache.put(key, found[0] if isinstance(asked, str) else found)
        return found

    async def decided(
        self, row: Example, verdicts: Verdicts, count: int = 1
    ) -> list[Verdict] | None:
        """What the judge decides within the deadline; None, and `count` missing, for nothing."""
        asking = Asking(self.__name__)
        ASKING.set(asking)
        try:
            async with asyncio.timeout(self.judge.verdict_deadline):
                return [clipped(one) for one in await self.judge.decide(verdicts)]
        except UserError:
            raise
        except Exception as error:  # a judge's trouble never ends a run by itself
            if self.judge.cache and not isinstance(error, JudgeError | TimeoutError):
                for call in asking.keys:  # replies, each valid, that make no verdict together
                    self.judge.cache.forget(call)
            self.count_missing(row, error, count)
            return None

    def _cache_key(self, asked: str | list[str], row: Example) -> bytes:
        """Everything that can change a verdict, the libraries that word the questions included."""
        kind, judge = type(self), self.judge
        return cache_key(
            [kind.__module__, kind.__qualname__, self._parameters, _versions()],
            [judge.identity, judge.logprobs, judge.reasons],
            [row["question"], row["context"], row["options"], row["answer"], row["label"], asked],
        )

    def count_missing(self, row: Example, error: Exception, count: int = 1) -> None:
        """Count verdicts that were not given, and tell of the first few."""
        (usage := self.judge.usage[self.__name__]).failures += count
        why = f"{type(error).__name__}: {error}"
        if isinstance(error, TimeoutError):
            why = f"not done in judge.verdict_deadline={self.judge.verdict_deadline:g} s"
        self.judge.last_failure = why
        level = logging.WARNING if usage.failures <= _FAILURES_TOLD else logging.DEBUG
        _log.log(level, "%s: no verdict on row %s: %s", self.__name__, row["id"], why)


@cache
def _versions() -> list[str]:
    return [__version__, *(version(library) for library in ("deepeval", "evidently"))]
