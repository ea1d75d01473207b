"""A server of known random timing under a closed loop, in virtual time: what a client would have recorded.

Every request draws its time to the first token, its length and each gap between tokens from lognormal
distributions; nothing waits for anything else, unless the server has moods: then what a request draws is
multiplied by a factor that all requests in flight have in common and that changes slowly, or that stays as it
is for one repeat and is another in the next. Warm-up (until the latency is steady by the client's own rule),
measured requests and filler are as the native client sends them with the default workload.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from statistics import NormalDist

from autotune.benchmark.client.steady import Steadiness
from autotune.benchmark.metrics import UNFINISHED, RequestRecord

WARMUP_ROUNDS, WARMUP_MAX_S = 4, 30.0  # workload.warmup_requests, workload.warmup_max_s
PROMPT_TOKENS = 128
GRAINS = 1 << 15  # values that a gap can take


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Means, and spreads as standard deviations of logarithms.

    `mood` is the spread of the common factor, `mood_s` for how long it lasts; `repeats_differ` the spread of
    the factor of a whole repeat.
    """

    ttft_s: float = 0.1
    itl_s: float = 0.01
    output_tokens: int = 16
    ttft_spread: float = 0.3
    itl_spread: float = 0.2
    output_spread: float = 0.2
    mood: float = 0.0
    mood_s: float = 0.2
    repeats_differ: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    phase: str
    index: int
    sent_s: float
    chunks_s: tuple[float, ...]


def repeat(timing: Timing, *, in_flight: int, requests: int, seed: str) -> list[RequestRecord]:
    """Return the requests of one repeat, their times in seconds from the first measured one."""
    chance = random.Random(seed)  # noqa: S311  (draws, not secrets)
    answered_s, steadiness = _draws(timing, chance), Steadiness(in_flight)
    ends: list[tuple[float, int]] = [(0.0, -1)] * in_flight  # when, and of which request
    sent, first = list[_Sent](), math.inf  # the number of the first one measured
    begin_s, end_s, left = 0.0, 0.0, requests
    while left or ends[0][0] < end_s:
        now_s, ended = heapq.heappop(ends)
        number = len(sent)
        if 0 <= ended < first:
            steadiness.add(ended, now_s - sent[ended].sent_s)
        enough = first == math.inf and number >= WARMUP_ROUNDS * in_flight
        if enough and (steadiness.steady or now_s >= WARMUP_MAX_S):
            first, begin_s = number, now_s
        phase = "warmup" if number < first else "measure" if number < first + requests else "fill"
        chunks_s = answered_s(now_s)
        if phase == "measure":
            end_s, left = max(end_s, chunks_s[-1]), left - 1
        sent.append(_Sent(phase=phase, index=number, sent_s=now_s, chunks_s=chunks_s))
        heapq.heappush(ends, (chunks_s[-1], number))
    return [_record(each, begin_s, end_s) for each in sent]


def _draws(timing: Timing, chance: random.Random) -> Callable[[float], tuple[float, ...]]:
    """What gives the times of the chunks of a request that is sent at a time; times never go back."""
    own = drawn(chance, 1.0, timing.repeats_differ)
    mood, before_s = chance.gauss(0, 1), 0.0

    def chunks_s(now_s: float) -> tuple[float, ...]:
        nonlocal mood, before_s
        factor = own
        if timing.mood:
            kept = math.exp(-(now_s - before_s) / timing.mood_s)
            mood = kept * mood + math.sqrt(1 - kept**2) * chance.gauss(0, 1)
            before_s = now_s
            factor *= math.exp(timing.mood * mood - timing.mood**2 / 2)
        return tuple(accumulate(drawn_s(timing, chance, factor), initial=now_s))[1:]

    return chunks_s


def drawn_s(timing: Timing, chance: random.Random, factor: float = 1.0) -> list[float]:
    """Return the time to the first token of one request, and each gap after it."""
    first_s = factor * drawn(chance, timing.ttft_s, timing.ttft_spread)
    tokens = max(1, round(drawn(chance, timing.output_tokens, timing.output_spread)))
    middle_s = factor * timing.itl_s
    gaps = chance.choices(_lognormal(timing.itl_spread), k=tokens - 1)
    return [first_s, *[middle_s * gap for gap in gaps]]


@cache
def _lognormal(spread: float) -> list[float]:
    """Evenly probable values of the lognormal distribution of mean 1: gaps are many, and draws are slow."""
    if not spread:
        return [1.0]
    normal = NormalDist(-(spread**2) / 2, spread)
    values = [math.exp(normal.inv_cdf((number + 0.5) / GRAINS)) for number in range(GRAINS)]
    mean = math.fsum(values) / GRAINS
    return [value / mean for value in values]


def drawn(chance: random.Random, mean: float, spread: float) -> float:
    """Return a draw from a lognormal distribution of that mean."""
    return mean * math.exp(chance.gauss(-(spread**2) / 2, spread)) if spread else mean


def _record(each: _Sent, begin_s: float, end_s: float) -> RequestRecord:
    """A request as it stands when the last measured one has ended."""
    whole = each.chunks_s[-1] <= end_s
    seen = each.chunks_s if whole else [at_s for at_s in each.chunks_s if at_s <= end_s]
    return RequestRecord(
        phase=each.phase,
        index=each.index,
        sent_s=each.sent_s - begin_s,
        scheduled_s=None,
        ended_s=min(each.chunks_s[-1], end_s) - begin_s,
        chunks_s=tuple([at_s - begin_s for at_s in seen]),
        prompt_tokens=PROMPT_TOKENS if whole else 0,
        output_tokens=len(seen) if whole else 0,
        status=200,
        error=None if whole else UNFINISHED,
        detail="",
    )
