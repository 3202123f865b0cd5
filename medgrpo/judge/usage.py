"""What judging took: verdicts, calls, tokens, money, waiting, for each reward."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

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
    waited: float = 0.0  # seconds of calls in our own queue: for a slot, for limits per minute
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES))  # seconds

    def cost(self, price_in: float, price_out: float) -> float:
        """US dollars, at prices per million tokens."""
        return (self.tokens_in * price_in + self.tokens_out * price_out) / 1e6


COUNTS = tuple(count.name for count in fields(Usage) if count.name != "latencies")


def report(
    usage: Mapping[str, Usage], price_in: float, price_out: float
) -> dict[str, dict[str, float | None]]:
    """{reward: {count: n, .., cost, latency_p50, latency_p95}}, and the same in `total`."""
    total = Usage(**{name: sum(getattr(u, name) for u in usage.values()) for name in COUNTS})
    total.latencies = deque(latency for u in usage.values() for latency in u.latencies)
    return {
        name: {count: getattr(spent, count) for count in COUNTS}
        | {
            "cost": spent.cost(price_in, price_out),
            "latency_p50": percentile(spent.latencies, 50),
            "latency_p95": percentile(spent.latencies, 95),
        }
        for name, spent in {**usage, "total": total}.items()
    }


def percentile(values: deque[float], percent: int) -> float | None:
    """The nearest-rank percentile, None without values."""
    ranked = sorted(values)
    return ranked[-(-len(ranked) * percent // 100) - 1] if ranked else None
