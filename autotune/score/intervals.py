"""How sure a mean or a throughput is: 95 % intervals between the repeats and within them.

There are two views of the noise. x_r is the value of repeat r of R, s their standard deviation:

* between the repeats: value ± t_(R-1) · s / √R. Right whatever happens within a repeat, but with few repeats
  wide: t is 12.7 for two, 4.3 for three.
* within them, from their batches (`batches`): s_b the standard deviation of a repeat's B batches around its
  own value, v = mean of s_b² / B over the repeats: value ± t_(R(B-1)) · √(v / R). Batches have more or fewer
  requests, so their sums are compared and not their means (ratio estimator).

Within is surer, but right only where repeats differ no more than their batches explain. So where what is
between them is more, that is stated, else the two put together, their sums of squares over their degrees of
freedom: the variance between can truly not be less than that within, and what looks like it is chance
(restricted maximum likelihood). "More" is, from five repeats on, above 1 times the variance within; for three
and four above R / (R - 1) times, for two above half of it, because t makes what is between them so wide. The
two cannot be put together for a percentile (`percentiles`): there what is between is stated from five repeats
on, and with fewer what is within unless the other is more.

A throughput has a bias as well: requests that began together are still a little in step after the warm-up,
and the window does not end where their round ends (+0.2 % for 64 requests in flight, eight rounds). In a
closed loop the requests' own times say what it should be. So from five repeats on d, the mean difference of
the two, widens the interval: d² less what is chance in it, max(0, d² - s_d² / R), is added to the variance
between. Fewer repeats are not so sure that it would matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, variance
from typing import TypeAlias

from autotune.records import Interval
from autotune.score.batches import LEAST
from autotune.score.distributions import student_t

CONFIDENCE = 0.95
ENOUGH = 5  # repeats from which on they speak for themselves
ALIKE_PAIR = 0.5  # times the variance within, up to which two repeats are alike

Rates: TypeAlias = "Sequence[Sequence[tuple[float, float]]]"
"""Amount and seconds of a throughput, by repeat and batch."""


def between(value: float, values: Sequence[float], *, bias_squared: float = 0.0) -> Interval | None:
    """Return the interval around `value` by the repeats alone; None for a single one."""
    if len(values) < 2:
        return None
    freedom = len(values) - 1
    return around(value, variance(values) / len(values) + bias_squared, freedom)


def around(value: float, variance_of_mean: float, freedom: float) -> Interval:
    """Return the interval of a mean with that variance, by Student's t."""
    half = student_t((1 + CONFIDENCE) / 2, freedom) * math.sqrt(variance_of_mean)
    return Interval(low=value - half, high=value + half, freedom=freedom)


def chosen(outer: Interval | None, within: Interval | None, value: float, repeats: int) -> Interval | None:
    """Return what is between the repeats where that is more than what is within, else what both say."""
    if outer is None or within is None:
        return outer or within
    most = 1.0 if repeats >= ENOUGH else repeats / (repeats - 1) if repeats > 2 else ALIKE_PAIR
    if _variance(outer) > most * _variance(within):
        return outer
    if outer.freedom is None or within.freedom is None:  # of a percentile there is no sum of squares
        return within
    freedom = outer.freedom + within.freedom
    squares = outer.freedom * _variance(outer) + within.freedom * _variance(within)
    return around(value, squares / freedom, freedom)


def of_rates(value: float, rates: Rates) -> Interval | None:
    """Return the interval of a throughput by amount and time of its batches, as a share of itself."""
    spread = ratio_variance(rates)
    amount, took_s = (math.fsum(part[n] for parts in rates for part in parts) for n in (0, 1))
    if spread is None or amount == 0:
        return None
    share = value * took_s / amount
    return around(value, spread[0] * share**2, spread[1])


def bias_squared(values: Sequence[float], rates: Rates) -> float:
    """Return the square of how far all repeats lie from what their requests' own times say, less chance."""
    if any(math.fsum(took_s for _, took_s in parts) <= 0 for parts in rates):
        return 0.0
    apart = [
        value - math.fsum(amount for amount, _ in parts) / math.fsum(took_s for _, took_s in parts)
        for value, parts in zip(values, rates, strict=True)
    ]
    return max(0.0, fmean(apart) ** 2 - variance(apart) / len(apart))


def ratio_variance(parts: Rates) -> tuple[float, float] | None:
    """Return the variance of Σ sums / Σ counts by the batches of each repeat, and its degrees of freedom."""
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


def _variance(interval: Interval) -> float:
    return (interval.half_width / student_t((1 + CONFIDENCE) / 2, interval.freedom)) ** 2
