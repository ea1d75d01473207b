"""How sure a percentile is: 95 % intervals between the repeats and within them.

* Between the repeats (at least 1.5 requests beyond the percentile, such as 150 for p99): Student's t on the
  logarithms of the repeats' own percentiles.
* Within them: the ranks between which the percentile p of n requests lies (`distributions.rank_bounds`) are
  those of n / D independent ones. D, at least 1, is by how much the share of requests below p (for p95 and
  p99: p90, of which more can be seen) varies from batch to batch more than that of independent ones would;
  above 1.5 it is taken for more than chance and multiplied by (t_(R(B-1)) / 1.96)², as few batches do not
  know it well. What lies beyond the slowest request cannot be seen: for p99 it takes 368 independent ones.

`intervals.chosen` says which of the two is stated.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeAlias

from autotune.records import Interval
from autotune.score.distributions import rank_bounds, student_t
from autotune.score.intervals import CONFIDENCE, between, ratio_variance
from autotune.score.pooled import Pooled

BEYOND = 1.5  # requests that must lie beyond a percentile
DEPENDENT = 1.5  # times the variance of independent requests, up to which it may be by chance
SEEN = 0.9  # beyond this percentile too few requests lie to see how they depend on each other

Cells: TypeAlias = "Sequence[Sequence[array[float]]]"
"""The values of a latency, by repeat and batch."""


def between_percentiles(pooled: Pooled, share: float, values: Sequence[float]) -> Interval | None:
    """Return the interval by the repeats alone: by logarithms, the slowest of a few requests are skewed.

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


def of_percentile(cells: Cells, pooled: Pooled, share: float) -> Interval | None:
    """Return the interval by the batches within the repeats; None where too little is seen."""
    seen = pooled.percentile(100 * min(share, SEEN))
    below = [
        [(float(bisect_right(batch, seen)), float(len(batch))) for batch in batches] for batches in cells
    ]
    spread = ratio_variance(below)
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
