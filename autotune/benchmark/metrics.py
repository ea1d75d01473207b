"""From stamped requests to metrics; their definitions and formulas stand in `docs/metrics.md`.

Times are seconds on one clock; B is when the first measured request was sent, E when the last measured one
ended; the load is kept up by filler requests until E.

Throughput counts what was made inside the window, whoever asked for it: the load is the same all through
it, so nothing is gained or lost at its ends. A request's tokens are spread evenly over its chunks, and a
chunk over the time since the one before it (the first: since s); of a chunk that B or E cuts, the share
inside counts. Counted whole where they arrive, chunks would be too many: B and E are arrivals themselves,
and where requests run in step the others' arrivals at B fall just inside. With two requests of one token for
each one in flight that was 140 % of what was possible (benchmarks/client_accuracy.py --output-tokens 1
--requests-per-load 2).
Requests that were still in flight at E are `unfinished` and have no usage yet: each of their chunks and
prompts counts the mean tokens of those that ended well, and the chunk they wait for is taken to need the mean
ttft or itl, or what it has taken already if that is longer. Left out, they would take up to 6 % off the
throughput of 8 requests for each one in flight, and more the more their lengths differ (--spread).
Of those cut off as large a share is taken to become good as of those that ended well.
Percentiles are interpolated linearly between the two nearest ranks.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from autotune.records import ATTAINMENT, STATISTICS, THROUGHPUTS, RequestLimits

NO_LIMITS = RequestLimits()

UNFINISHED = "unfinished"
"""The `error` of a request that was in flight at E; it is neither a success nor a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One request. Times are seconds from B; `chunks_s` the arrivals that brought tokens.

    It was to be sent at `due_s`: when the schedule said so (`scheduled_s`), else when the request before it
    had ended; None where none was. The client set about it at `begun_s`, and wrote it at `sent_s`.
    """

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
    due_s: float | None = None
    begun_s: float = 0.0


def summarize(
    records: Sequence[RequestRecord], *, window_s: float, limits: RequestLimits = NO_LIMITS
) -> dict[str, float]:
    """Return the metrics of one repeat at one load; those without a single value are left out.

    A request within `limits` is good: goodput and attainment are of those.
    """
    measured = [record for record in records if record.phase == "measure"]
    good = [record for record in measured if record.error is None]
    metrics: dict[str, float] = {
        "requests_completed": len(good),
        "requests_failed": len(measured) - len(good),
    }
    if measured:
        metrics[ATTAINMENT] = sum(within(record, limits) for record in good) / len(measured)
    if window_s > 0:
        metrics |= _throughputs(records, window_s, limits)
    for name, values in latencies_s(good).items():
        metrics |= {f"{name}_{key}": value * 1000 for key, value in statistics_of(values).items()}
    return metrics


def within(record: RequestRecord, limits: RequestLimits) -> bool:
    """Whether a request that ended well took no longer than it may."""
    if record.error is not None or not record.chunks_s:
        return False
    first_s, last_s = record.chunks_s[0], record.chunks_s[-1]
    each_s = (last_s - first_s) / max(1, record.output_tokens - 1)
    return (
        1000 * (first_s - record.sent_s) <= limits.ttft_ms
        and 1000 * each_s <= limits.tpot_ms
        and 1000 * (last_s - record.sent_s) <= limits.e2e_ms
    )


def errors_by_kind(records: Sequence[RequestRecord], *, phase: str = "measure") -> dict[str, int]:
    """Return how many requests of a phase failed of each kind; `unfinished` is none."""
    failed = (r.error for r in records if r.phase == phase and r.error not in {None, UNFINISHED})
    return dict(Counter(error for error in failed if error is not None))


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


def _throughputs(
    records: Sequence[RequestRecord], window_s: float, limits: RequestLimits
) -> dict[str, float]:
    good = [record for record in records if record.error is None and record.chunks_s]
    if not good:
        return dict.fromkeys(THROUGHPUTS, 0.0)
    shares = [_made(r.sent_s, r.chunks_s, window_s) / len(r.chunks_s) for r in good]
    output = math.fsum(r.output_tokens * share for r, share in zip(good, shares, strict=True))
    prompts = math.fsum(r.prompt_tokens * _share(r.sent_s, r.chunks_s[0], window_s) for r in good)
    cut_chunks, cut_prompts = _made_by_unfinished(records, good, window_s)
    cut_shares = cut_chunks * len(good) / sum(len(record.chunks_s) for record in good)
    output += cut_shares * sum(r.output_tokens for r in good) / len(good)
    prompts += cut_prompts * sum(r.prompt_tokens for r in good) / len(good)
    ended = math.fsum(shares) + cut_shares
    kept = [within(record, limits) for record in good]
    in_time = math.fsum(share for share, is_kept in zip(shares, kept, strict=True) if is_kept)
    in_time += cut_shares * sum(kept) / len(good)
    return {
        "output_tokens_per_s": output / window_s,
        "total_tokens_per_s": (output + prompts) / window_s,
        "requests_per_s": ended / window_s,
        "goodput_requests_per_s": in_time / window_s,
    }


def _made_by_unfinished(
    records: Sequence[RequestRecord], good: Sequence[RequestRecord], window_s: float
) -> tuple[float, float]:
    """Return the chunks and the prompts that requests cut off at E had made inside the window."""
    ttft_s = math.fsum(r.chunks_s[0] - r.sent_s for r in good) / len(good)
    gaps = sum(len(r.chunks_s) - 1 for r in good)
    itl_s = math.fsum(r.chunks_s[-1] - r.chunks_s[0] for r in good) / gaps if gaps else None
    chunks = prompts = 0.0
    for record in (record for record in records if record.error == UNFINISHED):
        chunks += _made(record.sent_s, record.chunks_s, window_s)
        since_s, takes_s = (record.chunks_s[-1], itl_s) if record.chunks_s else (record.sent_s, ttft_s)
        waits_for = 0.0 if takes_s is None else _share(since_s, max(window_s, since_s + takes_s), window_s)
        chunks += waits_for
        prompts += _share(record.sent_s, record.chunks_s[0], window_s) if record.chunks_s else waits_for
    return chunks, prompts


def _made(sent_s: float, chunks_s: Sequence[float], window_s: float) -> float:
    """Return how many chunks were made inside the window; those of one read share the time before it."""
    if sent_s >= 0 and chunks_s and chunks_s[-1] <= window_s:
        return len(chunks_s)
    made, before_s = 0.0, sent_s
    for arrived_s, count in Counter(chunks_s).items():
        made += count * _share(before_s, arrived_s, window_s)
        before_s = arrived_s
    return made


def _share(begin_s: float, end_s: float, window_s: float) -> float:
    """Return which share of a time lies inside the window."""
    if end_s <= begin_s:
        return float(0 <= end_s <= window_s)
    return max(0.0, min(end_s, window_s) - max(begin_s, 0.0)) / (end_s - begin_s)


def latencies_s(records: Sequence[RequestRecord]) -> dict[str, list[float]]:
    """Return every value of each latency, in the order of the requests, in seconds."""
    return {
        "ttft_ms": [r.chunks_s[0] - r.sent_s for r in records],
        "tpot_ms": [
            (r.chunks_s[-1] - r.chunks_s[0]) / (r.output_tokens - 1) for r in records if r.output_tokens > 1
        ],
        "itl_ms": [after - before for r in records for before, after in pairwise(r.chunks_s)],
        "e2e_ms": [r.chunks_s[-1] - r.sent_s for r in records],
    }
