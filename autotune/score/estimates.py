"""What the repeats at one load say of each metric: its value, its standard deviation, and a 95 % interval.

| metric | value |
|---|---|
| a latency's mean and percentiles | over the requests of all repeats together |
| everything else, and where a client keeps no requests | mean of the repeats |

Means, not medians: an interval is about a mean, and three repeats are too few to tell a bad one from bad
luck. A repeat unlike the others moves the value, widens the interval, and is reported (`outliers`).

There are two views of the noise. x_r is the value of repeat r of R, s their standard deviation:

* between the repeats: value ± t_(R-1) · s / √R. Right whatever happens within a repeat, but with few repeats
  wide: t is 12.7 for two, 4.3 for three.
* within them, from their batches (`batches`): s_b the standard deviation of a repeat's B batches around its
  own value, v = mean of s_b² / B over the repeats: value ± t_(R(B-1)) · √(v / R). Batches have more or fewer
  requests, so their sums are compared and not their means (ratio estimator). For a percentile p the ranks
  between which it lies (`distributions.rank_bounds`) are those of n / D requests: D, at least 1, is by how
  much the share of requests below p (for p95 and p99: p90, of which more can be seen) varies from batch to
  batch more than that of independent ones would; above 1.5 it is taken for more than chance and multiplied by
  (t_(R(B-1)) / 1.96)² because few batches do not know it well. What lies beyond the slowest request cannot be
  seen: for p99 it takes 368 independent ones.

Within is surer, and right only where repeats differ no more than their batches explain. So of a mean or a
throughput what is between them is stated where it is more, else the two put together, their sums of squares
over their degrees of freedom: the variance between can truly not be less than that within, what looks like it
is chance (restricted maximum likelihood). "More" is 1 times the variance within, from five repeats on; with
three and four R / (R - 1) times, with two half of it, because there t makes what is between so wide. Of a
percentile from five repeats on only what is between them is stated, and with fewer what is within where the
other is not more. What is between takes at least 1.5 requests beyond a percentile, such as 150 for p99.

A throughput has a bias as well: requests that began together are still a little in step after the warm-up,
and the window does not end where their round ends (+0.2 % of 64 requests in flight, eight rounds). In a
closed loop the requests' own times say what it should be, so from five repeats on the mean difference d of
the two, squared, less what is chance in it, max(0, d² - s_d² / R), is added to the variance between.

How often the truth is inside, measured by `benchmarks/interval_coverage.py`: of every metric that is stated
90 to 99 % after one repeat, three, and `measure.until`. It is less, and nothing here can mend it, where
* there is one repeat and repeats differ: it knows nothing of what the next would be like;
* a repeat is shorter than some ten of the server's own moods;
* the truth is asked for more finely than the bias of the window can be seen (± 0.4 % of such short repeats).
With neither view there is no interval. All repeats are of one engine that was started once: what another
start would change is in no interval.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean, stdev, variance
from typing import TypeAlias

from autotune.records import LATENCIES, Interval
from autotune.score.batches import LEAST, Batches
from autotune.score.distributions import rank_bounds, student_t
from autotune.score.pooled import Pooled

CONFIDENCE = 0.95
ENOUGH = 5  # repeats from which on they speak for themselves
ALIKE_PAIR = 0.5  # times the variance within, up to which two repeats are alike
BEYOND = 1.5  # requests that must lie beyond a percentile
DEPENDENT = 1.5  # times the variance of independent requests, up to which it may be by chance
COUNTS = {"requests_completed", "requests_failed"}  # of all repeats together
SEEN = 0.9  # beyond this percentile too few requests lie to see how they depend on each other

Cells: TypeAlias = "Sequence[Sequence[array[float]]]"
"""The values of a latency, by repeat and batch."""
Rates: TypeAlias = "Sequence[Sequence[tuple[float, float]]]"
"""Amount and seconds of a throughput, by repeat and batch."""


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
        found[name] = _estimate(name, values, known if len(values) == len(rows) else [], rows)
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
        deviation=stdev(values) if len(values) > 1 else None,
        interval=None
        if interval is None or interval.low <= 0
        else Interval(low=factor / interval.high, high=factor / interval.low, freedom=interval.freedom),
    )


def between(value: float, values: Sequence[float], *, bias_squared: float = 0.0) -> Interval | None:
    """Return the interval around `value` by the repeats alone; None for a single one."""
    if len(values) < 2:
        return None
    freedom = len(values) - 1
    return _around(value, variance(values) / len(values) + bias_squared, freedom)


def _estimate(
    name: str, values: Sequence[float], known: Sequence[Batches], rows: Sequence[Mapping[str, float]]
) -> Estimate:
    value, within = fmean(values), None
    outer = between(value, values)
    latency, _, statistic = name.rpartition("_")
    if latency in LATENCIES and known:
        cells = [batches.latencies.get(latency, ()) for batches in known]
        found = _of_latency(cells, statistic, values)
        value, outer, within = found or (value, outer, within)
    elif known:
        source = _same_as(name, rows)
        rates = [batches.rates.get(source, ()) for batches in known]
        within = _of_rates(value, rates)
        if len(values) >= ENOUGH and all(rates):
            outer = between(value, values, bias_squared=_bias_squared(values, rates))
    return Estimate(
        value=value,
        deviation=stdev(values) if len(values) > 1 else None,
        interval=_chosen(outer, within, value, len(values)),
    )


def _same_as(name: str, rows: Sequence[Mapping[str, float]]) -> str:
    """Where every request was good enough, goodput is the rate of requests."""
    same = all(row.get("goodput_requests_per_s") == row.get("requests_per_s") for row in rows)
    return "requests_per_s" if name == "goodput_requests_per_s" and same else name


def _chosen(outer: Interval | None, within: Interval | None, value: float, repeats: int) -> Interval | None:
    """What is between the repeats where that is more than what is within; else what both say."""
    if outer is None or within is None:
        return outer or within
    most = 1.0 if repeats >= ENOUGH else repeats / (repeats - 1) if repeats > 2 else ALIKE_PAIR
    if _variance(outer) > most * _variance(within):
        return outer
    if outer.freedom is None or within.freedom is None:  # of a percentile there is no sum of squares
        return outer if repeats >= ENOUGH else within
    freedom = outer.freedom + within.freedom
    squares = outer.freedom * _variance(outer) + within.freedom * _variance(within)
    return _around(value, squares / freedom, freedom)


def _variance(interval: Interval) -> float:
    return (interval.half_width / student_t((1 + CONFIDENCE) / 2, interval.freedom)) ** 2


def _around(value: float, variance_of_mean: float, freedom: float) -> Interval:
    half = student_t((1 + CONFIDENCE) / 2, freedom) * math.sqrt(variance_of_mean)
    return Interval(low=value - half, high=value + half, freedom=freedom)


def _of_rates(value: float, rates: Rates) -> Interval | None:
    """A throughput by amount and time of its batches, as a share of itself."""
    spread = _ratio_variance(rates)
    amount, took_s = (math.fsum(part[n] for parts in rates for part in parts) for n in (0, 1))
    if spread is None or amount == 0:
        return None
    share = value * took_s / amount
    return _around(value, spread[0] * share**2, spread[1])


def _bias_squared(values: Sequence[float], rates: Rates) -> float:
    """By how much all repeats differ alike from what their requests' own times say, beyond what is chance."""
    apart = [
        value - math.fsum(amount for amount, _ in parts) / math.fsum(took_s for _, took_s in parts)
        for value, parts in zip(values, rates, strict=True)
    ]
    return max(0.0, fmean(apart) ** 2 - variance(apart) / len(apart))


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
        spread = _ratio_variance(sums)
        return value, between(value, values), None if spread is None else _around(value, *spread)
    share = float(statistic[1:]) / 100
    value = pooled.percentile(100 * share)
    return value, _between_percentiles(pooled, share, values), _of_percentile(cells, pooled, share)


