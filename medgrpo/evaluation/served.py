"""Answers from a server that speaks OpenAI's protocol: vLLM, llama.cpp, Ollama, or OpenAI's own.

For models that this machine cannot hold. The server decides which model and adapter answer, so
there is nothing to compare within a run. It is asked as a judge is (medgrpo/judge/endpoint.py):
limited, tried again, and believed only when what it sends is an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from medgrpo.errors import UserError
from medgrpo.evaluation.generate import SEED, Generation
from medgrpo.judge.address import Address
from medgrpo.judge.client import JudgeError, Limits
from medgrpo.judge.endpoint import Endpoint
from medgrpo.judge.protocol import Completion
from medgrpo.judge.traffic import OwnLoop, concurrently
from medgrpo.judge.usage import Usage


def generate_served(
    prompts: Sequence[list[dict[str, str]]],
    *,
    base_url: str,
    model: str,
    api_key_env: str | None,
    batch_size: int,
    max_new_tokens: int,
    temperature: float = 0.0,
    chat_template_kwargs: dict[str, Any] | None = None,
    on_progress: Callable[[int], None] = lambda answered: None,
    attempts: int = 5,
    attempt_timeout: float = 600.0,
) -> list[Generation]:
    """The server's response to each prompt, in their order; `batch_size` are under way at a time.

    Passing failures are tried again, in thrice `attempt_timeout` seconds. Raises UserError where
    the server gives no answer (it cannot, the model refuses, a filter took it): a missing one
    would look like a wrong one.
    """
    address = Address.of(base_url, model, api_key_env, "evaluation", "served_model")
    limits = Limits(
        batch_size, None, None, attempts, attempt_timeout, backoff=0.5, deadline=3 * attempt_timeout
    )
    sampling: dict[str, Any] = {"max_tokens": max_new_tokens, "temperature": temperature}
    if chat_template_kwargs:
        sampling["chat_template_kwargs"] = chat_template_kwargs
    endpoint, usage = Endpoint(address, limits), Usage()

    async def answer(index: int) -> Generation:
        seed = SEED + index if temperature else SEED
        body = {"model": model, "messages": prompts[index], "seed": seed, **sampling}
        try:
            return await endpoint.ask(lambda bad: dict(body), _written, usage)
        except JudgeError as error:
            raise UserError(
                f"evaluation.engine=openai: {model} at {address.base_url} gives no answer to "
                f"prompt {index + 1} of {len(prompts)} ({error}). See evaluation.base_url, "
                "evaluation.served_model and evaluation.api_key_env"
            ) from None

    loop = OwnLoop("evaluation")
    try:
        return loop.start(concurrently(answer, len(prompts), batch_size, on_progress)).result()
    finally:
        loop.close(endpoint.close)


def _written(reply: Completion) -> Generation:
    """The answer, perhaps cut off or empty; its length estimated where no tokens are counted."""
    text = reply.text()
    return Generation(text, reply.usage.completion_tokens if reply.usage else len(text) // 4)
