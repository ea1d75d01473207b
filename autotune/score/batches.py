"""One repeat cut into batches, so that its own noise can be seen.

Requests that are in flight together wait for the same engine, so their latencies are not independent, and
the mean of n of them is less sure than n independent values would make it. Batches of requests that were
sent one after the other, each of them long enough, are nearly independent (method of batch means): a batch
spans at least twice the mean end-to-end latency, which in a closed loop is two rounds of all the requests
in flight. A repeat too short for three of those says nothing of its own noise.

A throughput is amount over time. In an open loop its batches are equal parts of the window. In a closed loop
such parts see more noise than there is: how far each request is when a part ends evens out over the window.
There the time is that of the requests themselves, each from the end of the one before it to its own: as many
as are in flight share it (Little's law), so that amounts and times of a batch's requests say how fast it went
(regenerative method, ratio estimator). Where requests failed it is parts again, because what failed took time
as well.
"""

from __future__ import annotations

import json
import math
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

from autotune.benchmark.metrics import NO_LIMITS, UNFINISHED, RequestRecord, latencies_s, within
from autotune.records import RequestLimits

SPAN = 2.0  # mean end-to-end latencies that a batch is at least long
LEAST, MOST = 3, 20  # batches of one repeat


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """What the batches of one repeat hold; with fewer than `LEAST` its own noise is unknown.

    `latencies`: for each latency its values in each batch, ascending, in ms. `rates`: for each throughput the
    amount and the seconds that it took, in each batch. `kept`: good requests and all, in each batch.
    """

    latencies: Mapping[str, tuple[array[float], ...]]
    rates: Mapping[str, tuple[tuple[float, float], ...]]
    kept: tuple[tuple[float, float], ...] = ()


def read_records(raw: Path) -> list[RequestRecord] | None:
    """Return the requests of a measurement; None if this client keeps others than ours does."""
    names = [item.name for item in fields(RequestRecord)]
    rows = json.loads(raw.read_text())
    if not all(isinstance(row, dict) and row.keys() >= set(names) for row in rows):
        return None
    return [
        RequestRecord(**{**{name: row[name] for name in names}, "chunks_s": tuple(row["chunks_s"])})
        for row in rows
    ]


