"""Where an endpoint is, and the key that it wants: checked before anything is sent there.

The address stands in the run's config, which goes to W&B; so a password has no place in it. The
key is named by its environment variable and stands nowhere.
"""

from __future__ import annotations

import os
import urllib.request
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from medgrpo.errors import UserError


def server_url(url: str) -> str:
    """`url` without a slash at its end. Raises ValueError for what is no address of a server.

    >>> server_url("http://localhost:8000/v1/")
    'http://localhost:8000/v1'
    """
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, half an IPv6 address
        fits = False
    if not fits or not url.isprintable() or " " in url or parts.query or parts.fragment:
        raise ValueError("the address of a server, such as http://localhost:8000/v1")
    if "@" in parts.netloc:
        raise ValueError("without name and password: the config is no place for them")
    return url.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(server_url)]


@dataclass(frozen=True)
class Address:
    """A server, the model that is asked there, and the key."""

    base_url: str
    model: str
    key_env: str | None  # the variable that holds the key, None where none is needed
    group: str  # of the config, in which base_url, api_key_env .. are set
    model_field: str = "model"  # of that group, in which the model is
    key: str = field(repr=False, default="")

    @classmethod
    def of(
        cls, base_url: str, model: str, key_env: str | None, group: str, model_field: str = "model"
    ) -> Address:
        """With the key that the environment holds. Raises UserError for what cannot be used."""
        try:
            base_url = server_url(base_url)
        except ValueError as error:
            raise UserError(f"{group}.base_url should be {error}") from None
        return cls(base_url, model, key_env, group, model_field, _key(key_env, group))

    def proxy(self) -> str | None:
        """The proxy that the environment names for this server (http_proxy, no_proxy ..)."""
        parts = urlsplit(self.base_url)
        if urllib.request.proxy_bypass(parts.hostname or ""):
            return None
        return urllib.request.getproxies().get(parts.scheme)


def _key(variable: str | None, group: str) -> str:
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(
            f"{group}.api_key_env: the environment variable {variable} is not set. Set it to your "
            f"key, or {group}.api_key_env=null for a server that wants none"
        )
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise UserError(
            f"{group}.api_key_env: the environment variable {variable} holds no key: a line break, "
            "a space or a letter beyond ASCII is in it"
        )
    return key
