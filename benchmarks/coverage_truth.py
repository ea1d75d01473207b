"""The long-run truth of the server of `closed_loop.py`: worked out where a formula is known, else drawn."""

from __future__ import annotations

import math
import random
from functools import lru_cache
from statistics import NormalDist

import closed_loop

from autotune.benchmark.metrics import statistics_of, summarize
from autotune.records import STATISTICS

DRAWN = 400_000  # requests; those of an interval are a few thousand at the most
LONG = 160_000  # requests of the run that stands for the truth where the server has moods
MOST_TOKENS = 1_000


def long_run(timing: closed_loop.Timing, in_flight: int) -> dict[str, float]:
    """Return what each metric comes to over a time without end.

    Requests are independent unless the server has moods, so in a closed loop (renewal reward theorem):
    requests/s = in flight / E[end-to-end latency] · E[1 / factor of a repeat], tokens/s = that · E[tokens].
    Means are those that the draws are made with, percentiles those of very many draws.
    """
    if timing.mood:
        records = closed_loop.repeat(timing, in_flight=in_flight, requests=LONG, seed="long run")
        return summarize(records, window_s=max(r.ended_s for r in records if r.phase == "measure"))
    tokens = mean_tokens(timing)
    e2e_s = timing.ttft_s + (tokens - 1) * timing.itl_s
    requests = in_flight / e2e_s * math.exp(timing.repeats_differ**2)
    return {
        **_drawn(timing),
        **_lognormal("ttft_ms", timing.ttft_s, timing.ttft_spread, timing.repeats_differ),
        **_lognormal("itl_ms", timing.itl_s, timing.itl_spread, timing.repeats_differ),
        "tpot_ms_mean": 1000 * timing.itl_s,
        "e2e_ms_mean": 1000 * e2e_s,
        "requests_per_s": requests,
        "goodput_requests_per_s": requests,
        "output_tokens_per_s": requests * tokens,
        "total_tokens_per_s": requests * (tokens + closed_loop.PROMPT_TOKENS),
    }


def mean_tokens(timing: closed_loop.Timing) -> float:
    """Return the mean of the lognormal lengths, rounded, at least 1."""
    if not timing.output_spread:
        return max(1.0, round(timing.output_tokens))
    length = NormalDist(math.log(timing.output_tokens) - timing.output_spread**2 / 2, timing.output_spread)
    below = [0.0, *(length.cdf(math.log(tokens + 0.5)) for tokens in range(1, MOST_TOKENS))]
    return sum(n * (below[n] - below[n - 1]) for n in range(1, MOST_TOKENS))


def _lognormal(name: str, mean_s: float, *spreads: float) -> dict[str, float]:
    """A mean and the percentiles of a product of lognormal draws."""
    variance = sum(spread**2 for spread in spreads)
    found = {f"{name}_mean": 1000 * mean_s}
    for statistic in STATISTICS:
        if statistic != "mean":
            at = NormalDist().inv_cdf(float(statistic[1:]) / 100)
            found[f"{name}_{statistic}"] = 1000 * mean_s * math.exp(at * math.sqrt(variance) - variance / 2)
    return found


@lru_cache(maxsize=8)
def _drawn(timing: closed_loop.Timing) -> dict[str, float]:
    """Percentiles of sums of draws: very many requests, each with a factor of its own."""
    chance = random.Random("truth")  # noqa: S311  (draws, not secrets)
    values: dict[str, list[float]] = {name: [] for name in ("tpot_ms", "e2e_ms")}
    for _ in range(DRAWN):
        factor = closed_loop.drawn(chance, 1.0, timing.repeats_differ)
        first_s, *gaps_s = closed_loop.drawn_s(timing, chance, factor)
        values["e2e_ms"].append(first_s + sum(gaps_s))
        if gaps_s:
            values["tpot_ms"].append(sum(gaps_s) / len(gaps_s))
    return {
        f"{name}_{statistic}": 1000 * value_s
        for name, each in values.items()
        for statistic, value_s in statistics_of(each).items()
    }
