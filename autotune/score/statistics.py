"""What a few paired measurements say of a difference: its size, with a confidence interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

CONFIDENCE = 0.95


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


def student_t(probability: float, freedom: int) -> float:
    """Return the quantile of Student's t with `freedom` degrees, for a probability from 0.5 to below 1."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):  # halvings, beyond what a float can tell apart
        middle = (low + high) / 2
        if _within(middle, freedom) < 2 * probability - 1:
            low = middle
        else:
            high = middle
    return math.tan(low) * math.sqrt(freedom)


def _within(angle: float, freedom: int) -> float:
    """The probability of |t| < tan(angle) · √freedom.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 (odd) and 26.7.4 (even).
    """
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for step in range(odd, freedom - 1, 2):
        total += term
        term *= (step + 1) / (step + 2) * cosine**2
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
