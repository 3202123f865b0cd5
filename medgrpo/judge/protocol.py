"""The protocol of OpenAI-compatible endpoints: what a reply says, and what an error means.

OpenAI, vLLM, Ollama and llama.cpp's servers speak the same protocol and differ in HTTP codes for
the same mistake. What comes back is a stranger's data: read by a schema, so that it is either a
completion or one of four errors, each of which says what to do about it.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    FailFast,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from medgrpo.judge.client import JudgeError

OK, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, SERVER_ERROR = 200, 401, 403, 404, 500
REDIRECTS = range(300, 400)
_PAYMENT_REQUIRED, _PASSING = 402, (408, 409, 429)
_NO_CREDIT = re.compile(rb"insufficient_quota|exceeded your current quota")
_MOST_TOKENS = 10**7  # of one call: a count beyond it is none
_NO_TEXT = ("content_filter", "tool_calls", "function_call")


class Unavailable(JudgeError):
    """Not now: too many requests, an error of the server, a lost connection, no answer in time."""

    def __init__(self, message: str, retry_after: float = 0.0, status: int = 0) -> None:
        super().__init__(message)
        self.retry_after = retry_after  # seconds that the endpoint asks to wait, up to infinity
        self.status = status


class BadReply(JudgeError):
    """An answer, but cut off, not the JSON that was asked for, or no text at all."""


class Refused(JudgeError):
    """The endpoint does not take this request, now or later."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status = status


class QuotaExhausted(Refused):
    """A 429 that no waiting helps."""


def _or_none(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    try:
        return handler(value)
    except ValidationError:
        return None


class _Usage(BaseModel):
    prompt_tokens: int = Field(gt=0, lt=_MOST_TOKENS)
    completion_tokens: int = Field(ge=0, lt=_MOST_TOKENS)


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class Completion(BaseModel):
    """A reply as the protocol has it; what nobody reads is not kept."""

    choices: Annotated[list[_Choice], FailFast(), Field(min_length=1, max_length=8)]
    usage: Annotated[_Usage | None, WrapValidator(_or_none)] = None  # None: no count to believe

    @property
    def cut_off(self) -> bool:
        """Whether the answer ended at the length limit."""
        return self.choices[0].finish_reason == "length"

    def text(self) -> str:
        """What was written, perhaps "". Raises BadReply for a refusal and what is no text."""
        choice = self.choices[0]
        if choice.message.refusal:
            raise BadReply(f"the model refused: {one_line(choice.message.refusal)}")
        if choice.finish_reason in _NO_TEXT or (
            choice.message.content is None and not self.cut_off
        ):
            raise BadReply(f"no text was written (finish_reason: {choice.finish_reason})")
        return choice.message.content or ""  # a thinking model that is cut off has none


def completion(body: bytes) -> Completion:
    """The reply that `body` holds. Raises Unavailable where it holds none."""
    try:
        return Completion.model_validate_json(body)
    except ValidationError as error:
        reason = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise Unavailable(f"not a chat completion: {reason} ({_said(body)})") from None


def refusal(status: int, body: bytes, retry_after: str, location: str) -> JudgeError:
    """What an HTTP status other than 200 means; the headers of those names, "" without one."""
    message = _said(body) or "nothing said"
    if status == _PAYMENT_REQUIRED or _NO_CREDIT.search(body):
        return QuotaExhausted(status, message)
    if status in REDIRECTS:  # whoever follows takes questions, and perhaps the key, elsewhere
        return Refused(status, f"it sends us to {one_line(location, 200) or 'nowhere'}")
    if status in _PASSING or status >= SERVER_ERROR:
        return Unavailable(f"HTTP {status}: {message}", _seconds(retry_after), status)
    return Refused(status, message)


def one_line(text: str, most: int = 500) -> str:
    """The start of an endpoint's own words, on one line."""
    return " ".join(text[: 2 * most].split())[:most]


def _said(body: bytes) -> str:
    """What the endpoint says, out of the JSON that most of them wrap an error in."""
    text = body.decode(errors="replace")
    try:
        found = json.loads(text)
        error = found.get("error") or found
        return one_line(str(error.get("message") or error if isinstance(error, dict) else error))
    except (ValueError, AttributeError, RecursionError):
        return one_line(text, 200)


def _seconds(retry_after: str) -> float:
    """Seconds of a Retry-After header, which is a number or a date; 0.0 without one."""
    try:
        wait = float(retry_after)
    except ValueError:
        try:
            until = parsedate_to_datetime(retry_after)
            wait = (until.astimezone(UTC) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return 0.0 if math.isnan(wait) else max(0.0, wait)


def struck(text: bytes, secret: str) -> bytes:
    """`text` without the key, which endpoints echo, perhaps by JSON's escapes."""
    if not secret:
        return text
    text = text.replace(secret.encode(), b"***")
    return _escaped(secret).sub(b"***", text) if b"\\u" in text or b"\\/" in text else text


@cache
def _escaped(secret: str) -> re.Pattern[bytes]:
    """The key, each sign as it is or as JSON may write it (`s`, `\\u0073`)."""
    signs = (rf"(?:\\?{re.escape(sign)}|\\u(?i:{ord(sign):04x}))" for sign in secret)
    return re.compile("".join(signs).encode())
