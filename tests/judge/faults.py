"""Ways in which an endpoint goes wrong, by name: bodies, statuses, and bytes that are no HTTP.

A kind gets the request, a good reply to it (a dict) and the key that came with it.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

from aiohttp import web

Kind = Callable[[web.Request, dict[str, Any], str], Awaitable[web.StreamResponse]]

NOTE = "\x1b[31mred\x1b[0m \x1b]0;title\x07"  # what a terminal obeys
ANYTHING = "x" * 100


def _body(make: Callable[[dict[str, Any], str], Any]) -> Kind:
    """HTTP 200 with what `make` returns: bytes as they are, anything else as JSON."""

    async def answer(_: web.Request, reply: dict[str, Any], key: str) -> web.StreamResponse:
        made = make(reply, key)
        body = made if isinstance(made, bytes) else json.dumps(made).encode()
        return web.Response(body=body, content_type="application/json")

    return answer


def _choice(**fields: Any) -> Kind:
    return _body(lambda reply, _: {**reply, "choices": [{**reply["choices"][0], **fields}]})


def _message(value: Any) -> Kind:
    return _choice(message=value)


def _usage(value: Any) -> Kind:
    return _body(lambda reply, _: {**reply, "usage": value})


def _text(make: Callable[[str, str], str]) -> Kind:
    """A good reply whose text is `make(text, key)`."""

    def changed(reply: dict[str, Any], key: str) -> dict[str, Any]:
        message = reply["choices"][0]["message"]
        message["content"] = make(message["content"], key)
        return reply

    return _body(changed)


def _status(status: int, message: str = "no", **headers: str) -> Kind:
    async def answer(_: web.Request, __: dict[str, Any], key: str) -> web.StreamResponse:
        error = {"error": {"message": message.replace("KEY", key), "code": "x"}}
        named = {
            name.replace("_", "-"): value.replace("KEY", key) for name, value in headers.items()
        }
        return web.json_response(error, status=status, headers=named)

    return answer


def _raw(*pieces: bytes, pause: float = 0.0, hold: bool = False, reset: bool = False) -> Kind:
    """Bytes on the wire; then the connection is held open, reset or closed."""

    async def answer(request: web.Request, _: dict[str, Any], key: str) -> web.StreamResponse:
        wire = request.transport
        assert wire is not None
        for piece in pieces:
            if wire.is_closing():
                break
            wire.write(piece.replace(b"KEY", key.encode()))
            await asyncio.sleep(pause)
        if hold:
            await asyncio.sleep(3600)
        wire.abort() if reset else wire.close()
        return web.Response()

    return answer


def _endless(start: bytes, piece: bytes) -> Kind:
    """`start`, then `piece` for as long as somebody reads."""

    async def answer(request: web.Request, _: dict[str, Any], __: str) -> web.StreamResponse:
        wire = request.transport
        assert wire is not None
        wire.write(start)
        while not wire.is_closing():
            full = wire.get_write_buffer_size() > 2**20
            if not full:
                wire.write(piece)
            await asyncio.sleep(0.01 if full else 0)
        return web.Response()

    return answer


def _packed(encoding: str, make: Callable[[dict[str, Any]], bytes]) -> Kind:
    async def answer(_: web.Request, reply: dict[str, Any], __: str) -> web.StreamResponse:
        named = {"Content-Encoding": encoding, "Content-Type": "application/json"}
        return web.Response(body=make(reply), headers=named)

    return answer


@cache
def _bomb(wbits: int) -> bytes:
    """A gigabyte of blanks: one compressed block, again and again."""
    packer = zlib.compressobj(wbits=wbits)
    first, again = (
        packer.compress(b" " * 2**22) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2)
    )
    return first + again * 255


def _gzipped(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(data) + packer.flush()


def _escapes(key: str) -> str:
    return "".join(f"\\u{ord(sign):04x}" for sign in key)


async def _refused_in_escapes(_: web.Request, __: Any, key: str) -> web.StreamResponse:
    return web.Response(body=f'{{"error": "{_escapes(key)}"}}'.encode(), status=401)


async def _hang(*_: Any) -> web.StreamResponse:
    await asyncio.sleep(3600)
    raise AssertionError


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
KINDS: dict[str, Kind] = {
    # 200, and no completion
    "html": _body(lambda *_: b"<html><body>Welcome</body></html>"),
    "empty body": _body(lambda *_: b""),
    "null": _body(lambda *_: None),
    "a list": _body(lambda *_: []),
    "a string": _body(lambda *_: "fine"),
    "error object": _body(lambda *_: {"error": {"message": f"overloaded {NOTE}", "code": 529}}),
    "error string": _body(lambda _, key: {"error": f"bad key {key}"}),
    "error list": _body(lambda *_: {"error": ["no"]}),
    "half a json": _body(lambda reply, _: json.dumps(reply).encode()[:-30]),
    "two jsons": _body(lambda reply, _: json.dumps(reply).encode() * 2),
    "an event stream": _body(lambda reply, _: b"data: " + json.dumps(reply).encode() + b"\n\n"),
    "bad utf-8": _body(lambda reply, _: json.dumps(reply).encode().replace(b"assist", b"\xff\xfe")),
    "utf-16": _body(lambda reply, _: json.dumps(reply).encode("utf-16")),
    "byte order mark": _body(lambda reply, _: b"\xef\xbb\xbf" + json.dumps(reply).encode()),
    "deep lists": _body(lambda *_: b"[" * 400_000),
    "deep objects": _body(lambda *_: b'{"choices":' * 40_000),
    "deep error": _body(lambda *_: b'{"error":' * 40_000),
    "long number": _body(lambda *_: b'{"choices": ' + b"9" * 400_000 + b"}"),
    "many lists": _body(lambda *_: b'{"choices": [' + b"[]," * 300_000 + b"[]]}"),
    "many choices": _body(
        lambda *_: b'{"choices": [' + b'{"message":{"content":"a"}},' * 35_000 + b"0]}"
    ),
    "no choices": _body(lambda reply, _: {**reply, "choices": []}),
    "choices null": _body(lambda reply, _: {**reply, "choices": None}),
    "choices left out": _body(lambda *_: {"id": "x"}),
    "choices an object": _body(lambda reply, _: {**reply, "choices": {"0": 1}}),
    "choices of numbers": _body(lambda reply, _: {**reply, "choices": [1, 2]}),
    "message null": _message(None),
    "message a string": _message("yes"),
    "message a list": _message(["yes"]),
    "content a list": _message({"content": [{"type": "text", "text": "yes"}]}),
    "content a number": _message({"content": 4}),
    "content an object": _message({"content": {"answer": "yes"}}),
    "content null": _message({"content": None}),
    "content left out": _message({"role": "assistant"}),
    "refusal": _message({"content": None, "refusal": f"I cannot help with that. {NOTE}"}),
    "refusal beside text": _message({"content": "No.", "refusal": "I cannot help with that."}),
    "tool calls": _choice(
        finish_reason="tool_calls", message={"content": None, "tool_calls": [{"id": "1"}]}
    ),
    "content filter": _choice(finish_reason="content_filter", message={"content": ""}),
    "finish reason a number": _choice(finish_reason=7),
    "logprobs a string": _choice(logprobs="none"),
    "lone surrogate": _text(lambda text, _: text + "\ud800"),
    # 200, and a completion that says little good
    "control codes": _text(lambda *_: NOTE),
    "an apology": _text(lambda *_: "I am sorry, I cannot answer that."),
    "wrong shape": _text(lambda *_: '{"unexpected": [1, 2]}'),
    "thoughts alone": _text(lambda text, _: f"<think>{text}</think>"),
    "thoughts without end": _text(lambda text, _: f"<think>{text[:9]}"),
    "not a number": _text(lambda *_: '{"score": NaN}'),
    "deep answer": _text(lambda *_: "{" + '"a":{' * 20_000),
    "half a megabyte": _text(lambda *_: ANYTHING * 5_000),
    "key in the text": _text(lambda _, key: f"You are {key}."),
    "key escaped in the text": _body(
        lambda reply, key: json.dumps(
            {**reply, "choices": [{"message": {"content": "KEY"}}]}
        ).replace("KEY", _escapes(key)).encode()
    ),
    "key in a refusal": _body(
        lambda reply, key: {**reply, "choices": [{"message": {"refusal": f"not to {key}"}}]}
    ),
    "key in odd json": _body(lambda _, key: f'{{"odd": "{_escapes(key)}"}}'.encode()),
    # 200, a good verdict, and a bill that is none
    "usage left out": _body(lambda reply, _: {k: v for k, v in reply.items() if k != "usage"}),
    "usage null": _usage(None),
    "usage a string": _usage("12"),
    "usage a list": _usage([1, 2]),
    "usage of words": _usage({"prompt_tokens": "many", "completion_tokens": "few"}),
    "usage negative": _usage({"prompt_tokens": -(10**9), "completion_tokens": -(10**9)}),
    "usage zero": _usage({"prompt_tokens": 0, "completion_tokens": 0}),
    "usage huge": _usage({"prompt_tokens": 10**18, "completion_tokens": 10**18}),
    "usage infinite": _body(
        lambda reply, _: json.dumps({**reply, "usage": "?"}).replace('"?"', "Infinity").encode()
    ),
    # another status
    "400": _status(400, "bad request"),
    "401": _status(401, "Incorrect API key provided: KEY."),
    "401 in escapes": _refused_in_escapes,
    "402": _status(402, "Insufficient balance"),
    "403": _status(403, f"forbidden {NOTE}"),
    "404": _status(404, "no such model"),
    "408": _status(408, "timeout"),
    "413": _status(413, "too large"),
    "422": _status(422, "unprocessable"),
    "429 without a time": _status(429, "slow down"),
    "429 quota": _status(429, "insufficient_quota"),
    "429 for 31 years": _status(429, "slow down", Retry_After="1e9"),
    "429 for ever": _status(429, "slow down", Retry_After="inf"),
    "429 until 2099": _status(429, "slow", Retry_After="Fri, 13 Mar 2099 00:00:00 GMT"),
    "429 for nan": _status(429, "slow down", Retry_After="nan"),
    "429 for -5": _status(429, "slow down", Retry_After="-5"),
    "429 for words": _status(429, "slow down", Retry_After="a while, KEY"),
    "429 until year 0": _status(429, "slow", Retry_After="Fri, 13 Mar 0000 00:00:00 GMT"),
    "500 echoes the key": _status(500, "boom with Bearer KEY"),
    "503 for an hour": _status(503, "maintenance", Retry_After="3600"),
    "529": _status(529, "overloaded"),
    "204": _raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "304": _raw(b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "moved": _status(301, "moved", Location="http://127.0.0.1:9/v1/KEY"),
    "moved here": _status(307, "moved", Location="/v1/chat/completions"),
    "upgrade": _raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\nwhat now", hold=True),
    "status 999": _raw(b"HTTP/1.1 999 ?\r\nContent-Length: 2\r\n\r\n{}"),
    # no HTTP, or too much of it
    "closed": _raw(),
    "reset": _raw(reset=True),
    "garbage": _raw(b"\x16\x03\x01\x02\x00 KEY no http\r\n\r\n"),
    "no status": _raw(b"HTTP/1.1 KEY OK\r\n\r\n"),
    "long header": _raw(HEAD + b"X-Long: " + b"x" * 100_000 + b"\r\n\r\n{}"),
    "bad length": _raw(HEAD + b"Content-Length: -5\r\n\r\n{}"),
    "two lengths": _raw(HEAD + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\n{}"),
    "bad chunk": _raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nKEY\r\n{}\r\n"),
    "cut body": _raw(HEAD + b'Content-Length: 5000\r\n\r\n{"choices": ['),
    "cut body, held": _raw(HEAD + b'Content-Length: 5000\r\n\r\n{"choices": [', hold=True),
    "length of 2 TB": _raw(HEAD + b"Content-Length: 2199023255552\r\n\r\n{", hold=True),
    "head in drops": _raw(*(bytes([byte]) for byte in HEAD * 9), pause=0.05),
    "body in drops": _raw(HEAD + b"Content-Length: 900\r\n\r\n", *[b" "] * 900, pause=0.05),
    "no answer": _hang,
    "continue for ever": _endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 99),
    "headers for ever": _endless(HEAD, b"".join(b"X-%d: x\r\n" % n for n in range(999))),
    "body for ever": _endless(HEAD + b"\r\n", b" " * 2**16),
    "chunks for ever": _endless(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 2**16 + b"\r\n"
    ),
    "gzip bomb": _packed("gzip", lambda _: _bomb(31)),
    "deflate bomb": _packed("deflate", lambda _: _bomb(15)),
    "gzip twice": _packed("gzip, gzip", lambda _: _gzipped(_bomb(31))),
    "gzip that is none": _packed("gzip", lambda reply: json.dumps(reply).encode()),
    "gzip not asked for": _packed("gzip", lambda reply: _gzipped(json.dumps(reply).encode())),
    "brotli": _packed("br", lambda reply: json.dumps(reply).encode()),
}  # fmt: skip
WRITTEN = {  # there is a text, which is an answer where no JSON is asked for
    *("control codes", "an apology", "wrong shape", "thoughts alone", "thoughts without end"),
    *("not a number", "deep answer", "half a megabyte", "key in the text"),
    *("key escaped in the text",),
}
GOOD = {name for name in KINDS if name.startswith("usage")}  # the verdict stands
FATAL = {"401", "401 in escapes", "402", "429 quota"}  # no other call can succeed
