"""A judge behind an OpenAI-compatible endpoint: OpenAI, vLLM, Ollama, llama.cpp's servers.

asyncio's clients and semaphores belong to one loop, and a judge is called from several, so one
loop in a thread of its own owns all of them here. A call passes the cache, the same call under
way for another verdict, and the endpoint (medgrpo/judge/endpoint.py). What becomes of a call that
fails is decided by who asked: a verdict is then missing, never bad (medgrpo/rewards/base.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from functools import partial
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval, Predicate

from medgrpo.dataset.example import Messages
from medgrpo.errors import UserError
from medgrpo.judge.address import Address, BaseUrl
from medgrpo.judge.cache import Cache, cache_key
from medgrpo.judge.client import ASKING, Asking, Judge, JudgeError, Limits, Reply, Schema
from medgrpo.judge.endpoint import Endpoint
from medgrpo.judge.protocol import Completion, Unavailable
from medgrpo.judge.request import (
    MODES,
    QUESTION,
    Mode,
    Probe,
    Sampling,
    accepts,
    answer_of,
    first_of,
    response_format,
)
from medgrpo.judge.traffic import OwnLoop, SingleFlight
from medgrpo.judge.usage import Usage

_RECOVERY = 2.0  # seconds between questions to an endpoint that answered none of a batch

_log = logging.getLogger(__name__)


class OpenAIJudge(Judge):
    """Chat completions, concurrent, limited, retried, cached and counted.

    Limits are those of the whole run: under torchrun each process takes its share.
    """

    def __init__(
        self,
        *,
        model: str,
        base_url: BaseUrl,
        api_key_env: Annotated[str, Predicate(str.isidentifier)] | None,
        structured: Literal["auto", "json_schema", "json_object_schema", "json_object", "none"],
        reasoning: bool,
        temperature: Annotated[float, Interval(ge=0, le=2)] | None,
        seed: int | None,
        max_tokens: Annotated[int, Ge(1)],
        logprobs: Annotated[int, Interval(ge=0, le=20)],
        reasons: bool,
        concurrency: Annotated[int, Ge(1)],
        requests_per_minute: Annotated[int, Ge(1)] | None,
        tokens_per_minute: Annotated[int, Ge(1)] | None,
        attempts: Annotated[int, Ge(1)],
        attempt_timeout: Annotated[float, Gt(0)],
        verdict_deadline: Annotated[float, Gt(0)],
        backoff: Annotated[float, Ge(0)],
        cache: str | None,
        salt: str,
        price_in: Annotated[float, Ge(0)],
        price_out: Annotated[float, Ge(0)],
        max_cost: Annotated[float, Gt(0)] | None,
        max_failure_rate: Annotated[float, Interval(ge=0, le=1)],
        failure_window: Annotated[int, Ge(1)],
    ) -> None:
        """What each field means stands beside it in conf/judge/openai.yaml.

        Raises UserError when address or key cannot be used, the cache cannot be written,
        `max_cost` has no prices to count by, or `logprobs` are asked of a reasoning model.
        """
        super().__init__()
        if max_cost is not None and not price_in + price_out:
            raise UserError("judge.max_cost needs judge.price_in and judge.price_out")
        if reasoning and logprobs:
            raise UserError("judge.logprobs: reasoning models give none; set it to 0")
        self.name = model
        self.max_tokens, self.logprobs, self.reasons = max_tokens, logprobs, reasons
        self.verdict_deadline = verdict_deadline
        self.max_failure_rate, self.failure_window = max_failure_rate, failure_window
        self.price_in, self.price_out, self.max_cost = price_in, price_out, max_cost
        self._sampling = Sampling(model, None if reasoning else temperature, seed, max_tokens)
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        self.limits = Limits(
            concurrency=max(1, concurrency // processes),
            requests_per_minute=requests_per_minute and requests_per_minute / processes,
            tokens_per_minute=tokens_per_minute and tokens_per_minute / processes,
            attempts=attempts,
            attempt_timeout=attempt_timeout,
            backoff=backoff,
            deadline=verdict_deadline,
        )
        address = Address.of(base_url, model, api_key_env, "judge")
        self._identity = [address.base_url, vars(self._sampling), structured, salt]
        self._modes = sum(MODES.values(), ()) if structured == "auto" else MODES[structured]
        self.cache = None if cache is None else Cache(cache)
        self._flights: SingleFlight[Reply] = SingleFlight()
        self._endpoint = Endpoint(address, self.limits, (price_in, price_out))
        if reasoning:
            self._endpoint.length_field = "max_completion_tokens"
        self._mode: Mode | None = None
        self._probing = asyncio.Lock()
        self._loop = OwnLoop("judge")

    @property
    def identity(self) -> list[Any]:
        """All that can change a reply, the messages aside."""
        return self._identity

    @property
    def fatal(self) -> str | None:
        """Why no further call can succeed, with what to set, once that is known."""
        return self._endpoint.fatal

    def preflight(self) -> None:
        """Ask one question: finds a wrong key, model, address or an exhausted quota."""
        try:
            mode = self._loop.start(self._probe()).result(self.verdict_deadline)
        except (JudgeError, TimeoutError) as error:
            told = str(error) or f"no answer in judge.verdict_deadline={self.verdict_deadline:g} s"
            down = isinstance(error, Unavailable | TimeoutError)
            up = "; is the server up? See judge.base_url" if down else ""
            where = self._endpoint.address.base_url
            raise UserError(
                f"judge {self.name} at {where}: {told}{up}. Without any endpoint, judge=lexical "
                "stands in"
            ) from None
        _log.info("judge: %s, JSON by %s", self.name, mode)

    def wait_for_answer(self) -> None:
        """See Judge: as long as the attempts of one call may take."""
        limits = self._endpoint.limits
        longest = min(limits.attempts * limits.attempt_timeout, limits.deadline)
        _log.warning("judge: waiting up to %.0f s for an answer", longest)
        with suppress(TimeoutError):
            self._loop.start(asyncio.wait_for(self._answers(), longest)).result()

    async def chat(self, messages: Messages, schema: Schema, logprobs: int = 0) -> Reply:
        """See Judge. May be called from any event loop."""
        asking = ASKING.get(Asking("other"))
        shape = schema.model_json_schema() if schema else None
        key = cache_key("call", self.identity, messages, shape, logprobs)
        asking.keys.append(key)
        usage = self.usage[asking.reward]
        stored = self.cache.get(key) if self.cache else None
        if stored is not None and (schema is None or accepts(schema, stored["text"])):
            usage.cache_hits += 1
            return Reply(**stored)
        call = self._shared(key, messages, schema, logprobs, usage)
        return await asyncio.wrap_future(self._loop.start(call))

    def close(self) -> None:
        self._loop.close(self._endpoint.close)
        super().close()

    # From here on everything runs on the judge's own loop.

    async def _shared(
        self, key: bytes, messages: Messages, schema: Schema, logprobs: int, usage: Usage
    ) -> Reply:
        """Join the same call if it is under way; otherwise make it and keep its reply."""

        async def ask() -> Reply:
            mode = await self._probe()
            reply = await self._ask(messages, schema, logprobs, usage, mode)
            if self.cache:
                self.cache.put(key, vars(reply))
            return reply

        usage.shared += self._flights.under_way(key)
        return await self._flights.do(key, ask)

    async def _probe(self) -> Mode:
        """How the endpoint takes a schema; found once."""
        async with self._probing:
            if self._mode is None:
                usage = self.usage["preflight"]
                ask = partial(self._ask, QUESTION, Probe, 0, usage)
                self._mode = await first_of(self._modes, ask)
            return self._mode

    async def _answers(self) -> None:
        """Until the endpoint answers a question, or has said that it never will."""
        while not self.fatal:
            try:
                await self._ask(QUESTION, None, 0, self.usage["preflight"], "none")
                return
            except JudgeError:
                await asyncio.sleep(_RECOVERY)

    async def _ask(
        self, messages: Messages, schema: Schema, logprobs: int, usage: Usage, mode: Mode
    ) -> Reply:
        shape = response_format(schema, mode)

        def read(reply: Completion) -> Reply:
            text, count = answer_of(reply, schema), reply.usage
            tokens = (count.prompt_tokens, count.completion_tokens) if count else (0, 0)
            return Reply(text, *tokens, reply.choices[0].logprobs)

        request = partial(self._sampling.body, messages, shape, logprobs)
        return await self._endpoint.ask(request, read, usage)
