"""Which load is measured next, for engines whose capacity is known."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from autotune.load_search import CLOSE, LoadSearch, Point

Curve = Callable[[float], float]


def searched(ratio: Curve, *, whole: bool = True, max_points: int = 8, most: float = 1024) -> LoadSearch:
    """A search that has run to its end, on an engine without noise."""
    search = LoadSearch(least=1.0 if whole else 0.1, most=most, whole=whole, max_points=max_points)
    while (load := search.next()) is not None:
        search.tell(Point(load=load, ratio=ratio(load), met=ratio(load) <= 1))
    return search


def linear(capacity: float, start: float) -> Curve:
    """Latency that grows with the load, as time per token does."""
    return lambda load: start + (1 - start) * load / capacity


def queue(capacity: float, start: float) -> Curve:
    """Latency that grows without bound near a limit beyond the capacity, as waiting does."""
    limit = capacity / (1 - start)
    return lambda load: start / max(1e-3, 1 - load / limit)


def knee(capacity: float, start: float) -> Curve:
    """Latency that tells nothing before it is too long."""
    return lambda load: start if load <= capacity else 1 + load / capacity


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("curve", [linear, queue, knee])
def test_the_capacity_is_found_within_five_percent_in_eight_points(
    curve: Callable[[float, float], Curve], *, whole: bool
) -> None:
    """200 engines of each kind, capacities from 1 to 1,024 (0.1 to 1,000 at a rate)."""
    draw = random.Random(0)  # noqa: S311  (no secret)
    for _ in range(200):
        low, most = (1.0, 1024.0) if whole else (0.12, 1000.0)
        capacity = math.exp(draw.uniform(math.log(low), math.log(most)))
        search = searched(curve(capacity, draw.uniform(0.05, 0.9)), whole=whole, most=most)
        known = float(math.floor(capacity)) if whole else capacity
        assert search.met is not None
        assert known / CLOSE - 1e-9 <= search.met.load <= known
        assert len(search.points) <= 8
        assert len({point.load for point in search.points}) == len(search.points)


def test_a_smooth_engine_takes_fewer_points_than_halving() -> None:
    """Where latency grows along a line its crossing is measured from both sides, not every half."""
    smooth, rough = (
        [len(searched(curve(capacity, 0.3)).points) for capacity in range(20, 800, 5)]
        for curve in (linear, knee)
    )
    assert sum(smooth) < sum(rough)


def test_fewer_points_leave_a_wider_gap_and_say_so() -> None:
    """Three loads: what is reported was measured, and what limits it is named."""
    search = searched(knee(300, 0.5), max_points=3)
    assert search.met is not None
    assert search.lost is not None
    assert search.met.load <= 300 < search.lost.load
    assert search.said == (
        f"the highest load within the SLO is at least {search.met.load:g} and below {search.lost.load:g}: "
        "measure.max_points=3 ended the search"
    )


@pytest.mark.parametrize(
    ("ratio", "met", "said"),
    [
        pytest.param(
            linear(0.5, 0.1), None, "the lowest load, 1, is not within the SLO", id="nothing meets it"
        ),
        pytest.param(
            linear(1e6, 0.1), 1024, "1024 is the highest that may be measured", id="everything does"
        ),
        pytest.param(linear(1.5, 0.1), 1, "shown to be within the SLO is 1; 2 is not", id="only the lowest"),
        pytest.param(knee(1023, 0.1), 1023, "shown to be within the SLO", id="all but the highest"),
    ],
)
def test_the_ends_are_respected(ratio: Curve, met: float | None, said: str) -> None:
    """Nothing outside is measured, and both ends can be the answer."""
    search = searched(ratio)
    assert all(1 <= point.load <= 1024 for point in search.points)
    if met is None:
        assert search.met is None
    else:
        assert search.met is not None
        assert met / CLOSE <= search.met.load <= met
    assert said in search.said


def test_saturation_within_the_slo_ends_it() -> None:
    """More brings nothing, so nothing more is measured."""
    search = LoadSearch(least=1, most=1024, whole=True, max_points=8)
    search.tell(Point(load=8, ratio=0.1, met=True))
    search.tell(Point(load=64, ratio=0.2, met=True, saturated=True))
    assert search.next() is None
    assert search.said == "more than 64 brings no more throughput (2 loads measured)"


def test_a_saturated_load_below_one_that_is_lost_does_not_end_it() -> None:
    """The highest load within the SLO lies between them."""
    search = LoadSearch(least=1, most=1024, whole=True, max_points=8)
    search.tell(Point(load=256, ratio=2.0, met=False))
    search.tell(Point(load=64, ratio=0.2, met=True, saturated=True))
    following = search.next()
    assert following is not None
    assert 64 < following < 256


def test_one_end_that_is_given_is_one_point() -> None:
    """From 32 to 32 there is one load to measure."""
    search = LoadSearch(least=32, most=32, whole=True, max_points=8)
    assert search.next() == 32
    search.tell(Point(load=32, ratio=0.5, met=True))
    assert search.next() is None
