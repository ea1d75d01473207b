"""Whether one score is better than another, or the two are a tie.

The difference of two scores a and b, each with its interval, has a standard error √(e_a² + e_b²), where e is
the half of the interval that points to the other score, over the quantile of t that the interval was made
with. Its degrees of freedom are Welch's, and Student's t says how probable so great a difference is by
chance. For intervals between repeats this is Welch's test; for those of percentiles, whose two halves differ,
it is the method of variance estimates recovery.

With many candidates one is ahead of some other by luck alone. So the probabilities of all comparisons with
the best are put in order, and each must be below 5 % over the number of comparisons that it does not exceed
(Holm): then the chance that any tie is called a difference stays below 5 %, and a clear field stays clear.

Sources: Welch, Biometrika 34 (1947); Zou and Donner, Statistics in Medicine 27 (2008); Holm, Scandinavian
Journal of Statistics 6 (1979).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from autotune.records import Interval
from autotune.score.distributions import student_t, two_sided
from autotune.score.intervals import CONFIDENCE

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A score with what is known of its noise; None: nothing."""

    value: float
    interval: Interval | None


def chance(first: Score, second: Score) -> float | None:
    """Return how probable a difference as great is by chance alone; None where either's noise is unknown."""
    if first.interval is None or second.interval is None:
        return None
    low, high = sorted((first, second), key=lambda score: score.value)
    parts = [_error(low, upper=True), _error(high, upper=False)]
    total = sum(error**2 for error, _ in parts)
    distance = high.value - low.value
    if total == 0:
        return float(distance == 0)
    sizes = [error**4 / freedom for error, freedom in parts if freedom is not None]
    freedom = total**2 / sum(sizes) if any(sizes) else None
    return two_sided(distance / math.sqrt(total), freedom)


def ties(best: Score, others: Mapping[Key, Score]) -> set[Key]:
    """Return which of the others may be as good as the best; of those with unknown noise nothing is said."""
    chances = {key: chance(best, score) for key, score in others.items()}
    known = sorted(
        (value, number, key) for number, (key, value) in enumerate(chances.items()) if value is not None
    )
    for place, (probability, _, _) in enumerate(known):
        if probability > (1 - CONFIDENCE) / (len(known) - place):
            return {key for _, _, key in known[place:]}
    return set()


def _error(score: Score, *, upper: bool) -> tuple[float, float | None]:
    """The standard error towards the other score, and its degrees of freedom."""
    interval = score.interval
    if interval is None:
        raise ValueError("a score without an interval has no known error")
    half = interval.high - score.value if upper else score.value - interval.low
    return max(0.0, half) / student_t((1 + CONFIDENCE) / 2, interval.freedom), interval.freedom
