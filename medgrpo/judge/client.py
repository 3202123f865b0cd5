"""What a judge is: an object that answers chat messages, if asked so in the shape of a schema.

Rewards and adapters know no more than this, so a stand-in, a local server and a hosted endpoint
are exchangeable. A judge is called from the event loops of others (TRL's, DeepEval's,
Evidently's): one that holds a client or a semaphore must run it on a loop of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pydantic import BaseModel


class JudgeError(Exception):
    """The judge gave no usable answer. A reward turns it into a missing verdict."""


@dataclass(frozen=True)
class Reply:
    """One answer of a judge and what it cost in tokens."""

    text: str
    tokens_in: int
    tokens_out: int


class Judge(Protocol):
    """Anything that can be asked. `name` is shown to the user and identifies its verdicts."""

    name: str

    async def chat(self, messages: list[dict[str, str]], schema: type[BaseModel] | None) -> Reply:
        """Answer `messages`; with a `schema`, the text is JSON that the schema accepts.

        Raises JudgeError when no such answer could be had.
        """
        ...
