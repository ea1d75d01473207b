"""From `slo` to bounds and limits, and what is wrong with some."""

from __future__ import annotations

import pytest

from autotune.plan.slo import bounds_of, problems, request_limits
from autotune.records import RequestLimits
from autotune.schema import Config, SloConfig


def test_bounds_are_those_that_are_given_and_one_on_failures() -> None:
    """1 % of the requests may fail where nothing else is said."""
    found = bounds_of(SloConfig(ttft_ms_p95=500.0, itl_ms_mean=30.0, attainment=0.9))
    assert {bound.key: bound.value for bound in found} == {
        "slo.ttft_ms_p95": 500,
        "slo.itl_ms_mean": 30,
        "slo.attainment": 0.9,
        "slo.error_rate": 0.01,
    }
    assert [bound.metric for bound in found if bound.at_least] == ["slo_attainment"]
    assert bounds_of(SloConfig()) == ()
    assert [bound.value for bound in bounds_of(SloConfig(error_rate=0.2))] == [0.2]


@pytest.mark.parametrize(
    ("slo", "limits"),
    [
        pytest.param(SloConfig(), RequestLimits(), id="none"),
        pytest.param(SloConfig(ttft_ms_p95=500.0), RequestLimits(ttft_ms=500), id="of a percentile"),
        pytest.param(
            SloConfig(ttft_ms_p50=200.0, ttft_ms_p99=900.0), RequestLimits(ttft_ms=900), id="the loosest"
        ),
        pytest.param(SloConfig(ttft_ms_p99=900.0, ttft_ms=300.0), RequestLimits(ttft_ms=300), id="its own"),
        pytest.param(SloConfig(tpot_ms_mean=20.0), RequestLimits(), id="a mean says nothing of one"),
        pytest.param(SloConfig(itl_ms_p99=20.0), RequestLimits(), id="gaps are of all together"),
    ],
)
def test_what_a_good_request_may_take(slo: SloConfig, limits: RequestLimits) -> None:
    """What is configured, else the loosest bound on a percentile."""
    assert request_limits(slo) == limits


@pytest.mark.parametrize(
    ("slo", "told"),
    [
        pytest.param(SloConfig(ttft_ms_p95=0.0), "slo.ttft_ms_p95=0: must be above 0 ms", id="zero"),
        pytest.param(
            SloConfig(error_rate=1.5), "slo.error_rate=1.5: must be a share from 0 to 1", id="share"
        ),
        pytest.param(
            SloConfig(attainment=95.0, ttft_ms=1.0), "slo.attainment=95: must be a share", id="percent"
        ),
        pytest.param(
            SloConfig(tpot_ms_p50=50.0, tpot_ms_p99=40.0),
            "slo.tpot_ms_p99=40: is below slo.tpot_ms_p50=50, which is then void",
            id="exchanged",
        ),
        pytest.param(
            SloConfig(e2e_ms=900.0), "slo.e2e_ms: is of a single request: give slo.attainment", id="of"
        ),
        pytest.param(SloConfig(attainment=0.9), "slo.attainment=0.9: of what?", id="attainment of nothing"),
        pytest.param(
            SloConfig(attainment=0.9, tpot_ms_mean=3.0),
            "slo.attainment=0.9: of what?",
            id="a mean is no limit",
        ),
    ],
)
def test_what_is_wrong_is_told(slo: SloConfig, told: str) -> None:
    """With what to give instead."""
    assert [text for text in problems(Config(slo=slo)) if told in text]


@pytest.mark.parametrize(
    "slo",
    [
        pytest.param(SloConfig(), id="none"),
        pytest.param(SloConfig(ttft_ms=300.0, attainment=0.95), id="of single requests"),
        pytest.param(SloConfig(tpot_ms_p50=40.0, tpot_ms_p99=50.0, error_rate=0.0), id="of percentiles"),
    ],
)
def test_what_is_right_is_not(slo: SloConfig) -> None:
    """No problem is seen where there is none."""
    assert problems(Config(slo=slo)) == []
