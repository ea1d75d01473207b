"""What the repeats at one load say of each metric: its value, its standard deviation, and a 95 % interval.

| metric | value |
|---|---|
| a latency's mean and percentiles | over the requests of all repeats together |
| everything else, and where a client keeps no requests | mean of the repeats |

Means, not medians: an interval is about a mean, and three repeats are too few to tell a bad one from bad
luck. A repeat unlike the others moves the value, widens the interval, and is reported (`outliers`).

`intervals` says how sure a mean or a throughput is, `percentiles` how sure a percentile is: by what differs
between the repeats, and by the batches within them.

How often the truth is inside, measured by `benchmarks/interval_coverage.py`: of every metric that is stated
91 to 99 % after one repeat, three, and `measure.until`, where repeats are alike; where they differ 88 to 97 %
after three and more. It is less where
* there is one repeat and repeats differ: it knows nothing of what the next would be like;
* repeats differ by twice as much as their requests: p90 and p95 of all together are then those of the slowest
  few repeats, which the repeats' own percentiles do not show (88 and 89 % after fourteen repeats);
* a repeat is shorter than some ten of the server's own moods;
* the client's stamps are late by about as much as the interval is wide.
With neither view there is no interval. All repeats are of one engine that was started once: what another
start would change is in no interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean, stdev

from autotune.records import ATTAINMENT, LATENCIES, Interval
from autotune.score.batches import Batches
from autotune.score.intervals import ENOUGH, around, between, bias_squared, chosen, of_rates, ratio_variance
from autotune.score.percentiles import Cells, between_percentiles, of_percentile
from autotune.score.pooled import Pooled
from autotune.score.shares import share_interval

COUNTS = {"requests_completed", "requests_failed"}  # of all repeats together


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A metric at one load; `deviation` over the repeats, None for a single one."""

    value: float
    deviation: float | None
    interval: Interval | None


def estimates(rows: Sequence[Mapping[str, float]], repeats: Sequence[Batches | None]) -> dict[str, Estimate]:
    """Return what `rows`, the metrics of each repeat, and their batches say; None: none are known."""
    known = [batches for batches in repeats if batches is not None]
    if len(known) < len(rows):
        known = []
    found = {}
    for name in dict.fromkeys(chain.from_iterable(rows)):
        values = [row[name] for row in rows if name in row]
        if name in COUNTS:
            found[name] = Estimate(value=sum(values), deviation=None, interval=None)
            continue
        found[name] = _estimate(name, values, known if len(values) == len(rows) else [])
    return found


def scaled(estimate: Estimate, factor: float) -> Estimate:
    """Return the estimate of `factor`, above 0, times the metric."""
    interval, deviation = estimate.interval, estimate.deviation
    return Estimate(
        value=estimate.value * factor,
        deviation=None if deviation is None else deviation * factor,
        interval=None
        if interval is None
        else Interval(low=interval.low * factor, high=interval.high * factor, freedom=interval.freedom),
    )


def inverse(estimate: Estimate, factor: float, values: Sequence[float]) -> Estimate | None:
    """Return the estimate of `factor` over the metric; `values` are those of its repeats, all above 0."""
    if estimate.value <= 0:
        return None
    interval = estimate.interval
    return Estimate(
        value=factor / estimate.value,
        deviation=_deviation(values),
        interval=None
        if interval is None or interval.low <= 0
        else Interval(low=factor / interval.high, high=factor / interval.low, freedom=interval.freedom),
    )


def _estimate(name: str, values: Sequence[float], known: Sequence[Batches]) -> Estimate:
    value, within = fmean(values), None
    outer = between(value, values)
    latency, _, statistic = name.rpartition("_")
    if name == ATTAINMENT and known:
        within = share_interval([batches.kept for batches in known])
        wider = [found for found in (outer, within) if found is not None]
        interval = max(wider, key=lambda found: found.half_width, default=None)
        return Estimate(value=value, deviation=_deviation(values), interval=interval)
    if latency in LATENCIES and known:
        cells = [batches.latencies.get(latency, ()) for batches in known]
        found = _of_latency(cells, statistic, values)
        value, outer, within = found or (value, outer, within)
    elif known:
        rates = [batches.rates.get(name, ()) for batches in known]
        within = of_rates(value, rates)
        if len(values) >= ENOUGH and all(rates):
            outer = between(value, values, bias_squared=bias_squared(values, rates))
    return Estimate(
        value=value,
        deviation=_deviation(values),
        interval=chosen(outer, within, value, len(values)),
    )


def _deviation(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None


def _of_latency(
    cells: Cells, statistic: str, values: Sequence[float]
) -> tuple[float, Interval | None, Interval | None] | None:
    """A latency over all requests, with its intervals between and within; None where no request has one."""
    pooled = Pooled(chain.from_iterable(cells))
    if not pooled:
        return None
    if statistic == "mean":
        value = pooled.total / pooled.count
        sums = [[(math.fsum(batch), float(len(batch))) for batch in batches] for batches in cells]
        spread = ratio_variance(sums)
        return value, between(value, values), None if spread is None else around(value, *spread)
    share = float(statistic[1:]) / 100
    value = pooled.percentile(100 * share)
    outer = between_percentiles(pooled, share, values)
    if outer is not None and len(values) >= ENOUGH:
        return value, outer, None  # it would not be looked at
    return value, outer, of_percentile(cells, pooled, share)
