"""Values and intervals on numbers that can be worked out, and how often they hold the truth."""

from __future__ import annotations

import math
import random
from array import array
from statistics import fmean, variance

import pytest

from autotune.records import Interval
from autotune.score.batches import Batches
from autotune.score.distributions import student_t
from autotune.score.estimates import Estimate, estimates, inverse, scaled
from autotune.score.intervals import between


def ttft(*repeats: list[list[float]]) -> list[Batches]:
    """Repeats with these values of TTFT in their batches."""
    return [
        Batches(latencies={"ttft_ms": tuple(array("d", sorted(batch)) for batch in batches)}, rates={})
        for batches in repeats
    ]


def rate(*repeats: list[tuple[float, float]]) -> list[Batches]:
    """Repeats with these amounts and times."""
    return [Batches(latencies={}, rates={"requests_per_s": tuple(parts)}) for parts in repeats]


def test_two_repeats_by_hand() -> None:
    """Mean 11, deviation √2; t = 12.7062 with one degree: ± 12.7062 · √2 / √2."""
    found = estimates([{"m": 10.0}, {"m": 12.0}], [None, None])["m"]
    assert found.value == 11.0
    assert found.deviation == pytest.approx(math.sqrt(2))
    assert found.interval is not None
    assert found.interval.half_width == pytest.approx(12.7062, abs=1e-4)
    assert found.interval.freedom == 1


@pytest.mark.parametrize("known", [[None], ttft([[1.0, 2.0, 3.0]])])
def test_one_repeat_of_a_few_requests_is_unknown(known: list[Batches | None]) -> None:
    """Nothing is made up: no deviation, no interval."""
    found = estimates([{"ttft_ms_mean": 2.0}], known)["ttft_ms_mean"]
    assert (found.value, found.deviation, found.interval) == (2.0, None, None)


def test_batches_of_one_repeat_by_hand() -> None:
    """Batch means 10, 12, 14 of two requests each: 12 ± 4.3027 · 2 / √3."""
    found = estimates([{"ttft_ms_mean": 12.0}], ttft([[9, 11], [12, 12], [13, 15]]))["ttft_ms_mean"]
    assert found.value == 12
    assert found.interval is not None
    assert found.interval.half_width == pytest.approx(4.3027 * 2 / math.sqrt(3), abs=1e-3)
    assert found.deviation is None


def test_batches_of_a_throughput_by_hand() -> None:
    """10, 12 and 14 in a second each, of a repeat whose metric is 24: the same share of it."""
    found = estimates([{"requests_per_s": 24.0}], rate([(10, 1), (12, 1), (14, 1)]))["requests_per_s"]
    assert found.interval is not None
    assert found.interval.half_width == pytest.approx(2 * 4.3027 * 2 / math.sqrt(3), abs=1e-3)


def test_repeats_that_differ_by_no_more_than_batches_use_those() -> None:
    """Six batches in all: 4 degrees, and a narrower interval than three repeats would have."""
    parts = [(10.0, 1.0), (12.0, 1.0), (14.0, 1.0)]
    rows = [{"requests_per_s": value} for value in (11.9, 12.0, 12.1)]
    found = estimates(rows, rate(parts, parts, parts))["requests_per_s"]
    assert found.interval is not None
    assert found.interval.freedom == 6
    assert found.interval.half_width == pytest.approx(student_t(0.975, 6) * 2 / 3)


def test_repeats_that_differ_more_stand_for_themselves() -> None:
    """What is within them does not explain it."""
    parts = [(11.9, 1.0), (12.0, 1.0), (12.1, 1.0)]
    rows = [{"requests_per_s": value} for value in (10.0, 12.0, 14.0)]
    found = estimates(rows, rate(parts, parts, parts))["requests_per_s"]
    assert found.interval == between(12.0, [10.0, 12.0, 14.0])


def test_percentiles_are_of_all_requests_together() -> None:
    """Two repeats, 1 to 60 and 61 to 120: the median is that of 1 to 120, between ranks that hold it."""
    low = [[float(n) for n in range(20 * part + 1, 20 * part + 21)] for part in range(3)]
    high = [[value + 60 for value in batch] for batch in low]
    found = estimates([{"ttft_ms_p50": 30.5}, {"ttft_ms_p50": 90.5}], ttft(low, high))["ttft_ms_p50"]
    assert found.value == 60.5
    assert found.interval is not None
    assert found.interval.low < 60.5 < found.interval.high


