"""The interval of a share of requests."""

from __future__ import annotations

import random

import pytest

from autotune.score.shares import share_interval


@pytest.mark.parametrize(
    ("good", "count", "low", "high"),
    [
        pytest.param(60, 60, 0.940, 1.0, id="all of 60"),
        pytest.param(0, 60, 0.0, 0.060, id="none of 60"),
        pytest.param(90, 100, 0.826, 0.945, id="90 of 100"),
    ],
)
def test_wilsons_interval_by_its_tables(good: float, count: float, low: float, high: float) -> None:
    """Three digits, for requests that do not depend on each other; a share of 1 is never sure."""
    found = share_interval([[(good, count)]])
    assert found is not None
    assert (round(found.low, 3), round(found.high, 3)) == (low, high)


def test_nothing_measured_has_no_interval() -> None:
    """There is no share of no requests."""
    assert share_interval([]) is None
    assert share_interval([[(0, 0)]]) is None


def test_requests_that_are_good_together_say_less() -> None:
    """Ten batches that are good or bad as a whole are worth ten requests, not two hundred."""
    apart = share_interval([[(10, 20)] * 10])
    together = share_interval([[(20, 20), (0, 20)] * 5])
    ten = share_interval([[(5, 10)]])
    assert apart is not None
    assert together is not None
    assert ten is not None
    assert together.half_width > 3.9 * apart.half_width
    assert together.half_width == pytest.approx(ten.half_width, rel=0.1)


def test_independent_requests_are_held_in_95_of_100_runs() -> None:
    """2,000 drawn runs of 120 requests in six batches, 92 % of them good."""
    draw = random.Random(3)  # noqa: S311  (no secret)
    held = 0
    for _ in range(2000):
        batches = [(sum(draw.random() < 0.92 for _ in range(20)), 20) for _ in range(6)]
        found = share_interval([batches])
        assert found is not None
        held += found.low <= 0.92 <= found.high
    assert 0.93 < held / 2000 < 0.99
