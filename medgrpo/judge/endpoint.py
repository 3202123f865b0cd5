"""Getting one reply out of an endpoint: slots, limits per minute, attempts, and how to ask it.

What may pass (too many requests, server errors, timeouts, lost connections) is tried again after
a pause with jitter (Brooker 2015, "Exponential Backoff And Jitter"), what the judge garbled at
once with another seed, and what cannot pass ends here with what to set. All of it belongs to one
event loop.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from medgrpo.judge.client import JudgeError, Limits, Reply
from medgrpo.judge.protocol import (
    BadReply,
    Mode,
    QuotaExhausted,
    Refused,
    Unavailable,
    post,
    read,
    response_format,
    tokens,
)
from medgrpo.judge.traffic import PerMinute
from medgrpo.judge.usage import Usage

if TYPE_CHECKING:
    import aiohttp

_LONGEST_PAUSE = 20.0  # seconds, unless the endpoint asks for more
_WARMER = 0.4  # temperature at least after a bad reply: at 0 the same one would come again
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _SERVER_ERROR = 401, 403, 404, 500

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sampling:
    """What a request says beside its messages; None is left out."""

    model: str
    temperature: float | None
    seed: int | None
    max_tokens: int


class _Probe(BaseModel):
    answer: str


_QUESTION = 'Is water wet? Answer in JSON: {"answer": "yes"} or {"answer": "no"}.'


class Endpoint:
    """One endpoint, model and key. `fatal` says why no further call can succeed, if so."""

    def __init__(
        self, base_url: str, key_env: str | None, key: str, sampling: Sampling, limits: Limits
    ) -> None:
        self.base_url, self.key_env = base_url, key_env
        self.sampling, self.limits = sampling, limits
        self.fatal: str | None = None
        self._mode: Mode | None = None
        self._key = key
        self._length_field = "max_tokens"
        self._answered = False
        self._probing = asyncio.Lock()
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._requests = PerMinute(limits.requests_per_minute)
        self._tokens = PerMinute(limits.tokens_per_minute)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Drop the connections."""
        if self._session is not None:
            await self._session.close()

    async def probe(self, modes: tuple[Mode, ...], usage: Usage) -> Mode:
        """The first of `modes` that the endpoint takes and holds to; found once.

        Raises JudgeError when it takes none, or cannot be asked at all.
        """
        async with self._probing:
            if self._mode is None:
                self._mode = await self._first_of(modes, usage)
            return self._mode

    async def _first_of(self, modes: tuple[Mode, ...], usage: Usage) -> Mode:
        question = [{"role": "user", "content": _QUESTION}]
        for mode in modes:
            try:
                await self.ask(question, _Probe, 0, usage, mode)
                return mode
            except (Refused, BadReply) as error:
                failed: JudgeError = error
            except Unavailable as error:  # llama-cpp-python: HTTP 500 for a mode unknown to it
                if error.status < _SERVER_ERROR:
                    raise
                failed = error
        if not isinstance(failed, BadReply):
            raise JudgeError(
                f"a plain question is refused ({failed}). Set what the endpoint does not take to "
                "null (judge.temperature, judge.seed), or choose another judge.structured"
            )
        _log.warning("judge: %s gives no plain JSON in any mode: %s", self.base_url, failed)
        return modes[-1]  # a small model: it may do better with the real prompts

    async def ask(
        self,
        messages: list[dict[str, str]],
        schema: type[BaseModel] | None,
        logprobs: int,
        usage: Usage,
        mode: Mode,
    ) -> Reply:
        """A reply that `schema` accepts. Raises JudgeError after the last attempt."""
        bad, pause = 0, 0.0
        for attempt in range(1, self.limits.attempts + 1):
            if attempt > 1:
                usage.retries += 1
                await asyncio.sleep(pause)
            if self.fatal:
                raise JudgeError(self.fatal)
            try:
                body = self._body(messages, logprobs, bad) | response_format(schema, mode)
                return await self._send(body, schema, usage)
            except BadReply as error:
                failed: JudgeError = error
                usage.bad_replies += 1
                bad, pause = bad + 1, 0.0
            except Unavailable as error:
                failed = error
                pause = min(_LONGEST_PAUSE, self.limits.backoff * 2 ** (attempt - 1))
                pause = random.uniform(pause / 2, pause) + (error.retry_after or 0.0)
            except Refused as error:
                if not self._adapts(error):
                    raise self._advised(error) from None
                failed, pause = error, 0.0
        raise failed

    def _adapts(self, error: Refused) -> bool:
        """OpenAI's reasoning models want the length limit under another name."""
        if "max_completion_tokens" not in str(error) or self._length_field != "max_tokens":
            return False
        self._length_field = "max_completion_tokens"
        return True

    def _advised(self, error: Refused) -> JudgeError:
        """The error, with what to set when no call can succeed before that is done."""
        key = "judge.api_key_env" if self.key_env is None else f"the variable {self.key_env}"
        if isinstance(error, QuotaExhausted):
            advice = f"the account behind {key} has no credit left: add some, or set another key"
        elif error.status == _UNAUTHORIZED or (error.status == _FORBIDDEN and not self._answered):
            advice = f"the key is not accepted: set {key}"
        elif error.status == _NOT_FOUND and not self._answered:
            advice = f"is there a model {self.sampling.model}? Set judge.model or judge.base_url"
        else:
            return error
        self.fatal = f"{error}; {advice}"
        return JudgeError(self.fatal)

    def _body(self, messages: list[dict[str, str]], logprobs: int, bad: int) -> dict[str, Any]:
        """A request; after `bad` bad replies, one that can be answered differently."""
        ask = self.sampling
        seed = None if ask.seed is None else ask.seed + bad
        warm = ask.temperature if not bad else max(ask.temperature or 0.0, _WARMER)
        body = {
            "model": ask.model,
            "messages": messages,
            "temperature": None if ask.temperature is None else warm,
            "seed": seed,
            self._length_field: ask.max_tokens,
            "logprobs": True if logprobs else None,
            "top_logprobs": logprobs or None,
        }
        return {name: value for name, value in body.items() if value is not None}

    async def _send(
        self, body: dict[str, Any], schema: type[BaseModel] | None, usage: Usage
    ) -> Reply:
        """One attempt."""
        guess = sum(len(m["content"]) for m in body["messages"]) // 4 + self.sampling.max_tokens
        loop = asyncio.get_running_loop()
        queued = loop.time()
        async with self._slots:
            await self._requests.take(1)
            taken = await self._tokens.take(guess)
            start = loop.time()
            usage.calls += 1
            usage.waited += start - queued
            try:
                async with asyncio.timeout(self.limits.attempt_timeout):
                    url = f"{self.base_url}/chat/completions"
                    raw = await post(self._connected(), url, body, self._key)
            except TimeoutError:
                wait = self.limits.attempt_timeout
                raise Unavailable(f"no answer in judge.attempt_timeout={wait:g} s") from None
            usage.latencies.append(loop.time() - start)
        tokens_in, tokens_out = tokens(raw)
        usage.tokens_in += tokens_in
        usage.tokens_out += tokens_out
        self._tokens.settle(taken, tokens_in + tokens_out)
        self._answered = True
        return read(raw, schema)

    def _connected(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
                connector=aiohttp.TCPConnector(limit=0),  # the slots are the limit
                timeout=aiohttp.ClientTimeout(total=None),  # as is the attempt's own
                trust_env=True,  # proxies
            )
        return self._session
