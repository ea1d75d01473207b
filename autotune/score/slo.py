"""Whether a load meets its service-level objective, by how much it misses, and how sure that is.

A load meets a bound if the value put together from its repeats does. Where the 95 % interval of that value
reaches over the bound, the contrary is possible too: such a verdict is doubtful, and said to be.

With `slo.mode=penalty` a load that misses its bounds ranks all the same: its score is multiplied (one that is
to be small: divided) by exp(-5 · e), e being the sum over the bounds of the shares by which they are missed.
10 % too slow costs 39 % of the score, 50 % costs 92 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from autotune.records import ATTAINMENT, ERROR_RATE, Bound, Interval, LoadResult, Mode, Verdict, Violation

SUSTAINED = 0.95  # of the arrivals: fewer requests that come out are too few
STEEPNESS = 5.0  # of the penalty
LEAST_MISSES = 1e-3  # what an attainment of 1 is taken to allow, to say by how much it is missed


def judge(
    metrics: Mapping[str, float], intervals: Mapping[str, Interval], bounds: Sequence[Bound]
) -> Verdict | None:
    """Return how a load stands to its bounds; None without any."""
    if not bounds:
        return None
    known = [bound for bound in bounds if bound.metric in metrics]
    unknown = [b.metric for b in bounds if b.metric not in metrics and b.metric != ERROR_RATE]
    ratios = {bound: _ratio(bound, metrics[bound.metric]) for bound in known}
    violations = tuple(
        Violation(bound=bound, measured=metrics[bound.metric], excess=_excess(bound, metrics[bound.metric]))
        for bound in known
        if not _met(bound, metrics[bound.metric])
    )
    doubtful = tuple(b.metric for b in known if b.metric in intervals and _reached(b, intervals[b.metric]))
    sure = all(b.metric in intervals for b in known if b.metric != ERROR_RATE)
    return Verdict(
        violations=violations,
        unknown=tuple(dict.fromkeys(unknown)),
        doubtful=doubtful,
        ratio=max(ratios.values(), default=0.0),
        shown=sure and not doubtful and not violations and not unknown,
    )


def is_overrun(result: LoadResult) -> bool:
    """Return whether fewer requests come out than go in at a rate, by more than the noise: a queue grows."""
    made = result.intervals.get("requests_per_s")
    most = result.metrics.get("requests_per_s") if made is None else made.high
    return result.load.mode is Mode.RATE and most is not None and most < SUSTAINED * result.load.value


def penalty(verdict: Verdict | None) -> float:
    """Return what the score of a load is multiplied with, at most 1."""
    return 1.0 if verdict is None else math.exp(-STEEPNESS * verdict.excess)


def error_rate(completed: float, failed: float) -> float | None:
    """Return the share of requests that failed; None if there were none."""
    return failed / (completed + failed) if completed + failed > 0 else None


def _met(bound: Bound, value: float) -> bool:
    return value >= bound.value if bound.at_least else value <= bound.value


def _reached(bound: Bound, interval: Interval) -> bool:
    """Whether the bound lies within the interval."""
    return interval.low < bound.value < interval.high


def _excess(bound: Bound, value: float) -> float:
    """By which share of what is allowed a bound is missed."""
    if bound.metric in {ATTAINMENT, ERROR_RATE}:
        return abs(value - bound.value)
    return value / bound.value - 1


def _ratio(bound: Bound, value: float) -> float:
    """The share of what is allowed that was measured; of an attainment, of the misses that it allows."""
    if bound.metric == ATTAINMENT:
        return (1 - value) / max(1 - bound.value, LEAST_MISSES)
    if bound.metric == ERROR_RATE:
        return value / max(bound.value, LEAST_MISSES)
    return value / bound.value
