"""Getting one answer out of an endpoint: slots, limits per minute, attempts and a deadline.

What may pass (too many requests, server errors, timeouts, lost connections) is tried again after
a pause with jitter (Brooker 2015, "Exponential Backoff And Jitter"), what the model garbled at
once and differently, and what cannot pass ends here with what to set. Judges and served evaluation
ask through it alike. All of it belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from medgrpo.judge.address import Address
from medgrpo.judge.client import JudgeError, Limits
from medgrpo.judge.protocol import (
    FORBIDDEN,
    NOT_FOUND,
    REDIRECTS,
    UNAUTHORIZED,
    BadReply,
    Completion,
    QuotaExhausted,
    Refused,
    Unavailable,
)
from medgrpo.judge.traffic import PerMinute
from medgrpo.judge.transport import Transport
from medgrpo.judge.usage import Usage

_LONGEST_PAUSE = 20.0  # seconds, unless the endpoint asks for more
_WORTH_TELLING = 5.0  # seconds of a pause before anything was answered
_CHARACTERS = 4  # a token, where the endpoint does not count them

T = TypeVar("T")
Request: TypeAlias = Callable[[int], dict[str, Any]]  # after so many bad replies: a body to send

_log = logging.getLogger(__name__)


class Endpoint:
    """One address, pressed no harder than `limits`.

    `fatal` says why no further call can succeed, once that is known.
    """

    def __init__(
        self, address: Address, limits: Limits, prices: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        """`prices`: US dollars per million tokens, in and out."""
        self.address, self.limits, self._prices = address, limits, prices
        self.fatal: str | None = None
        self._transport = Transport(address)
        self.length_field = "max_tokens"  # as the endpoint calls the length limit
        self._answered = self._estimated = False
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._requests = PerMinute(limits.requests_per_minute)
        self._tokens = PerMinute(limits.tokens_per_minute)

    async def close(self) -> None:
        """Drop the connections."""
        await self._transport.close()

    async def ask(self, request: Request, read: Callable[[Completion], T], usage: Usage) -> T:
        """What `read` makes of a reply. Raises JudgeError when none will do, or in time.

        `read` raises BadReply for one that shall be asked for again.
        """
        try:
            async with asyncio.timeout(self.limits.deadline):
                return await self._attempts(request, read, usage)
        except TimeoutError:
            raise Unavailable(
                f"no answer in {self.limits.deadline:g} s, attempts included"
            ) from None

    async def _attempts(self, request: Request, read: Callable[[Completion], T], usage: Usage) -> T:
        bad, pause = 0, 0.0
        for attempt in range(1, self.limits.attempts + 1):
            if attempt > 1:
                usage.retries += 1
                await asyncio.sleep(pause)
            if self.fatal:
                raise JudgeError(self.fatal)
            try:
                return read(await self._send(request(bad), usage))
            except BadReply as error:
                failed: JudgeError = error
                usage.bad_replies += 1
                bad, pause = bad + 1, 0.0
            except Unavailable as error:
                failed, pause = error, self._pause(error, attempt)
            except Refused as error:
                if not self._adapts(error):
                    raise self._advised(error) from None
                failed, pause = error, 0.0
        raise failed

    def _pause(self, error: Unavailable, attempt: int) -> float:
        """Seconds before the next attempt. Raises Unavailable where that is past the deadline."""
        if error.retry_after >= self.limits.deadline:
            asked = f"it asks to wait {error.retry_after:,.0f} s"
            raise Unavailable(f"{error} ({asked}, the deadline is {self.limits.deadline:g} s)")
        pause = min(_LONGEST_PAUSE, self.limits.backoff * 2 ** (attempt - 1))
        pause = random.uniform(pause / 2, pause) + error.retry_after
        if pause > _WORTH_TELLING and not self._answered and attempt < self.limits.attempts:
            where = self.address.base_url
            _log.warning("%s: %s; trying again in %.0f s", where, error, pause)
        return pause

    def _adapts(self, error: Refused) -> bool:
        """OpenAI's reasoning models want the length limit under another name."""
        if "max_completion_tokens" not in str(error) or self.length_field != "max_tokens":
            return False
        self.length_field = "max_completion_tokens"
        return True

    def _advised(self, error: Refused) -> JudgeError:
        """The error, with what to set when no call can succeed before that is done."""
        address, group = self.address, self.address.group
        key = f"the variable {address.key_env}" if address.key_env else f"{group}.api_key_env"
        if isinstance(error, QuotaExhausted):
            advice = f"the account behind {key} has no credit left: add some, or set another key"
        elif error.status == UNAUTHORIZED or (error.status == FORBIDDEN and not self._answered):
            advice = f"the key is not accepted: set {key}"
        elif error.status == NOT_FOUND and not self._answered:
            name = f"{group}.{address.model_field}"
            advice = f"is there a model {address.model}? Set {name} or {group}.base_url"
        elif error.status in REDIRECTS and not self._answered:
            advice = f"set {group}.base_url to the address of the model itself"
        else:
            return error
        self.fatal = f"{error}; {advice}"
        return JudgeError(self.fatal)

    async def _send(self, body: dict[str, Any], usage: Usage) -> Completion:
        """One attempt, counted."""
        asked = sum(len(message["content"]) for message in body["messages"]) // _CHARACTERS
        longest = body["max_tokens"]
        body[self.length_field] = body.pop("max_tokens")
        loop = asyncio.get_running_loop()
        queued = loop.time()
        async with self._slots:
            await self._requests.take(1)
            taken = await self._tokens.take(asked + longest)
            start = loop.time()
            usage.calls += 1
            usage.waited += start - queued
            try:
                async with asyncio.timeout(self.limits.attempt_timeout):
                    reply = await self._transport.post(body)
            except TimeoutError:
                wait = self.limits.attempt_timeout
                raise Unavailable(f"no answer in {wait:g} s") from None
            usage.latencies.append(loop.time() - start)
        self._answered = True
        self._tokens.settle(taken, self._count(reply, asked, usage))
        return reply

    def _count(self, reply: Completion, asked: int, usage: Usage) -> int:
        """Add the reply's tokens to `usage`, estimated where the endpoint counts none."""
        written = sum(len(choice.message.content or "") for choice in reply.choices) // _CHARACTERS
        count = reply.usage
        if count is None or (written and not count.completion_tokens):
            usage.estimated += 1
            tokens_in, tokens_out = max(1, asked), written
            if not self._estimated:
                self._estimated = True
                told = "%s does not count tokens: estimated, a token for %d characters"
                _log.warning(told, self.address.base_url, _CHARACTERS)
        else:
            tokens_in, tokens_out = count.prompt_tokens, count.completion_tokens
        usage.tokens_in += tokens_in
        usage.tokens_out += tokens_out
        price_in, price_out = self._prices
        usage.cost += (tokens_in * price_in + tokens_out * price_out) / 1e6
        return tokens_in + tokens_out
