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
import threading
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval, Predicate

from medgrpo.errors import UserError
from medgrpo.judge.cache import Cache, cache_key
from medgrpo.judge.client import ASKING, Asking, Judge, JudgeError, Limits, Reply
from medgrpo.judge.endpoint import Endpoint, Sampling
from medgrpo.judge.protocol import MODES, Mode, Unavailable, accepts
from medgrpo.judge.traffic import SingleFlight
from medgrpo.judge.usage import Usage

if TYPE_CHECKING:
    from pydantic import BaseModel

_log = logging.getLogger(__name__)


class OpenAIJudge(Judge):
    """Chat completions, concurrent, limited, retried, cached and counted.

    Limits are those of the whole run: under torchrun each process takes its share.
    """

    def __init__(
        self,
        *,
        model: str,
        base_url: str,
        api_key_env: Annotated[str, Predicate(str.isidentifier)] | None,
        structured: Literal["auto", "json_schema", "json_object_schema", "json_object", "none"],
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

        Raises UserError when the key's variable is not set, the cache cannot be written, or
        `max_cost` has no prices to count by.
        """
        super().__init__()
        if max_cost is not None and not price_in + price_out:
            raise UserError("judge.max_cost needs judge.price_in and judge.price_out")
        self.name = model
        self.max_tokens, self.logprobs, self.reasons = max_tokens, logprobs, reasons
        self.verdict_deadline = verdict_deadline
        self.max_failure_rate, self.failure_window = max_failure_rate, failure_window
        self.price_in, self.price_out, self.max_cost = price_in, price_out, max_cost
        self._sampling = Sampling(model, temperature, seed, max_tokens)
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        self.limits = Limits(
            concurrency=max(1, concurrency // processes),
            requests_per_minute=requests_per_minute and requests_per_minute / processes,
            tokens_per_minute=tokens_per_minute and tokens_per_minute / processes,
            attempts=attempts,
            attempt_timeout=attempt_timeout,
            backoff=backoff,
        )
        base_url = base_url.rstrip("/")
        key = _key(api_key_env)
        self._identity = [base_url, vars(self._sampling), structured, salt]
        self._modes = sum(MODES.values(), ()) if structured == "auto" else MODES[structured]
        self.cache = None if cache is None else Cache(cache)
        self._flights: SingleFlight[Reply] = SingleFlight()
        self._endpoint = Endpoint(base_url, api_key_env, key, self._sampling, self.limits)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="judge", daemon=True)
        self._thread.start()

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
            mode = asyncio.run_coroutine_threadsafe(self._probe(), self._loop).result()
        except JudgeError as error:
            hint = (
                "; is the server up? See judge.base_url" if isinstance(error, Unavailable) else ""
            )
            raise UserError(
                f"judge {self.name} at {self._endpoint.base_url}: {error}{hint}. Without any "
                "endpoint, judge=lexical stands in"
            ) from None
        _log.info("judge: %s, JSON by %s", self.name, mode)

    async def chat(
        self, messages: list[dict[str, str]], schema: type[BaseModel] | None, logprobs: int = 0
    ) -> Reply:
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
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self._loop))

    def close(self) -> None:
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
        super().close()

    # From here on everything runs on the judge's own loop.

    async def _shared(
        self,
        key: bytes,
        messages: list[dict[str, str]],
        schema: type[BaseModel] | None,
        logprobs: int,
        usage: Usage,
    ) -> Reply:
        """Join the same call if it is under way; otherwise make it and keep its reply."""

        async def ask() -> Reply:
            mode = await self._probe()
            reply = await self._endpoint.ask(messages, schema, logprobs, usage, mode)
            if self.cache:
                self.cache.put(key, vars(reply))
            return reply

        usage.shared += self._flights.under_way(key)
        return await self._flights.do(key, ask)

    async def _probe(self) -> Mode:
        return await self._endpoint.probe(self._modes, self.usage["preflight"])

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._endpoint.close()


def _key(variable: str | None) -> str:
    """The key that the environment holds; "" where none is needed."""
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(
            f"judge.api_key_env: the environment variable {variable} is not set. Set it to your "
            "key, or choose judge=local_server or judge=lexical"
        )
    return key