def cut(
    records: Sequence[RequestRecord], in_flight: float | None, limits: RequestLimits = NO_LIMITS
) -> Batches:
    """Return the batches of one repeat; `in_flight` of a closed loop, None: of an open one.

    Requests within `limits` are good.
    """
    window_s = max((r.ended_s for r in records if r.phase == "measure"), default=0.0)
    good = [r for r in records if r.phase == "measure" and r.error is None and r.chunks_s]
    good.sort(key=lambda record: record.sent_s)
    failed = any(r.phase == "measure" and r.error is not None for r in records)
    count = _count(good, window_s)
    edges = [len(good) * number // max(1, count) for number in range(max(1, count) + 1)]
    parts = [good[begin:end] for begin, end in pairwise(edges)]
    rates: Mapping[str, tuple[tuple[float, float], ...]] = {}
    if count:
        closed = in_flight is not None and not failed
        rates = (
            _by_requests(parts, in_flight or 1, limits)
            if closed
            else _by_time(records, window_s, count, limits)
        )
    return Batches(latencies=_latencies(parts), rates=rates, kept=_kept(records, max(1, count), limits))


def _count(good: Sequence[RequestRecord], window_s: float) -> int:
    """How many batches; 0: too few."""
    if not good:
        return 0
    mean_s = math.fsum(r.chunks_s[-1] - r.sent_s for r in good) / len(good)
    count = min(MOST, len(good), int(window_s / (SPAN * mean_s)) if mean_s > 0 else MOST)
    return count if count >= LEAST else 0


def _latencies(parts: Sequence[Sequence[RequestRecord]]) -> dict[str, tuple[array[float], ...]]:
    cuts = [latencies_s(part) for part in parts]
    return {
        name: tuple(array("d", sorted(1000 * value for value in each[name])) for each in cuts)
        for name in latencies_s(())
    }


def _kept(
    records: Sequence[RequestRecord], count: int, limits: RequestLimits
) -> tuple[tuple[float, float], ...]:
    """Good requests and all of those measured, the failed ones too, in as many batches."""
    measured = sorted((r for r in records if r.phase == "measure"), key=lambda record: record.sent_s)
    edges = [len(measured) * number // count for number in range(count + 1)]
    parts = [measured[begin:end] for begin, end in pairwise(edges)]
    return tuple((sum(within(r, limits) for r in part), len(part)) for part in parts)


def _by_requests(
    parts: Sequence[Sequence[RequestRecord]], in_flight: float, limits: RequestLimits
) -> dict[str, tuple[tuple[float, float], ...]]:
    rows = [
        (
            sum(r.output_tokens for r in part),
            sum(r.prompt_tokens for r in part),
            len(part),
            sum(within(r, limits) for r in part),
            math.fsum(r.ended_s - (r.sent_s if r.due_s is None else r.due_s) for r in part) / in_flight,
        )
        for part in parts
    ]
    return {
        "output_tokens_per_s": tuple((output, took_s) for output, _, _, _, took_s in rows),
        "total_tokens_per_s": tuple((output + prompt, took_s) for output, prompt, _, _, took_s in rows),
        "requests_per_s": tuple((requests, took_s) for _, _, requests, _, took_s in rows),
        "goodput_requests_per_s": tuple((good, took_s) for _, _, _, good, took_s in rows),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What one request made over time; `each` are output tokens, requests and good ones for a chunk."""

    sent_s: float
    chunks_s: Sequence[float]
    prompt: float
    each: tuple[float, float, float]

    def until(self, at_s: float) -> tuple[float, float, float, float]:
        """Return output, prompt tokens, requests and good ones by then, spread as `benchmark.metrics`."""
        if at_s <= self.sent_s:
            return 0.0, 0.0, 0.0, 0.0
        chunks = self.chunks_s
        made: float = bisect_right(chunks, at_s)
        if made < len(chunks):
            before_s, after_s = chunks[int(made) - 1] if made else self.sent_s, chunks[int(made)]
            together = bisect_right(chunks, after_s) - made
            made += together * (at_s - before_s) / (after_s - before_s)
        read = min(1.0, (at_s - self.sent_s) / (chunks[0] - self.sent_s)) if chunks[0] > self.sent_s else 1.0
        output, requests, good = self.each
        return made * output, read * self.prompt, made * requests, made * good


def _by_time(
    records: Sequence[RequestRecord], window_s: float, count: int, limits: RequestLimits
) -> dict[str, tuple[tuple[float, float], ...]]:
    edges = [window_s * number / count for number in range(count + 1)]
    made = _everything(records, window_s, limits)
    totals = [
        [math.fsum(column) for column in zip(*(each.until(edge) for each in made), strict=True)]
        for edge in edges
    ]
    part_s = window_s / count
    rows = [
        [later - earlier for earlier, later in zip(before, after, strict=True)]
        for before, after in pairwise(totals)
    ]
    return {
        "output_tokens_per_s": tuple((output, part_s) for output, _, _, _ in rows),
        "total_tokens_per_s": tuple((output + prompt, part_s) for output, prompt, _, _ in rows),
        "requests_per_s": tuple((requests, part_s) for _, _, requests, _ in rows),
        "goodput_requests_per_s": tuple((good, part_s) for _, _, _, good in rows),
    }


def _everything(records: Sequence[RequestRecord], window_s: float, limits: RequestLimits) -> list[_Made]:
    """All requests that made something; what was cut off at the end counts as a mean one."""
    good = [record for record in records if record.error is None and record.chunks_s]
    chunks = sum(len(r.chunks_s) for r in good) / len(good)
    kept = sum(within(r, limits) for r in good) / len(good)
    mean = (sum(r.output_tokens for r in good) / len(good) / chunks, 1 / chunks, kept / chunks)
    prompt = sum(r.prompt_tokens for r in good) / len(good)
    ttft_s = math.fsum(r.chunks_s[0] - r.sent_s for r in good) / len(good)
    gap_s = math.fsum(r.chunks_s[-1] - r.chunks_s[0] for r in good) / max(1, len(good) * (chunks - 1))
    made = [
        _Made(
            sent_s=r.sent_s,
            chunks_s=r.chunks_s,
            prompt=r.prompt_tokens,
            each=(
                r.output_tokens / len(r.chunks_s),
                1 / len(r.chunks_s),
                within(r, limits) / len(r.chunks_s),
            ),
        )
        for r in good
    ]
    for r in (record for record in records if record.error == UNFINISHED):
        due_s = r.chunks_s[-1] + gap_s if r.chunks_s else r.sent_s + ttft_s
        awaited = (*r.chunks_s, max(window_s, due_s))
        made.append(_Made(sent_s=r.sent_s, chunks_s=awaited, prompt=prompt, each=mean))
    return made
