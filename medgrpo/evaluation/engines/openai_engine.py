"""Answers from a server that speaks OpenAI's protocol: vLLM, llama.cpp, Ollama, or OpenAI's own.

For models that this machine cannot hold. The server decides which model and adapter answer, so
there is nothing to compare within a run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medgrpo.config.schema import Problem
from medgrpo.errors import UserError
from medgrpo.evaluation.engines.base import ONLY_EVALUATES, SEED, Decoding, Engine, Generation
from medgrpo.model.base import Policy

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion


@dataclass(kw_only=True)
class OpenAIEngine(Engine):
    """Chat completions of a server, whatever the policy is."""

    base_url: str  # for example http://localhost:8000/v1
    served_model: str  # the server's name for the model
    api_key_env: str | None = None  # the variable that holds the key, if the server wants one

    @classmethod
    def unsupported(cls, *, trains: bool, adapter: bool) -> Iterator[Problem]:
        if trains:
            yield ONLY_EVALUATES
        if adapter:
            yield Problem("model.adapter", "a server answers with what it serves: leave it null")

    def generate(
        self,
        policy: Policy,
        prompts: Sequence[list[dict[str, str]]],
        decoding: Decoding,
        on_progress: Callable[[int], None] = lambda answered: None,
    ) -> list[Generation]:
        """As `Engine.generate`; passing failures are tried again."""
        from openai import OpenAI, OpenAIError

        client = OpenAI(base_url=self.base_url, api_key=self._key(), max_retries=5, timeout=600)
        options: dict[str, Any] = {
            "model": self.served_model,
            "max_tokens": decoding.max_new_tokens,
            "temperature": decoding.temperature,
        }
        if decoding.chat_template_kwargs:
            options["extra_body"] = {"chat_template_kwargs": decoding.chat_template_kwargs}

        def answer(numbered: tuple[int, Any]) -> Generation:
            index, messages = numbered
            seed = SEED + index if decoding.temperature else SEED
            return _read(client.chat.completions.create(messages=messages, seed=seed, **options))

        answers = []
        try:
            with ThreadPoolExecutor(decoding.batch_size) as pool:
                for generation in pool.map(answer, enumerate(prompts)):
                    answers.append(generation)
                    on_progress(len(answers))
        except OpenAIError as error:
            raise UserError(
                f"engine=openai: {self.served_model} at {self.base_url} does not answer ({error}). "
                "See engine.base_url, engine.served_model and engine.api_key_env"
            ) from error
        return answers

    def _key(self) -> str:
        """The key that the environment holds; a placeholder where none is needed."""
        if self.api_key_env is None:
            return "none"
        if not os.environ.get(self.api_key_env):
            raise UserError(
                f"engine.api_key_env: the environment variable {self.api_key_env} is not set; set "
                "it, or engine.api_key_env=null for a server that wants no key"
            )
        return os.environ[self.api_key_env]


def _read(reply: ChatCompletion) -> Generation:
    choice = reply.choices[0]
    tokens = reply.usage.completion_tokens if reply.usage else 0
    return Generation(choice.message.content or "", tokens, choice.finish_reason == "length")
