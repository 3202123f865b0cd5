"""What a judge is asked, how JSON is asked for, and whether a reply is what was asked for.

vLLM, Ollama, llama.cpp's servers and OpenAI take a schema in different ways (`MODES`) and differ
in how well they hold to it. The way that works is found by one question before the first.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from medgrpo.judge.client import JudgeError
from medgrpo.judge.protocol import (
    SERVER_ERROR,
    BadReply,
    Completion,
    Refused,
    Unavailable,
    one_line,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Mode = Literal["json_schema", "json_schema_unbounded", "json_object_schema", "json_object", "none"]
MODES: dict[str, tuple[Mode, ...]] = {  # judge.structured: what is tried, the first that works
    "json_schema": ("json_schema", "json_schema_unbounded"),  # OpenAI takes no maxLength
    "json_object_schema": ("json_object_schema",),  # llama-cpp-python
    "json_object": ("json_object",),
    "none": ("none",),
}

_WARMER = 0.4  # temperature at least after a bad reply: at 0 the same one would come again
_MAX_CHARACTERS, _MAX_ITEMS = 300, 40  # of a string and a list: small models loop in them

_log = logging.getLogger(__name__)


class Probe(BaseModel):
    """The answer to `QUESTION`."""

    answer: str


QUESTION = [
    {
        "role": "user",
        "content": 'Is water wet? Answer in JSON: {"answer": "yes"} or {"answer": "no"}.',
    }
]


@dataclass(frozen=True)
class Sampling:
    """What a request says beside its messages; None is left out."""

    model: str
    temperature: float | None
    seed: int | None
    max_tokens: int

    def body(
        self, messages: list[dict[str, str]], shape: dict[str, Any], logprobs: int, bad: int
    ) -> dict[str, Any]:
        """A request; after `bad` bad replies, one that can be answered differently."""
        warm = self.temperature
        if bad and warm is not None:
            warm = max(warm, _WARMER)
        body = {
            "model": self.model,
            "messages": messages,
            "temperature": warm,
            "seed": None if self.seed is None else self.seed + bad,
            "max_tokens": self.max_tokens,
            "logprobs": True if logprobs else None,
            "top_logprobs": logprobs or None,
        }
        return {name: value for name, value in body.items() if value is not None} | shape


async def first_of(modes: tuple[Mode, ...], ask: Callable[[Mode], Awaitable[object]]) -> Mode:
    """The first of `modes` in which `ask` gets an answer to the question.

    Raises JudgeError when the endpoint takes none, or cannot be asked at all.
    """
    for mode in modes:
        try:
            await ask(mode)
            return mode
        except (Refused, BadReply) as error:
            failed: JudgeError = error
        except Unavailable as error:  # llama-cpp-python: HTTP 500 for a mode unknown to it
            if error.status < SERVER_ERROR:
                raise
            failed = error
    if not isinstance(failed, BadReply):
        raise JudgeError(
            f"a plain question is refused ({failed}). Set what the endpoint does not take to "
            "null (judge.temperature, judge.seed), or choose another judge.structured"
        )
    _log.warning("judge: no plain JSON in any mode: %s", failed)
    return modes[-1]  # a small model: it may do better with the real prompts


def response_format(schema: type[BaseModel] | None, mode: Mode) -> dict[str, Any]:
    """The part of a request that asks for JSON."""
    if schema is None or mode == "none":
        return {}
    if mode == "json_object":
        return {"response_format": {"type": "json_object"}}
    shape = _strict(schema.model_json_schema(), bounded=mode != "json_schema_unbounded")
    if mode == "json_object_schema":
        return {"response_format": {"type": "json_object", "schema": shape}}
    named = {"name": schema.__name__, "schema": shape, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _strict(node: Any, *, bounded: bool) -> Any:
    """A schema as strict modes want it (every field, no other, no defaults), sizes bounded."""
    if isinstance(node, list):
        return [_strict(item, bounded=bounded) for item in node]
    if not isinstance(node, dict):
        return node
    node = {k: _strict(value, bounded=bounded) for k, value in node.items() if k != "default"}
    if "properties" in node:
        node |= {"additionalProperties": False, "required": list(node["properties"])}
    if bounded and node.get("type") == "string" and not {"enum", "const"} & node.keys():
        node.setdefault("maxLength", _MAX_CHARACTERS)
    if bounded and node.get("type") == "array":
        node.setdefault("maxItems", _MAX_ITEMS)
    return node


def answer_of(reply: Completion, schema: type[BaseModel] | None) -> str:
    """The text without thoughts, or its JSON checked against `schema`. Raises BadReply."""
    written = reply.text()
    if reply.cut_off:
        raise BadReply("the answer was cut off at judge.max_tokens")
    text = written.rpartition("</think>")[2].strip()  # some templates open it in the prompt
    if schema is not None:
        text = text[text.find("{") : text.rfind("}") + 1]
    if not text or text.startswith("<think>") or (schema and not accepts(schema, text)):
        wanted = "an answer" if schema is None else f"the {schema.__name__} asked for"
        raise BadReply(f"not {wanted}: {one_line(written, 200)!r}")
    return text


def accepts(schema: type[BaseModel], text: str) -> bool:
    """Whether `text` is JSON of that shape; NaN and Infinity are not JSON."""
    from pydantic_core import from_json

    try:
        schema.model_validate(from_json(text, allow_inf_nan=False))
    except ValueError:  # pydantic's ValidationError is one
        return False
    return True
