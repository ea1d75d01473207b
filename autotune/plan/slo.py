"""From `slo` to bounds: what a load must meet, and what a single request may take."""

from __future__ import annotations

import math
from itertools import pairwise

from autotune.records import ATTAINMENT, ERROR_RATE, LATENCIES, STATISTICS, Bound, RequestLimits
from autotune.schema import Config, SloConfig

PERCENTILES = tuple(name for name in STATISTICS if name != "mean")
OF_REQUESTS = ("ttft_ms", "tpot_ms", "e2e_ms")
"""Latencies that a request has one of; of ITL it has many, so that a bound on it judges no single request."""

MAX_ERROR_RATE = 0.01  # where anything is bound: what fails must not make latencies look good


def request_limits(slo: SloConfig) -> RequestLimits:
    """Return what a good request may take: what is configured, else the loosest bound on a percentile."""
    return RequestLimits(**{name: _limit(slo, name) for name in OF_REQUESTS})


def bounds_of(slo: SloConfig) -> tuple[Bound, ...]:
    """Return what a load must meet; nothing where nothing is bound."""
    names = [f"{latency}_{statistic}" for latency in LATENCIES for statistic in STATISTICS]
    found = [_bound(name, value) for name in names if (value := getattr(slo, name)) is not None]
    if slo.attainment is not None:
        found.append(Bound(key="slo.attainment", metric=ATTAINMENT, value=slo.attainment))
    if slo.error_rate is not None:
        found.append(_bound(ERROR_RATE, slo.error_rate))
    elif found:
        found.append(_bound(ERROR_RATE, MAX_ERROR_RATE))
    return tuple(found)


def problems(config: Config) -> list[str]:
    """Return what is wrong with the bounds of a configuration."""
    slo = config.slo
    single = [name for name in OF_REQUESTS if getattr(slo, name) is not None]
    named = [*OF_REQUESTS, *(f"{latency}_{of}" for latency in LATENCIES for of in STATISTICS)]
    found = [
        f"slo.{name}={value:g}: must be above 0 ms"
        for name in named
        if (value := getattr(slo, name)) is not None and not value > 0
    ]
    found += [
        f"slo.{name}={value:g}: must be a share from 0 to 1"
        for name in ("attainment", "error_rate")
        if (value := getattr(slo, name)) is not None and not 0 <= value <= 1
    ]
    found += [text for latency in LATENCIES for text in _exchanged(slo, latency)]
    if single and slo.attainment is None:
        found.append(
            f"slo.{single[0]}: is of a single request: give slo.attainment, the share of requests that must "
            f"meet it, such as 0.95, or bind a percentile, such as slo.{single[0]}_p95"
        )
    if slo.attainment is not None and request_limits(slo) == RequestLimits():
        found.append(
            f"slo.attainment={slo.attainment:g}: of what? Give what a request may take: slo.ttft_ms, "
            "slo.tpot_ms, slo.e2e_ms, or a bound on a percentile of these"
        )
    return found


def _limit(slo: SloConfig, name: str) -> float:
    own = getattr(slo, name)
    bounds = [value for of in PERCENTILES if (value := getattr(slo, f"{name}_{of}")) is not None]
    return float(own) if own is not None else max(bounds, default=math.inf)


def _bound(name: str, value: float) -> Bound:
    return Bound(key=f"slo.{name}", metric=name, value=value)


def _exchanged(slo: SloConfig, latency: str) -> list[str]:
    """A percentile cannot be below a lower one, so a bound below a lower one's makes that one void."""
    given = [(of, value) for of in PERCENTILES if (value := getattr(slo, f"{latency}_{of}")) is not None]
    return [
        f"slo.{latency}_{high}={above:g}: is below slo.{latency}_{low}={below:g}, which is then void: "
        "are they exchanged?"
        for (low, below), (high, above) in pairwise(given)
        if above < below
    ]
