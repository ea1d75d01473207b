"""The 95 % interval of a share of requests, such as those within the SLO.

Wilson's score interval, which is never of no width: that all of 60 requests were good does not show that more
than 94 % would be. Requests that are in flight together are good or late together, so that n of them say less
than n independent ones: by how much is seen from batch to batch (`batches`), as for percentiles.
Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

from autotune.records import Interval

Z = 1.959964  # of the normal distribution, 95 % two-sided
LEAST = 3  # batches of a repeat that show how requests depend on each other


def share_interval(repeats: Sequence[Sequence[tuple[float, float]]]) -> Interval | None:
    """Return the interval of good requests over all; `repeats` holds both for each batch of each repeat."""
    every = [part for part in chain.from_iterable(repeats) if part[1]]
    count = math.fsum(size for _, size in every)
    if not count:
        return None
    share = math.fsum(good for good, _ in every) / count
    worth = count / _dependence(repeats, share)
    middle = (share + Z * Z / (2 * worth)) / (1 + Z * Z / worth)
    half = Z * math.sqrt(share * (1 - share) / worth + Z * Z / (4 * worth * worth)) / (1 + Z * Z / worth)
    return Interval(low=max(0.0, middle - half), high=min(1.0, middle + half))


def _dependence(repeats: Sequence[Sequence[tuple[float, float]]], share: float) -> float:
    """The variance of batches over that of as many independent requests; at least 1, or unknown and 1."""
    parts = [part for batches in repeats if len(batches) >= LEAST for part in batches if part[1]]
    expected = math.fsum(share * (1 - share) * size for _, size in parts)
    if not expected:
        return 1.0
    freedom = len(parts) / max(1, len(parts) - 1)
    return max(1.0, freedom * math.fsum((good - share * size) ** 2 for good, size in parts) / expected)