def test_a_percentile_beyond_what_was_seen_has_no_interval() -> None:
    """p99 of 60 requests of one repeat; the median has one."""
    chance = random.Random(1)  # noqa: S311  (draws, not secrets)
    batches = [[chance.gauss(100, 10) for _ in range(20)] for _ in range(3)]
    found = estimates([{"ttft_ms_p50": 1.0, "ttft_ms_p99": 1.0}], ttft(batches))
    assert found["ttft_ms_p99"].interval is None
    assert found["ttft_ms_p50"].interval is not None


def test_requests_that_are_slow_together_are_worth_less() -> None:
    """Batches that differ as a whole widen the interval of the median."""
    alike = [[float(n) for n in range(part, 100, 10)] for part in range(10)]
    together = [[float(10 * part + n) for n in range(10)] for part in range(10)]
    widths = []
    for batches in (alike, together):
        interval = estimates([{"ttft_ms_p50": 49.5}], ttft(batches))["ttft_ms_p50"].interval
        assert interval is not None
        widths.append(interval.half_width)
    assert widths[1] > 2 * widths[0]


def test_a_metric_that_one_repeat_lacks_is_taken_from_the_others() -> None:
    """Its batches are not: which repeat they belong to would be a guess."""
    found = estimates([{"ttft_ms_mean": 4.0}, {}, {"ttft_ms_mean": 6.0}], ttft([[4.0]], [], [[6.0]]))
    assert found["ttft_ms_mean"].value == 5.0
    assert found["ttft_ms_mean"].interval == between(5.0, [4.0, 6.0])


def test_scaling_and_turning_over() -> None:
    """Half for two GPUs; a price falls as the rate rises, and a rate that may be zero has no dearest."""
    rates = Estimate(value=10.0, deviation=2.0, interval=Interval(low=8.0, high=12.0, freedom=2))
    assert scaled(rates, 0.5) == Estimate(
        value=5.0, deviation=1.0, interval=Interval(low=4.0, high=6.0, freedom=2)
    )
    price = inverse(rates, 96.0, [10.0, 12.0])
    assert price is not None
    assert price.value == pytest.approx(9.6)
    assert price.interval == Interval(low=8.0, high=12.0, freedom=2)
    wide = Estimate(value=10.0, deviation=None, interval=Interval(low=-1.0, high=21.0))
    unknown = inverse(wide, 96.0, [10.0])
    assert unknown is not None
    assert (unknown.interval, unknown.deviation) == (None, None)
    assert inverse(Estimate(value=0.0, deviation=None, interval=None), 96.0, []) is None


@pytest.mark.parametrize("apart", [0.0, 1.0, 3.0], ids=["alike", "as far as batches say", "farther"])
def test_intervals_hold_the_truth_whether_repeats_differ_or_not(apart: float) -> None:
    """Three repeats of four batches, whose means have deviation 1, and `apart` between them: 90 to 99 of 100."""
    chance = random.Random(11)  # noqa: S311  (draws, not secrets)
    held, times = 0, 1000
    for _ in range(times):
        parts = [
            [(100 + own + chance.gauss(0, 2), 1.0) for _ in range(4)]
            for own in (chance.gauss(0, apart) for _ in range(3))
        ]
        rows = [{"requests_per_s": fmean(amount for amount, _ in batches)} for batches in parts]
        interval = estimates(rows, rate(*parts))["requests_per_s"].interval
        assert interval is not None
        held += interval.low <= 100 <= interval.high
    assert 0.9 <= held / times <= 0.99


def test_within_is_the_variance_of_independent_values() -> None:
    """Batches of equal size: the ratio estimator is the variance of their means."""
    batches = [[3.0, 5.0], [4.0, 8.0], [1.0, 1.0]]
    interval = estimates([{"ttft_ms_mean": 1.0}], ttft(batches))["ttft_ms_mean"].interval
    assert interval is not None
    expected = student_t(0.975, 2) * math.sqrt(variance([4.0, 6.0, 1.0]) / 3)
    assert interval.half_width == pytest.approx(expected)
