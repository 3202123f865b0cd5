"""What judging took: verdicts, calls, tokens, money, waiting, for each reward."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

LATENCIES = 2000  # the latest ones kept for percentiles, so that memory stays flat


@dataclass
class Usage:
    """Counts since the start of the process."""

    verdicts: int = 0  # asked for: blank completions and repetitions in a batch are not
    verdict_hits: int = 0  # of these, found in the cache
    failures: int = 0  # of these, not given: None
    calls: int = 0  # HTTP requests sent, retries included
    cache_hits: int = 0  # calls found in the cache
    shared: int = 0  # calls that waited for the same one of another verdict
    retries: int = 0
    bad_replies: int = 0  # not the JSON that was asked for, or cut off
    estimated: int = 0  # calls whose tokens the endpoint did not count: by length
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0  # US dollars, by the prices of who was asked
    members_failed: int = 0  # of a panel, members that gave no verdict
    spread: float = 0.0  # of a panel's verdicts, highest score less lowest, added up
    waited: float = 0.0  # seconds of calls in our own queue: for a slot, for limits per minute
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES))  # seconds


COUNTS = tuple(count.name for count in fields(Usage) if count.name != "latencies")


def report(usage: Mapping[str, Usage]) -> dict[str, dict[str, float | None]]:
    """{reward: {count: n, .., latency_p50, latency_p95}}, and the same in `total`."""
    total = Usage(**{name: sum(getattr(u, name) for u in usage.values()) for name in COUNTS})
    total.latencies = deque(latency for u in usage.values() for latency in u.latencies)
    return {
        name: {count: getattr(spent, count) for count in COUNTS}
        | {
            "latency_p50": percentile(spent.latencies, 50),
            "latency_p95": percentile(spent.latencies, 95),
        }
        for name, spent in {**usage, "total": total}.items()
    }


def added(
    earlier: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Two reports as one: counts are sums, latencies those of `now`, or else the earlier ones.

    >>> added({"total": {"cost": 1.5, "latency_p50": 2.0}}, {"total": {"cost": 0.5}})
    {'total': {'cost': 2.0, 'latency_p50': 2.0}}
    """
    found = {name: dict(earlier.get(name, {})) for name in [*earlier, *now]}
    for name, usage in now.items():
        for key, value in usage.items():
            before = found[name].get(key)
            if value is not None:
                found[name][key] = value + (before or 0) if key in COUNTS else value
    return found


def of_all_processes(found: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The report of each process of the run, all of which have to ask; of one, its own."""
    torch = sys.modules.get("torch")
    if torch is None or not (
        torch.distributed.is_available() and torch.distributed.is_initialized()
    ):
        return [found]
    reports: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(reports, found)
    return reports


def percentile(values: deque[float], percent: int) -> float | None:
    """The nearest-rank percentile, None without values."""
    ranked = sorted(values)
    return ranked[-(-len(ranked) * percent // 100) - 1] if ranked else None
