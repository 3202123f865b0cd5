"""Limits per minute: a burst as large as allowed at once, and never more."""

import asyncio

import pytest

from medgrpo.judge import traffic
from medgrpo.judge.traffic import PerMinute


@pytest.fixture(autouse=True)
def _short_minute(monkeypatch):
    monkeypatch.setattr(traffic, "MINUTE", 0.3)


async def times(limit: PerMinute, amounts: list[float]) -> list[float]:
    loop = asyncio.get_running_loop()
    start = loop.time()

    async def take(amount: float) -> float:
        await limit.take(amount)
        return loop.time() - start

    return await asyncio.gather(*(take(amount) for amount in amounts))


def test_never_more_than_the_limit_in_any_minute():
    passed = asyncio.run(times(PerMinute(4), [1] * 10))
    for first, fifth in zip(passed, passed[4:], strict=False):
        assert fifth - first >= 0.29
    assert passed[3] < 0.29  # the first four did not wait


def test_no_limit_no_waiting():
    assert max(asyncio.run(times(PerMinute(None), [1e9] * 50))) < 0.3


def test_more_than_the_limit_passes_alone():
    passed = asyncio.run(times(PerMinute(10), [5, 50, 5]))
    assert passed[1] >= 0.29
    assert passed[2] - passed[1] >= 0.29


def test_what_was_not_used_is_given_back():
    async def settled() -> list[float]:
        limit = PerMinute(100)
        limit.settle(await limit.take(100), 10)
        return await times(limit, [90])

    assert asyncio.run(settled())[0] < 0.29


def test_a_call_longer_than_a_minute_gives_nothing_back():
    async def settled_late() -> list[float]:
        limit = PerMinute(10)
        entry = await limit.take(10)
        await asyncio.sleep(0.31)
        await limit.take(1)
        limit.settle(entry, 0)
        return await times(limit, [9, 1])

    passed = asyncio.run(settled_late())
    assert passed[0] < 0.29 <= passed[1]
