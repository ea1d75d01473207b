"""The highest load within the SLO: which load is measured next on a warm engine, and when that is enough.

A guess is where latency may reach the bound. Latencies grow with the load, and the faster the higher it is,
so that this lies beyond where a straight line between the highest load that meets the bound and the lowest
that does not reaches it, and before where one through the two highest loads that meet it does. The middle is
measured; where both agree, first a little below, then a little above, so that few points close the gap.
A guess is moved as far as is needed for halving to close the gap with the points that are left, whatever the
engine is like: from 1 to 1,024 eight points always do. It ends when the gap is no wider than `CLOSE`.

What meets the bounds is for the caller to say, who has the noise. A load is saturated where offering more
brings nothing more: where it is within the SLO nothing is measured beyond it.

Pure: it knows no engine, no clock and no noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

CLOSE = 1.05  # times the highest load that meets the bounds: one that does not, and the search is over
PLANNED = 1.045  # what halving is to close the gap to: whole loads cannot be halved exactly
INSIDE = 1.025  # the guess is approached from below by that, then from above
UP = 4.0  # times the highest load so far, at the most, and from a load that is too high at least down by
START = {True: 8.0, False: 1.0}  # requests in flight, requests/s


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A load that was measured: `ratio` is the worst measured share of what is allowed."""

    load: float
    ratio: float
    met: bool
    saturated: bool = False


@dataclass(slots=True, kw_only=True)
class LoadSearch:
    """Chooses loads from `least` to `most`, whole ones if `whole`, `max_points` of them at the most."""

    least: float
    most: float
    whole: bool
    max_points: int
    points: list[Point] = field(default_factory=list)

    def next(self) -> float | None:
        """Return the load to measure next; None where the search is over."""
        if len(self.points) >= self.max_points or self.ended is not None:
            return None
        guess = self._guess()
        return None if any(point.load == guess for point in self.points) else guess

    def tell(self, point: Point) -> None:
        """Take in what was measured."""
        self.points.append(point)

    @property
    def met(self) -> Point | None:
        """The highest load that meets the bounds, below all that do not."""
        lost = self.lost
        below = [p for p in self.points if p.met and (lost is None or p.load < lost.load)]
        return max(below, key=lambda point: point.load, default=None)

    @property
    def lost(self) -> Point | None:
        """The lowest load that does not meet them."""
        return min((p for p in self.points if not p.met), key=lambda point: point.load, default=None)

    @property
    def ended(self) -> str | None:
        """Why no other load is worth measuring; None while one is."""
        met, lost = self.met, self.lost
        if met is not None and met.saturated and lost is None:
            return f"more than {met.load:g} brings no more throughput"
        if lost is not None and lost.load <= self.least:
            return f"the lowest load, {lost.load:g}, is not within the SLO"
        if met is not None and met.load >= self.most:
            return f"{met.load:g} is the highest that may be measured (workload.most_load)"
        if met is not None and lost is not None and self._closed(met.load, lost.load):
            return f"the highest load shown to be within the SLO is {met.load:g}; {lost.load:g} is not"
        return None

    @property
    def said(self) -> str:
        """How the search ended, in a sentence."""
        count = f"{len(self.points)} loads measured"
        met, lost = self.met, self.lost
        if self.ended is not None:
            return f"{self.ended} ({count})"
        if met is None:
            least = "" if lost is None else f" down to {lost.load:g}"
            return f"no load{least} is within the SLO: measure.max_points={self.max_points} ended the search"
        above = "" if lost is None else f" and below {lost.load:g}"
        return (
            f"the highest load within the SLO is at least {met.load:g}{above}: "
            f"measure.max_points={self.max_points} ended the search"
        )

    def _guess(self) -> float:
        """A load between the ends that are known or given, that leaves no more than halving can close."""
        met, lost = self.met, self.lost
        low = math.log(met.load if met is not None else self.least / CLOSE)
        high = math.log(lost.load if lost is not None else self.most * CLOSE)
        left = math.log(PLANNED) * 2 ** (self.max_points - len(self.points) - 1)
        at = self._meets_at(met, lost)
        at = (low + high) / 2 if high - low > 2 * left else min(max(at, high - left), low + left)
        load = self._rounded(math.exp(at))
        if self.whole:
            load = max(load, met.load + 1) if met is not None else load
            load = min(load, lost.load - 1) if lost is not None else load
        return min(max(load, self.least), self.most)

    def _meets_at(self, met: Point | None, lost: Point | None) -> float:
        """The logarithm of where the bound may be met, to be measured next."""
        if met is None:
            return math.log(START[self.whole] if lost is None else lost.load / max(lost.ratio, UP))
        if lost is None:
            return math.log(max(min(self._beyond(met) * INSIDE, UP * met.load), CLOSE * met.load))
        within = (1 - met.ratio) / (lost.ratio - met.ratio) if lost.ratio > 1 >= met.ratio else 0.5
        soonest = met.load + within * (lost.load - met.load)
        latest = min(max(self._beyond(met), soonest), lost.load)
        at, step = math.log(soonest * latest) / 2, math.log(INSIDE)
        if latest > soonest * CLOSE:
            return at
        near = at - math.log(met.load) <= 2 * step  # a load close below has met it: what does one above?
        return math.log(met.load) + 1.9 * step if near else at - step

    def _beyond(self, met: Point) -> float:
        """Where the line through the two highest loads that met the bound meets it."""
        before = max((p for p in self.points if p.load < met.load), key=lambda p: p.load, default=None)
        if before is None or met.ratio <= before.ratio:
            return self.most * CLOSE
        return met.load + (1 - met.ratio) * (met.load - before.load) / (met.ratio - before.ratio)

    def _rounded(self, load: float) -> float:
        return float(round(load)) if self.whole else float(f"{load:.4g}")

    def _closed(self, low: float, high: float) -> bool:
        return high / low <= CLOSE or (self.whole and high - low <= 1)