def _between_percentiles(pooled: Pooled, share: float, values: Sequence[float]) -> Interval | None:
    """By the repeats alone: their logarithms, because the slowest of a few requests are skewed.

    Around rank (n + 1) p of all n requests: interpolated percentiles are too low for the slowest of few. And
    near the slowest request values do not get surer by √R, but as the requests beyond them get more.
    """
    if pooled.count * (1 - share) < BEYOND - 1e-9:
        return None
    middle = pooled.at_rank((pooled.count + 1) * share)
    if middle <= 0 or min(values) <= 0:
        return between(middle, values)
    found = between(math.log(middle), [math.log(value) for value in values])
    if found is None:
        return None
    beyond = pooled.count * (1 - share)
    slower = math.sqrt((beyond + len(values)) / (beyond + 1))
    factor = math.exp(found.half_width * slower)
    return Interval(low=middle / factor, high=middle * factor, freedom=found.freedom)


def _of_percentile(cells: Cells, pooled: Pooled, share: float) -> Interval | None:
    seen = pooled.percentile(100 * min(share, SEEN))
    below = [
        [(float(bisect_right(batch, seen)), float(len(batch))) for batch in batches] for batches in cells
    ]
    spread = _ratio_variance(below)
    if spread is None:
        return None
    at = math.fsum(number for batches in below for number, _ in batches) / pooled.count
    alone = at * (1 - at) / pooled.count
    worth = pooled.count / _dependence(spread[0] / alone if alone > 0 else 1.0, spread[1])
    ranks = rank_bounds(share, worth, CONFIDENCE)
    if ranks is None:
        return None
    low, high = (pooled.at_rank(rank / (worth + 1) * (pooled.count + 1)) for rank in ranks)
    return Interval(low=low, high=high)


def _dependence(seen: float, freedom: float) -> float:
    """How many requests are worth one that is independent; what few batches show of it is itself not sure."""
    if seen <= DEPENDENT:
        return max(1.0, seen)
    quantile = (1 + CONFIDENCE) / 2
    return seen * (student_t(quantile, freedom) / student_t(quantile, None)) ** 2


def _ratio_variance(parts: Rates) -> tuple[float, float] | None:
    """The variance of Σ sums / Σ counts, by those of each repeat's batches, and its degrees of freedom."""
    if any(len(batches) < LEAST for batches in parts):
        return None
    count, total, freedom = math.fsum(n for batches in parts for _, n in batches), 0.0, 0
    for batches in parts:
        own = math.fsum(n for _, n in batches)
        if own == 0:
            return None
        mean = math.fsum(part for part, _ in batches) / own
        size = len(batches)
        total += size / (size - 1) * math.fsum((part - mean * n) ** 2 for part, n in batches)
        freedom += size - 1
    return total / count**2, freedom
