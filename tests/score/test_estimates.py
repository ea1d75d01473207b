"""Values and intervals on numbers that can be worked out, and how often they hold the truth."""

from __future__ import annotations

import math
import random
from array import array
from statistics import fmean, variance

import pytest

from autotune.records import Interval
from autotune.rounds import LEAST
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


def test_repeats_that_differ_by_no_more_than_batches_are_put_together_with_them() -> None:
    """Variances of the mean 4/9 by nine batches (6 degrees) and 1/300 by three repeats (2): 8 degrees in all."""
    parts = [(10.0, 1.0), (12.0, 1.0), (14.0, 1.0)]
    rows = [{"requests_per_s": value} for value in (11.9, 12.0, 12.1)]
    found = estimates(rows, rate(parts, parts, parts))["requests_per_s"]
    assert found.interval is not None
    assert found.interval.freedom == 8
    together = (6 * 4 / 9 + 2 * 0.01 / 3) / 8
    assert found.interval.half_width == pytest.approx(student_t(0.975, 8) * math.sqrt(together))


def test_a_percentile_of_five_repeats_is_between_them() -> None:
    """Of four alike it is what their requests say, which knows nothing of repeats: no degrees of freedom."""
    chance = random.Random(3)  # noqa: S311  (draws, not secrets)
    drawn = [[[chance.gauss(100, 10) for _ in range(20)] for _ in range(3)] for _ in range(5)]
    rows = [{"ttft_ms_p50": 100.0 + n / 100} for n in range(5)]
    freedoms = []
    for count in (4, 5):
        interval = estimates(rows[:count], ttft(*drawn[:count]))["ttft_ms_p50"].interval
        assert interval is not None
        freedoms.append(interval.freedom)
    assert freedoms == [None, 4]


def test_what_all_repeats_have_alike_beside_their_requests_widens_a_throughput() -> None:
    """Five of about 12, whose requests say 11: 1² less their variance apart; of four it is not looked at."""
    values = [11.8, 11.9, 12.0, 12.1, 12.2]
    rows = [{"requests_per_s": value} for value in values]
    found = estimates(rows, rate(*[[(11.0, 1.0)] * 3] * 5))["requests_per_s"]
    assert found.interval == between(12.0, values, bias_squared=1 - variance(values) / 5)
    few = estimates(rows[:4], rate(*[[(11.0, 1.0)] * 3] * 4))["requests_per_s"]
    assert few.interval == between(few.value, values[:4])


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
@pytest.mark.parametrize("repeats", [3, 6])
def test_intervals_hold_the_truth_whether_repeats_differ_or_not(repeats: int, apart: float) -> None:
    """Repeats of four batches, whose means have deviation 1, and `apart` between them: 90 to 99 of 100."""
    chance = random.Random(11)  # noqa: S311  (draws, not secrets)
    held, times = 0, 1000
    for _ in range(times):
        interval = _drawn(chance, repeats, apart)
        held += interval.low <= 100 <= interval.high
    assert 0.9 <= held / times <= 0.99


def test_intervals_hold_the_truth_after_stopping_when_they_are_narrow() -> None:
    """From six repeats on, until ± 0.7 or twenty: some ten on average, and 90 to 99 of 100 hold it."""
    held, counts = 0, []
    for number in range(500):
        for repeats in range(LEAST, 21):
            interval = _drawn(random.Random(number), repeats, 0.5)  # noqa: S311  (draws, not secrets)
            if interval.half_width <= 0.7:
                break
        held += interval.low <= 100 <= interval.high
        counts.append(repeats)
    assert 7 < fmean(counts) < 15
    assert 0.9 <= held / 500 <= 0.99


def _drawn(chance: random.Random, repeats: int, apart: float) -> Interval:
    """The interval of repeats of four batches around 100; more of them begin with the same ones."""
    parts = []
    for _ in range(repeats):
        own = chance.gauss(0, apart)
        parts.append([(100 + own + chance.gauss(0, 2), 1.0) for _ in range(4)])
    rows = [{"requests_per_s": fmean(amount for amount, _ in batches)} for batches in parts]
    interval = estimates(rows, rate(*parts))["requests_per_s"].interval
    assert interval is not None
    return interval


def test_within_is_the_variance_of_independent_values() -> None:
    """Batches of equal size: the ratio estimator is the variance of their means."""
    batches = [[3.0, 5.0], [4.0, 8.0], [1.0, 1.0]]
    interval = estimates([{"ttft_ms_mean": 1.0}], ttft(batches))["ttft_ms_mean"].interval
    assert interval is not None
    expected = student_t(0.975, 2) * math.sqrt(variance([4.0, 6.0, 1.0]) / 3)
    assert interval.half_width == pytest.approx(expected)
