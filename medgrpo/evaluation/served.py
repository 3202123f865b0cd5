"""Answers from a server that speaks OpenAI's protocol: vLLM, llama.cpp, Ollama, or OpenAI's own.

For models that this machine cannot hold. The server decides which model and adapter answer, so
there is nothing to compare within a run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from medgrpo.errors import UserError
from medgrpo.evaluation.generate import SEED, Generation


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
) -> list[Generation]:
    """The server's response to each prompt, in their order; `batch_size` are under way at a time.

    Passing failures are tried again. Raises UserError where the server cannot answer: a missing
    answer would look like a wrong one.
    """
    from openai import OpenAI, OpenAIError

    client = OpenAI(base_url=base_url, api_key=_key(api_key_env), max_retries=5, timeout=600)
    more = {"chat_template_kwargs": chat_template_kwargs} if chat_template_kwargs else None

    def answer(numbered: tuple[int, list[dict[str, str]]]) -> Generation:
        index, prompt = numbered
        messages: Any = prompt
        reply = client.chat.completions.create(
            model=model,
            messages=messages,
            max_tokens=max_new_tokens,
            temperature=temperature,
            seed=SEED + index if temperature else SEED,
            extra_body=more,
        )
        tokens = reply.usage.completion_tokens if reply.usage else 0
        return Generation(reply.choices[0].message.content or "", tokens)

    answers = []
    try:
        with ThreadPoolExecutor(batch_size) as pool:
            for generation in pool.map(answer, enumerate(prompts)):
                answers.append(generation)
                on_progress(len(answers))
    except OpenAIError as error:
        raise UserError(
            f"evaluation.engine=openai: {model} at {base_url} does not answer ({error}). See "
            "evaluation.base_url, evaluation.served_model and evaluation.api_key_env"
        ) from error
    return answers


def _key(variable: str | None) -> str:
    """The key that the environment holds; a placeholder where none is needed."""
    if variable is None:
        return "none"
    if not os.environ.get(variable):
        raise UserError(
            f"evaluation.api_key_env: the environment variable {variable} is not set; set it, or "
            "evaluation.api_key_env=null for a server that wants no key"
        )
    return os.environ[variable]
