"""Intervals on numbers that are known, and how often they hold the truth."""

from __future__ import annotations

import math
import random

import pytest

from autotune.score.statistics import geometric_mean, paired_difference


def test_an_interval_worked_out_by_hand() -> None:
    """Logarithms 0.01, 0.02, 0.03: mean 0.02, deviation 0.01, h = 4.3027 × 0.01 / √3 = 0.024842."""
    found = paired_difference(
        [(factor, factor * math.exp(d)) for factor, d in ((1, 0.01), (50, 0.02), (7, 0.03))]
    )
    assert found is not None
    assert found.percent == pytest.approx(100 * math.expm1(0.02))
    assert found.low == pytest.approx(100 * math.expm1(0.02 - 0.024842), abs=1e-4)
    assert found.high == pytest.approx(100 * math.expm1(0.02 + 0.024842), abs=1e-4)
    assert (found.pairs, found.is_seen) == (3, False)


@pytest.mark.parametrize(
    ("pairs", "seen"),
    [
        pytest.param([(100, 97), (100, 96), (100, 97)], True, id="always lower"),
        pytest.param([(97, 100), (96, 100), (97, 100)], True, id="always higher"),
        pytest.param([(100, 97), (100, 103), (100, 99)], False, id="now lower, now higher"),
    ],
)
def test_whether_a_difference_is_seen(pairs: list[tuple[float, float]], *, seen: bool) -> None:
    """It is if the interval excludes none."""
    found = paired_difference(pairs)
    assert found is not None
    assert found.is_seen is seen


@pytest.mark.parametrize("pairs", [[], [(1.0, 2.0)], [(1.0, 2.0), (0.0, 1.0)], [(1.0, 2.0), (1.0, 0.0)]])
def test_nothing_is_said_of_too_little(pairs: list[tuple[float, float]]) -> None:
    """One pair has no spread, and zero no ratio."""
    assert paired_difference(pairs) is None


def test_95_of_100_intervals_hold_the_truth() -> None:
    """Five pairs with a factor in common and 2 % of noise each; 3 standard deviations of 400 draws are allowed."""
    chance = random.Random(7)  # noqa: S311  (draws, not secrets)
    truth, held = 0.97, 0
    for _ in range(400):
        common = [chance.uniform(50, 200) for _ in range(5)]
        pairs = [
            (c * chance.lognormvariate(0, 0.02), c * truth * chance.lognormvariate(0, 0.02)) for c in common
        ]
        found = paired_difference(pairs)
        assert found is not None
        held += found.low <= 100 * (truth - 1) <= found.high
    assert abs(held - 380) <= 3 * math.sqrt(400 * 0.95 * 0.05)


def test_geometric_means_have_the_ratio_of_the_difference() -> None:
    """What is shown beside the difference agrees with it."""
    pairs = [(90.0, 80.0), (110.0, 111.0), (70.0, 66.0)]
    found = paired_difference(pairs)
    assert found is not None
    ratio = geometric_mean([b for _, b in pairs]) / geometric_mean([a for a, _ in pairs])
    assert 100 * (ratio - 1) == pytest.approx(found.percent)
