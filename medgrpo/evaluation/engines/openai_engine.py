"""Answers from a server that speaks OpenAI's protocol: vLLM, llama.cpp, Ollama, or OpenAI's own.

For models that this machine cannot hold. The server decides which model and adapter answer, so
there is nothing to compare within a run. It is asked as a judge is (medgrpo/judge/endpoint.py):
limited, tried again, and believed only when what it sends is an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt

from medgrpo.errors import UserError
from medgrpo.evaluation.engines.base import (
    SEED,
    Decoding,
    Engine,
    Generation,
    OnAnswers,
    Prompts,
    unheard,
)
from medgrpo.judge.address import Address, BaseUrl
from medgrpo.judge.client import JudgeError, Limits
from medgrpo.judge.endpoint import Endpoint
from medgrpo.judge.protocol import Completion
from medgrpo.judge.traffic import OwnLoop, concurrently
from medgrpo.judge.usage import Usage
from medgrpo.model.base import Policy


@dataclass(kw_only=True)
class OpenAIEngine(Engine):
    """Chat completions of a server, whatever the policy is."""

    renders: ClassVar[bool] = False  # the server does, by a template of its own
    no_adapter: ClassVar[str] = "a server answers with what it serves"

    base_url: BaseUrl  # for example http://localhost:8000/v1
    served_model: str  # the server's name for the model
    api_key_env: str | None = None  # the variable that holds the key, if the server wants one
    attempts: Annotated[int, Ge(1)] = 5  # at an answer, where a failure may pass
    attempt_timeout: Annotated[float, Gt(0)] = 600.0  # seconds; all attempts: three times that

    @property
    def answered_by(self) -> str:
        return f"{self.served_model} at {self.base_url}"

    def generate(
        self, policy: Policy, prompts: Prompts, decoding: Decoding, on_answers: OnAnswers = unheard
    ) -> list[Generation]:
        """As `Engine.generate`: no answer is a refusal of the model, or of a filter, as well."""
        address = Address.of(
            self.base_url, self.served_model, self.api_key_env, "engine", "served_model"
        )
        endpoint, usage = Endpoint(address, self._limits(decoding.batch_size)), Usage()
        body: dict[str, Any] = {
            "model": self.served_model,
            "max_tokens": decoding.max_new_tokens,
            "temperature": decoding.temperature,
        }
        if decoding.chat_template_kwargs:
            body["chat_template_kwargs"] = decoding.chat_template_kwargs

        async def answer(index: int) -> Generation:
            seed = SEED + index if decoding.temperature else SEED
            asked = {**body, "messages": prompts[index], "seed": seed}
            try:
                return await endpoint.ask(lambda bad: dict(asked), _read, usage)
            except JudgeError as error:
                raise UserError(
                    f"engine=openai: {self.served_model} at {address.base_url} gives no answer to "
                    f"prompt {index + 1} of {len(prompts)} ({error}). See engine.base_url, "
                    "engine.served_model and engine.api_key_env"
                ) from None

        loop = OwnLoop("evaluation")
        batch = concurrently(
            answer, len(prompts), decoding.batch_size, lambda place, made: on_answers({place: made})
        )
        try:
            return loop.start(batch).result()
        finally:
            loop.close(endpoint.close)

    def _limits(self, concurrency: int) -> Limits:
        return Limits(
            concurrency, None, None, self.attempts, self.attempt_timeout,
            backoff=0.5, deadline=3 * self.attempt_timeout,
        )  # fmt: skip


def _read(reply: Completion) -> Generation:
    """The answer, perhaps cut off or empty; its length estimated where no tokens are counted."""
    text = reply.text()
    tokens = reply.usage.completion_tokens if reply.usage else len(text) // 4
    return Generation(text, tokens, reply.cut_off)
