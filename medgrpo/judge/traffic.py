"""Many calls at once: on a loop of their own, so many at a time, so many a minute, none twice.

All but the loop itself belong to one loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

MINUTE = 60.0
T = TypeVar("T")


class OwnLoop:
    """An event loop in a thread: clients and locks live there, whoever's loop asks."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def start(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run `work` there, from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self, last: Callable[[], Awaitable[None]]) -> None:
        """Cancel what is under way, await `last()`, and end the thread. May be called again."""
        if not self._thread.is_alive():
            return

        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await last()

        self.start(end()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def concurrently(
    make: Callable[[int], Awaitable[T]],
    count: int,
    at_once: int,
    on_made: Callable[[int, T], None],
) -> list[T]:
    """`make(0)` to `make(count - 1)`, in order, `at_once` under way at a time.

    `on_made` gets each with its number. The first error is raised; what is then under way
    is the loop's to cancel.
    """
    made: dict[int, T] = {}
    indices = iter(range(count))

    async def worker() -> None:
        for index in indices:
            made[index] = await make(index)
            on_made(index, made[index])

    await asyncio.gather(*(worker() for _ in range(min(at_once, count))))
    return [made[index] for index in range(count)]


class PerMinute:
    """At most `limit` units in any 60 seconds, first come first served; None for no limit.

    A sliding window and not a bucket: it lets a burst pass as long as the endpoint would, and
    never more than the endpoint would.
    """

    def __init__(self, limit: float | None) -> None:
        self.limit = limit
        self._spent: deque[list[float]] = deque()  # [when, how much]
        self._sum = 0.0
        self._turn = asyncio.Lock()

    async def take(self, amount: float) -> list[float]:
        """Wait until `amount` fits; more than the limit fits when nothing else is there.

        What is returned goes to `settle` once the true amount is known.
        """
        entry = [0.0, amount]
        if self.limit is None:
            return entry
        loop = asyncio.get_running_loop()
        async with self._turn:
            self._forget(loop.time())
            while self._spent and self._sum + amount > self.limit:
                await asyncio.sleep(self._spent[0][0] + MINUTE - loop.time())
                self._forget(loop.time())
            entry[0] = loop.time()
            self._spent.append(entry)
            self._sum += amount
        return entry

    def settle(self, entry: list[float], amount: float) -> None:
        """Correct what `take` was told; too late after a minute."""
        if entry:
            self._sum += amount - entry[1]
            entry[1] = amount

    def _forget(self, now: float) -> None:
        while self._spent and self._spent[0][0] + MINUTE <= now:
            entry = self._spent.popleft()
            self._sum -= entry[1]
            entry.clear()


@dataclass
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    waiting: int = 0


class SingleFlight(Generic[T]):
    """Who asks what is being asked already waits for that answer.

    The call ends when its last waiter has given up, and not before.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}

    def under_way(self, key: Hashable) -> bool:
        return key in self._flights

    async def do(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of `make()`, or of the one that is under way for `key`."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(make()))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                del self._flights[key]
                flight.task.cancel()
