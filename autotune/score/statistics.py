"""What a few paired measurements say of a difference: its size, with a confidence interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from autotune.score.distributions import student_t
from autotune.score.intervals import CONFIDENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """By how many percent the second values of pairs differ from the first, with the interval."""

    percent: float
    low: float
    high: float
    pairs: int

    @property
    def is_seen(self) -> bool:
        """Whether the interval excludes no difference at all."""
        return self.low > 0 or self.high < 0


def paired_difference(pairs: Sequence[tuple[float, float]]) -> Difference | None:
    """Return the relative difference of (first, second) pairs: Student's t on the logarithms of their ratios.

    d_i = ln(second_i / first_i); m = mean of d; s = their standard deviation (n - 1);
    h = t_(1 + 0.95)/2, n - 1 · s / √n; percent = 100 · (e^m - 1), from 100 · (e^(m - h) - 1) to
    100 · (e^(m + h) - 1).
    What both values of a pair have in common (a hot room, a slow engine) cancels. Student's t, no bootstrap:
    with five pairs the percentiles of a bootstrap hold the truth far less often than they say. The d_i are
    taken to be normal and independent. Of a steady drift over all values the 2n - 1st part is in `percent`,
    because the second value of every pair is the later one.
    None for fewer than two pairs, or where a value is not above zero.
    """
    if len(pairs) < 2 or any(first <= 0 or second <= 0 for first, second in pairs):
        return None
    logs = [math.log(second / first) for first, second in pairs]
    middle, count = fmean(logs), len(logs)
    half = student_t((1 + CONFIDENCE) / 2, count - 1) * stdev(logs) / math.sqrt(count)
    return Difference(
        percent=100 * math.expm1(middle),
        low=100 * math.expm1(middle - half),
        high=100 * math.expm1(middle + half),
        pairs=count,
    )


def geometric_mean(values: Sequence[float]) -> float:
    """Return e to the mean of the logarithms: the means whose ratio is the difference above."""
    return math.exp(fmean(map(math.log, values)))
