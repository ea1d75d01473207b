"""Ties and differences: against Welch's test worked out by hand, and how often luck is taken for a lead."""

from __future__ import annotations

import math
import random
from statistics import fmean

import pytest

from autotune.records import Interval
from autotune.score.comparison import Score, chance, ties
from autotune.score.distributions import two_sided
from autotune.score.intervals import between


def of(*repeats: float) -> Score:
    """A score by its repeats alone."""
    return Score(value=fmean(repeats), interval=between(fmean(repeats), repeats))


def test_welch_by_hand() -> None:
    """1, 2, 3 and 6, 9: variances 1/3 and 9/4 of the means; t = 5.5 / √(31/12)."""
    first, second = of(1.0, 2.0, 3.0), of(6.0, 9.0)
    total = 1 / 3 + 9 / 4
    freedom = total**2 / ((1 / 3) ** 2 / 2 + (9 / 4) ** 2 / 1)
    assert chance(first, second) == pytest.approx(two_sided(5.5 / math.sqrt(total), freedom))
    assert chance(second, first) == pytest.approx(chance(first, second))


def test_intervals_that_overlap_can_be_a_clear_difference() -> None:
    """Each reaches beyond the middle between the two; the difference is sure all the same."""
    first = Score(value=0.0, interval=Interval(low=-1.0, high=1.0))
    second = Score(value=1.6, interval=Interval(low=0.6, high=2.6))
    found = chance(first, second)
    assert found is not None
    assert found < 0.05
    assert ties(second, {"first": first}) == set()


def test_the_half_that_points_to_the_other_score_counts() -> None:
    """A percentile that may be much higher, but hardly lower, is clearly above."""
    low = Score(value=10.0, interval=Interval(low=9.0, high=11.0))
    skewed = Score(value=13.0, interval=Interval(low=12.5, high=30.0))
    assert ties(skewed, {"low": low}) == set()
    assert ties(low, {"skewed": skewed}) == set()
    other = Score(value=13.0, interval=Interval(low=0.0, high=13.5))
    assert ties(other, {"low": low}) == {"low"}


def test_of_unknown_noise_nothing_is_said() -> None:
    """It is neither a tie nor a difference."""
    once = Score(value=5.0, interval=None)
    assert chance(once, of(1.0, 2.0)) is None
    assert ties(once, {"a": of(5.0, 5.1), "b": once}) == set()
    assert ties(of(5.0, 5.2), {"once": once, "far": of(1.0, 1.01), "near": of(5.1, 5.2)}) == {"near"}


def test_without_any_noise_only_equals_are_a_tie() -> None:
    """Zero width on both sides."""
    assert ties(of(5.0, 5.0), {"same": of(5.0, 5.0), "other": of(4.9, 4.9)}) == {"same"}


def test_a_tie_takes_all_with_it_that_are_nearer() -> None:
    """Of three, the far one is clearly behind and the two others are ties."""
    best = of(100.0, 101.0, 102.0)
    others = {"near": of(99.5, 100.5, 101.5), "nearer": of(100.0, 100.9, 101.8), "far": of(50.0, 51.0, 52.0)}
    assert ties(best, others) == {"near", "nearer"}


@pytest.mark.parametrize("candidates", [2, 6])
def test_equal_candidates_are_rarely_called_different(candidates: int) -> None:
    """Four repeats each of the same truth: a winner without any tie in at most 5 of 100, and some luck."""
    draw = random.Random(5)  # noqa: S311  (draws, not secrets)
    clear, times = 0, 600
    for _ in range(times):
        scores = [of(*(draw.gauss(100, 1) for _ in range(4))) for _ in range(candidates)]
        scores.sort(key=lambda score: -score.value)
        clear += not ties(scores[0], dict(enumerate(scores[1:])))
    assert clear / times <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / times)
