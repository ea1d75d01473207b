"""Values in several ascending batches, looked at as one, without a copy: they can be millions."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterable

FEW = 64  # values that are sorted rather than searched


class Pooled:
    """All values of some ascending batches together."""

    def __init__(self, batches: Iterable[array[float]]) -> None:
        self._batches = [batch for batch in batches if batch]
        self.count = sum(map(len, self._batches))

    def __bool__(self) -> bool:
        return self.count > 0

    @property
    def total(self) -> float:
        """The sum of the values."""
        return math.fsum(map(math.fsum, self._batches))

    @property
    def greatest(self) -> float:
        """The greatest value."""
        return max(batch[-1] for batch in self._batches)

    def above(self, limit: float) -> int:
        """Return how many values are above a limit."""
        return self.count - self._up_to(limit)

    def percentile(self, percent: float) -> float:
        """Return the percentile, interpolated as `benchmark.metrics` does."""
        return self.at_rank(1 + (self.count - 1) * percent / 100)

    def at_rank(self, rank: float) -> float:
        """Return the value at a rank, the least being 1; a fraction lies between its neighbours."""
        place = min(max(rank, 1.0), float(self.count)) - 1
        low = math.floor(place)
        value = self._nth(low)
        if place == low:
            return value
        return value + (self._nth(low + 1) - value) * (place - low)

    def _up_to(self, value: float) -> int:
        return sum(bisect_right(batch, value) for batch in self._batches)

    def _nth(self, number: int) -> float:
        """The value that `number` others come before: halved down to few candidates, or to a single float."""
        low, high = min(batch[0] for batch in self._batches), self.greatest
        if self._up_to(low) > number:
            return low
        while (middle := (low + high) / 2) not in {low, high}:  # low is before it, high is not
            if self._up_to(middle) > number:
                high = middle
            else:
                low = middle
            cuts = [(bisect_right(batch, low), bisect_right(batch, high)) for batch in self._batches]
            if sum(end - begin for begin, end in cuts) <= FEW:
                between = zip(self._batches, cuts, strict=True)
                few = sorted(value for batch, (begin, end) in between for value in batch[begin:end])
                return few[number - sum(begin for begin, _ in cuts)]
        return high
