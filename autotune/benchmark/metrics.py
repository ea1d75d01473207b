"""From stamped requests to metrics. The one place where they are defined.

Times are seconds on one clock; a request is sent at s, its i-th chunk with tokens arrives at c_i, and the
engine counts n output and p prompt tokens in `usage`. B is when the first measured request was sent, E
when the last measured one ended; the load is kept up by filler requests until E.

| metric | formula | over |
|---|---|---|
| ttft_ms | c_1 - s | measured requests that succeeded |
| tpot_ms | (c_last - c_1) / (n - 1) | the same, n > 1 |
| itl_ms | c_i - c_(i-1); a chunk may hold several tokens | the same, every gap |
| e2e_ms | c_last - s | the same |
| output_tokens_per_s | output tokens arrived in [B, E] / (E - B) | every request, filler too |
| total_tokens_per_s | the same, with a request's p prompt tokens at c_1 | every request |
| requests_per_s | requests, each by the share of its chunks in [B, E], / (E - B) | every request |
| goodput_requests_per_s | the same, of those within the SLO; without bounds all are | every request |
| requests_completed, requests_failed | counts | measured requests |
| client_cpu_fraction | CPU seconds of the client in [B, E] / (E - B), of one core | – |

Throughput counts what arrived inside the window, whoever asked for it: the load is the same all through
it, so nothing is gained or lost at its ends. A request's tokens are spread evenly over its chunks. Requests
that were still in flight at E are `unfinished` and have no usage yet: each of their chunks and prompts counts
the mean tokens of those that ended well. Left out, they would take up to 6 % off the throughput of 8 requests
for each one in flight, and more the more their lengths differ (benchmarks/client_accuracy.py --spread).
Percentiles are interpolated linearly between the two nearest ranks.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from autotune.records import STATISTICS, THROUGHPUTS

UNFINISHED = "unfinished"
"""The `error` of a request that was in flight at E; it is neither a success nor a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One request. Times are seconds from B; `chunks_s` the arrivals that brought tokens."""

    phase: str
    index: int
    sent_s: float
    scheduled_s: float | None
    ended_s: float
    chunks_s: tuple[float, ...]
    prompt_tokens: int
    output_tokens: int
    status: int
    error: str | None
    detail: str


def summarize(records: Sequence[RequestRecord], *, window_s: float, cpu_s: float) -> dict[str, float]:
    """Return the metrics of one repeat at one load; those without a single value are left out."""
    measured = [record for record in records if record.phase == "measure"]
    good = [record for record in measured if record.error is None]
    metrics: dict[str, float] = {
        "requests_completed": len(good),
        "requests_failed": len(measured) - len(good),
    }
    if window_s > 0:
        metrics |= _throughputs(records, window_s)
        metrics["client_cpu_fraction"] = cpu_s / window_s
    for name, values in _latencies_s(good).items():
        metrics |= {f"{name}_{key}": value * 1000 for key, value in statistics_of(values).items()}
    return metrics


def errors_by_kind(records: Sequence[RequestRecord]) -> dict[str, int]:
    """Return how many measured requests failed of each kind."""
    return dict(Counter(r.error for r in records if r.phase == "measure" and r.error is not None))


def statistics_of(values: Sequence[float]) -> dict[str, float]:
    """Return mean and percentiles; nothing for no values."""
    if not values:
        return {}
    ordered = sorted(values)
    ranked = {name: percentile(ordered, float(name[1:])) for name in STATISTICS if name != "mean"}
    return {"mean": math.fsum(ordered) / len(ordered), **ranked}


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the percentile of ascending values, interpolated linearly between the nearest ranks."""
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _throughputs(records: Sequence[RequestRecord], window_s: float) -> dict[str, float]:
    good = [record for record in records if record.error is None and record.chunks_s]
    if not good:
        return dict.fromkeys(THROUGHPUTS, 0.0)
    shares = [_inside(r.chunks_s, window_s) / len(r.chunks_s) for r in good]
    output = math.fsum(r.output_tokens * share for r, share in zip(good, shares, strict=True))
    prompts: float = sum(r.prompt_tokens for r in good if _inside(r.chunks_s[:1], window_s))
    cut = [record.chunks_s for record in records if record.error == UNFINISHED]
    mean_chunks = sum(len(record.chunks_s) for record in good) / len(good)
    cut_shares = sum(_inside(chunks_s, window_s) for chunks_s in cut) / mean_chunks
    output += cut_shares * sum(r.output_tokens for r in good) / len(good)
    prompts += sum(_inside(c[:1], window_s) for c in cut) * sum(r.prompt_tokens for r in good) / len(good)
    ended = math.fsum(shares) + cut_shares
    return {
        "output_tokens_per_s": output / window_s,
        "total_tokens_per_s": (output + prompts) / window_s,
        "requests_per_s": ended / window_s,
        "goodput_requests_per_s": ended / window_s,
    }


def _inside(chunks_s: Sequence[float], window_s: float) -> int:
    return sum(1 for chunk in chunks_s if 0 <= chunk <= window_s)


def _latencies_s(records: Sequence[RequestRecord]) -> dict[str, list[float]]:
    return {
        "ttft_ms": [r.chunks_s[0] - r.sent_s for r in records],
        "tpot_ms": [
            (r.chunks_s[-1] - r.chunks_s[0]) / (r.output_tokens - 1) for r in records if r.output_tokens > 1
        ],
        "itl_ms": [after - before for r in records for before, after in pairwise(r.chunks_s)],
        "e2e_ms": [r.chunks_s[-1] - r.sent_s for r in records],
    }
