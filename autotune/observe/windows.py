"""The measured window of a client on this process' clock, and what readings say of it."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from autotune.benchmark.protocol import Progress
from autotune.observe.sampler import Reading

Seen = TypeVar("Seen")
Points = Sequence[tuple[float, float]]
"""(time, value) in ascending time; seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """From when to when a client measured; readings up to `slack_s` outside may stand for its ends."""

    begin_s: float
    end_s: float
    slack_s: float

    def inside(self, readings: Sequence[Reading[Seen]]) -> list[Reading[Seen]]:
        """Return the readings in the window; in one too short for any, the nearest to its middle."""
        within = [reading for reading in readings if self.begin_s <= reading.at_s <= self.end_s]
        if within:
            return within
        near = self._nearest(readings, (self.begin_s + self.end_s) / 2)
        return [] if near is None else [readings[near]]

    def around(self, readings: Sequence[Reading[Seen]]) -> Sequence[Reading[Seen]]:
        """Return the readings from the one nearest to the beginning to the one nearest to the end."""
        first, last = self._nearest(readings, self.begin_s), self._nearest(readings, self.end_s)
        return [] if first is None or last is None else readings[first : last + 1]

    def _nearest(self, readings: Sequence[Reading[Seen]], at_s: float) -> int | None:
        if not readings:
            return None
        near = min(range(len(readings)), key=lambda place: abs(readings[place].at_s - at_s))
        return near if abs(readings[near].at_s - at_s) <= self.slack_s else None


class Ear:
    """Hears a client's reports, and tells from them when it measured."""

    def __init__(self, begun: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        """`begun` is called where the measured phase shows first and where it seems to end."""
        self._begun, self._clock = begun, clock
        self._called_s = clock()
        self._last_s: float | None = None

    def heard(self, progress: Progress) -> None:
        """Take one report."""
        if progress.phase != "measure":
            return
        first, self._last_s = self._last_s is None, self._clock()
        if first or progress.requests_completed + progress.requests_failed >= progress.requests_total:
            self._begun()

    def window(self, duration_s: float, *, slack_s: float) -> Window:
        """Return the window of a measurement that has just ended and took `duration_s`.

        A client reports once more where its measured phase ends, before it works out what it measured: the
        window ends with the last report, and without any now.
        """
        end_s = self._clock() if self._last_s is None else self._last_s
        return Window(begin_s=max(self._called_s, end_s - duration_s), end_s=end_s, slack_s=slack_s)


def increase(counts: Sequence[Mapping[str, float]]) -> float | None:
    """Return by how much counters of several replicas grew from the first to the last of `counts`.

    A counter that fell has begun anew at 0. None for fewer than two.
    """
    if len(counts) < 2:
        return None
    return sum(
        value - before[replica] if value >= before.get(replica, 0.0) and replica in before else value
        for before, after in pairwise(counts)
        for replica, value in after.items()
    )


def at(points: Points, at_s: float) -> float | None:
    """Return the value at a time, between two points interpolated linearly; None outside them."""
    place = bisect_left(points, (at_s, float("-inf")))
    if place < len(points) and points[place][0] == at_s:
        return points[place][1]
    if place in {0, len(points)}:
        return None
    (before_s, before), (after_s, after) = points[place - 1], points[place]
    return before + (after - before) * (at_s - before_s) / (after_s - before_s)


def integral(points: Points, begin_s: float, end_s: float) -> float | None:
    """Return the integral of a value over time by the trapezoid rule; None beyond its points."""
    ends = (at(points, begin_s), at(points, end_s))
    if ends[0] is None or ends[1] is None:
        return None
    inner = [point for point in points if begin_s < point[0] < end_s]
    covered = [(begin_s, ends[0]), *inner, (end_s, ends[1])]
    return sum((b_s - a_s) * (a + b) / 2 for (a_s, a), (b_s, b) in pairwise(covered))
