"""One request over HTTP, from which an endpoint gets no more than its key and can take no more.

It reads none of the environment's passwords (.netrc), follows no redirect, keeps no cookie, sends
nothing but what is asked for and holds no more of a reply than a reply can be. aiohttp and not
OpenAI's client: 0.3 ms of CPU a call instead of 3 (benchmarks/judge.py makes hundreds at once), and
errors that must be told apart are told apart here anyway.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from medgrpo.judge.address import Address
from medgrpo.judge.protocol import (
    OK,
    Completion,
    Unavailable,
    completion,
    one_line,
    refusal,
    struck,
)

if TYPE_CHECKING:
    import aiohttp

_LARGEST = 2**20  # bytes of a reply: the longest answers have a quarter
_STALL = 30.0  # seconds between two pieces of a reply that has begun


class Transport:
    """Connections to one address; they belong to the event loop in which the first is made."""

    def __init__(self, address: Address) -> None:
        self._key = address.key
        self._url = f"{address.base_url}/chat/completions"
        self._proxy = address.proxy()
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Drop the connections."""
        if self._session is not None:
            await self._session.close()

    async def post(self, body: dict[str, Any]) -> Completion:
        """The reply to `body`. Raises Unavailable or Refused; any wait is the caller's to end.

        Some endpoints echo the key when they refuse it: it is struck out of all that they say.
        """
        import aiohttp

        try:
            async with self._connected().post(
                self._url, json=body, proxy=self._proxy, allow_redirects=False
            ) as response:
                text = struck(await _whole(response), self._key)
                if response.status == OK:
                    return completion(text)
                headers = (self._header(response, name) for name in ("Retry-After", "Location"))
                raise refusal(response.status, text, *headers)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            told = struck(f"{type(error).__name__}: {error}".encode(errors="replace"), self._key)
            raise Unavailable(one_line(told.decode(errors="replace"))) from None

    def _header(self, response: aiohttp.ClientResponse, name: str) -> str:
        value = response.headers.get(name, "").encode(errors="replace")
        return struck(value, self._key).decode(errors="replace")

    def _connected(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            key = {"Authorization": f"Bearer {self._key}"} if self._key else {}
            self._session = aiohttp.ClientSession(
                headers={"Accept-Encoding": "identity", **key},
                connector=aiohttp.TCPConnector(limit=0),  # the endpoint's slots are the limit
                timeout=aiohttp.ClientTimeout(total=None),  # as is the attempt's own
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # a kilobyte may hold a gigabyte
                trust_env=False,  # .netrc's passwords are for others; proxies: address.py
            )
        return self._session


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    """The body. Raises Unavailable for one that is compressed, too long or stalls."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise Unavailable(f"a reply in {encoding:.20}, which was not asked for")
    whole = bytearray()
    while True:
        try:
            async with asyncio.timeout(_STALL):
                piece = await response.content.readany()
        except TimeoutError:
            raise Unavailable(f"the reply stopped for {_STALL:g} s") from None
        if not piece:
            return bytes(whole)
        whole += piece
        if len(whole) > _LARGEST:
            raise Unavailable(f"a reply longer than {_LARGEST:,} bytes")
