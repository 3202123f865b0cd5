"""The protocol of OpenAI-compatible endpoints: a request, its reply, and what an error means.

OpenAI, vLLM, Ollama and llama.cpp's servers speak the same protocol and differ in how they take a
JSON schema (`MODES`), in HTTP codes for the same mistake, and in how well they hold to a schema.
aiohttp and not OpenAI's own client: 0.3 ms of CPU a call instead of 3 (benchmarks/judge.py makes
hundreds at once), and errors that a judge must tell apart are told apart here anyway.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal

from medgrpo.judge.client import JudgeError, Reply

if TYPE_CHECKING:
    import aiohttp
    from pydantic import BaseModel

Mode = Literal["json_schema", "json_schema_unbounded", "json_object_schema", "json_object", "none"]
MODES: dict[str, tuple[Mode, ...]] = {  # judge.structured: what is tried, the first that works
    "json_schema": ("json_schema", "json_schema_unbounded"),  # OpenAI takes no maxLength
    "json_object_schema": ("json_object_schema",),  # llama-cpp-python
    "json_object": ("json_object",),
    "none": ("none",),
}

_MAX_CHARACTERS, _MAX_ITEMS = 300, 40  # of a string and a list: small models loop in them
_OK, _PAYMENT_REQUIRED, _SERVER_ERROR = 200, 402, 500
_PASSING = (408, 409, 429)
_THOUGHTS = re.compile(r"<think>.*?</think>", re.DOTALL)


class Unavailable(JudgeError):
    """Not now: too many requests, an error of the server, a lost connection, no answer in time."""

    def __init__(self, message: str, retry_after: float | None = None, status: int = 0) -> None:
        super().__init__(message)
        self.retry_after = retry_after  # seconds, if the endpoint said
        self.status = status


class BadReply(JudgeError):
    """An answer, but cut off or not the JSON that was asked for."""


class Refused(JudgeError):
    """The endpoint does not take this request, now or later."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status = status


class QuotaExhausted(Refused):
    """A 429 that no waiting helps."""


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


async def post(
    session: aiohttp.ClientSession, url: str, body: dict[str, Any], secret: str
) -> dict[str, Any]:
    """The decoded reply. Raises Unavailable or Refused; any wait is the caller's to end.

    Some endpoints echo the key when they refuse it: `secret` is struck out of all that comes back.
    """
    import aiohttp

    try:
        async with session.post(url, json=body) as response:
            text = await response.text()
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(f"{type(error).__name__}: {error}") from None
    text = text.replace(secret, "***") if secret else text
    if response.status != _OK:
        raise _refusal(response.status, response.headers.get("Retry-After"), text)
    try:
        reply = json.loads(text)
        reply["choices"][0]["message"]
    except (ValueError, LookupError, TypeError):
        raise Unavailable(f"not a chat completion: {text[:200]!r}") from None
    return reply


def _refusal(status: int, retry_after: str | None, text: str) -> JudgeError:
    message = _message(text)
    if (
        status == _PAYMENT_REQUIRED
        or "insufficient_quota" in text
        or "exceeded your current quota" in text
    ):
        return QuotaExhausted(status, message)
    if status in _PASSING or status >= _SERVER_ERROR:
        return Unavailable(f"HTTP {status}: {message}", _seconds(retry_after), status)
    return Refused(status, message)


def _message(text: str) -> str:
    """What the endpoint says, out of the JSON that most of them wrap it in."""
    try:
        error = json.loads(text)
        error = error.get("error", error)
        return str(error.get("message", error) if isinstance(error, dict) else error)[:500]
    except (ValueError, AttributeError):
        return text[:200]


def _seconds(retry_after: str | None) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date; None without one."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        wait = parsedate_to_datetime(retry_after) - datetime.now(UTC)
    except (ValueError, TypeError):
        return None
    return max(0.0, wait.total_seconds())


def tokens(reply: dict[str, Any]) -> tuple[int, int]:
    """Tokens in and out, 0 where the endpoint does not count them."""
    usage = reply.get("usage") or {}
    return usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0


def read(reply: dict[str, Any], schema: type[BaseModel] | None) -> Reply:
    """The reply's text, or its JSON checked against `schema`. Raises BadReply."""
    choice = reply["choices"][0]
    text = _THOUGHTS.sub("", choice["message"].get("content") or "").strip()
    if choice.get("finish_reason") == "length":
        raise BadReply("the answer was cut off at judge.max_tokens")
    if schema is not None:
        text = text[text.find("{") : text.rfind("}") + 1]
    if not text or (schema is not None and not accepts(schema, text)):
        wanted = "an answer" if schema is None else f"the {schema.__name__} asked for"
        raise BadReply(f"not {wanted}: {choice['message'].get('content')!r:.200}")
    return Reply(text, *tokens(reply), choice.get("logprobs"))


def accepts(schema: type[BaseModel], text: str) -> bool:
    """Whether `text` is JSON of that shape; NaN and Infinity are not JSON."""
    from pydantic_core import from_json

    try:
        schema.model_validate(from_json(text, allow_inf_nan=False))
    except ValueError:  # pydantic's ValidationError is one
        return False
    return True
