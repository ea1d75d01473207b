"""Arrivals of an open loop: mean and spread as asked, and a ramp that loses none."""

from __future__ import annotations

import statistics
from dataclasses import replace
from itertools import islice, pairwise

import pytest

from autotune.benchmark.arrivals import GAPS, arrivals, ramped
from autotune.records import Load, Mode
from autotune.schema import Arrival
from tests.benchmark.test_traffic import TRAFFIC

FORTY = Load(mode=Mode.RATE, value=40)


@pytest.mark.parametrize(
    ("arrival", "burstiness", "variation"),
    [("constant", 1.0, 0.0), ("poisson", 1.0, 1.0), ("gamma", 1.0, 1.0), ("gamma", 4.0, 0.5), ("gamma", 0.25, 2.0)],
)  # fmt: skip
def test_gaps_have_the_mean_and_the_variation_asked_for(
    arrival: str, burstiness: float, variation: float
) -> None:
    """Of 20,000: the variation of a gamma distribution is one over the root of its shape."""
    traffic = replace(TRAFFIC, arrival=arrival, burstiness=burstiness)
    times_s = list(islice(arrivals(traffic, FORTY, repeat=1, phase="measure"), 20_001))
    gaps_s = [after - before for before, after in pairwise(times_s)]
    assert times_s[0] == 0
    assert statistics.fmean(gaps_s) == pytest.approx(1 / 40, rel=0.05)
    assert statistics.pstdev(gaps_s) * 40 == pytest.approx(variation, rel=0.05, abs=1e-9)


def test_every_arrival_that_can_be_configured_is_known() -> None:
    """The names of the schema are those of the registry, and a trace, whose times are not drawn."""
    assert {item.value for item in Arrival} == {*GAPS, "trace"}


def test_a_ramp_grows_linearly() -> None:
    """Of a constant 40/s ramped over 10 s, n come by t = √(20 n/40); 200 of them in the ramp, then 40/s."""
    times_s = [ramped(n / 40, 10.0) for n in range(600)]
    assert times_s == sorted(times_s)
    assert sum(t < 5 for t in times_s) == pytest.approx(50, abs=1)
    assert sum(t < 10 for t in times_s) == pytest.approx(200, abs=1)
    assert times_s[599] - times_s[399] == pytest.approx(5.0)
