"""Whether the latency is steady: the rule by which a warm-up ends."""

from __future__ import annotations

import math
from collections.abc import Sequence

LEAST = 2  # requests of a batch
WITHIN = 0.05  # of the mean before
ERRORS = 2.0  # standard errors of the difference


class Steadiness:
    """Judges the end-to-end latency of warm-up requests, in batches of one for each unit of load.

    A batch holds requests that were *sent* one after the other, and is complete when they have ended: taken
    by their end, short answers would come first and look like a trend. It is steady when the mean of the last
    complete batch differs from that of the one before it by no more than 5 %, or by no more than two standard
    errors of the difference, so that answers of unlike lengths are not taken for a trend. Failed requests do
    not count.
    """

    def __init__(self, units: float) -> None:
        self._size = max(LEAST, math.ceil(units))
        self._ended: dict[int, int] = {}
        self._latencies_s: dict[int, list[float]] = {}
        self._complete: list[int] = []

    def add(self, place: int, latency_s: float | None) -> None:
        """Take the latency of the request that was sent as number `place`, from 0; None: it failed."""
        batch = place // self._size
        values = self._latencies_s.setdefault(batch, [])
        if latency_s is not None:
            values.append(latency_s)
        self._ended[batch] = self._ended.get(batch, 0) + 1
        if self._ended[batch] == self._size and values:
            self._complete.append(batch)

    @property
    def steady(self) -> bool:
        """Whether the last two complete batches show no trend; False before there are two."""
        if len(self._complete) < 2:
            return False
        before, last = (self._latencies_s[batch] for batch in sorted(self._complete)[-2:])
        change = abs(_mean(last) - _mean(before))
        error = math.sqrt(_mean_variance(last) + _mean_variance(before))
        return change <= max(WITHIN * _mean(before), ERRORS * error)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _mean_variance(values: Sequence[float]) -> float:
    """Return the variance of the values' mean."""
    if len(values) < 2:
        return 0.0
    mean = _mean(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values)
