"""The distributions that intervals and tests rest on: Student's t and the ranks of order statistics."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

TINY = 1e-300  # in place of a zero denominator
CLOSE = 1e-15
HALVINGS = 50  # of an angle
RANK_HALVINGS = 22  # of a rank, which costs a series of terms each: to a thousandth of thousands


def beta_share(x: float, first: float, second: float) -> float:
    """Return the regularized incomplete beta function I_x(first, second), for x from 0 to 1.

    Source: NIST Digital Library of Mathematical Functions, 8.17.22 (continued fraction), 8.17.4 (symmetry).
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (first + 1) / (first + second + 2):
        return 1 - beta_share(1 - x, second, first)
    scale = math.lgamma(first + second) - math.lgamma(first) - math.lgamma(second)
    head = math.exp(scale + first * math.log(x) + second * math.log1p(-x)) / first
    return head / _fraction(x, first, second)


@lru_cache(maxsize=1024)
def student_t(probability: float, freedom: float | None) -> float:
    """Return the quantile of Student's t, for a probability from 0.5 to below 1; None: the normal's."""
    if freedom is None:
        return NormalDist().inv_cdf(probability)
    angle = _root(lambda at: two_sided(_ratio(at, freedom), freedom) - 2 * (1 - probability), 0, math.pi / 2)
    return _ratio(angle, freedom)


def two_sided(t: float, freedom: float | None) -> float:
    """Return the probability of a |t| at least as great, by chance alone."""
    if freedom is None:
        return math.erfc(abs(t) / math.sqrt(2))
    return beta_share(freedom / (freedom + t * t), freedom / 2, 0.5)


def rank_bounds(share: float, count: float, confidence: float) -> tuple[float, float] | None:
    """Return between which ranks of `count` values the true quantile lies, None: nobody can say.

    Rank 1 is the least. The k-th least value is below the quantile with probability
    I_share(k, count - k + 1), whatever the distribution; fractions of ranks, to be interpolated, keep what is
    stated and what is true close together. What lies beyond the least or the greatest value was not measured.
    `count` need not be whole: it is what a sample of dependent values is worth.
    Source: Hutson, Journal of Applied Statistics 26 (1999), 343-353.
    """
    tail = (1 - confidence) / 2
    if count < 1 or (1 - share) ** count > tail or share**count > tail:
        return None
    low = _root(lambda rank: beta_share(share, rank, count - rank + 1) - (1 - tail), 1, count, RANK_HALVINGS)
    high = _root(lambda rank: beta_share(share, rank, count - rank + 1) - tail, 1, count, RANK_HALVINGS)
    return low, high


def _ratio(angle: float, freedom: float) -> float:
    return math.tan(angle) * math.sqrt(freedom)


def _root(falling: Callable[[float], float], low: float, high: float, halvings: int = HALVINGS) -> float:
    """Where a falling function crosses zero, by halving."""
    for _ in range(halvings):
        middle = (low + high) / 2
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _fraction(x: float, first: float, second: float) -> float:
    """The continued fraction 1 + d1/(1 + d2/(1 + ...)), from its front (modified Lentz)."""
    value, upper, lower = 1.0, 1.0, 0.0
    for step in range(1, 10_000):
        half = step // 2
        if step % 2:
            part = -(first + half) * (first + second + half) * x
            part /= (first + 2 * half) * (first + 2 * half + 1)
        else:
            part = half * (second - half) * x / ((first + 2 * half - 1) * (first + 2 * half))
        lower = 1 / (1 + part * lower or TINY)
        upper = 1 + part / upper or TINY
        value *= upper * lower
        if abs(upper * lower - 1) < CLOSE:
            break
    return value
