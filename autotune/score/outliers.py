"""Values far from the others: told, and left in every number.

* Of three or more repeats, one is an outlier that is farther from the mean m of the others than Student's t
  allows any of R repeats in 95 of 100 loads: |x - m| > t · s · √(1 + 1 / (R - 1)), s being their standard
  deviation and t the quantile for 1 - 0.05 / 2R with R - 2 degrees (Grubbs's test, in the form of deleted
  residuals). With three repeats only one that is very far off can be told from bad luck.
* Of the requests of a load, those are outliers whose TTFT or end-to-end latency is above the third quartile
  by more than three times the distance of the quartiles (Tukey's outer fence).

Sources: Grubbs, Technometrics 11 (1969); Tukey, Exploratory Data Analysis (1977).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from statistics import fmean, stdev

from autotune.records import Outliers
from autotune.score.batches import Batches
from autotune.score.distributions import student_t
from autotune.score.pooled import Pooled

FALSE_ALARMS = 0.05  # of loads whose repeats are alike
FENCE = 3.0  # distances of the quartiles
WATCHED = ("ttft_ms", "e2e_ms")


def of_repeats(metric: str, values: Sequence[float]) -> tuple[Outliers, ...]:
    """Return the repeats that are unlike the others; `limit` is that of the farthest."""
    if len(values) < 3:
        return ()
    quantile = student_t(1 - FALSE_ALARMS / (2 * len(values)), len(values) - 2)
    found = []
    for number, value in enumerate(values):
        others = [*values[:number], *values[number + 1 :]]
        middle = fmean(others)
        reach = quantile * stdev(others) * math.sqrt(1 + 1 / len(others))
        if abs(value - middle) > max(reach, abs(middle) * 1e-9):
            found.append((abs(value - middle), value, middle + math.copysign(reach, value - middle)))
    if not found:
        return ()
    _, worst, limit = max(found)
    return (
        Outliers(
            kind="repeats", metric=metric, count=len(found), total=len(values), limit=limit, worst=worst
        ),
    )


def of_requests(repeats: Sequence[Batches | None]) -> tuple[Outliers, ...]:
    """Return the requests of all repeats that took far longer than the others."""
    found = []
    for metric in WATCHED:
        cells = [batches.latencies.get(metric, ()) for batches in repeats if batches is not None]
        pooled = Pooled(chain.from_iterable(cells))
        if not pooled:
            continue
        low, high = pooled.percentile(25), pooled.percentile(75)
        limit = high + FENCE * (high - low)
        count = pooled.above(limit)
        if count:
            found.append(
                Outliers(
                    kind="requests",
                    metric=metric,
                    count=count,
                    total=pooled.count,
                    limit=limit,
                    worst=pooled.greatest,
                )
            )
    return tuple(found)
