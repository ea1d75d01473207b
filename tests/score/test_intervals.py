"""Which of two intervals is stated, and what widens one."""

from __future__ import annotations

import math
from statistics import variance

import pytest

from autotune.records import Interval
from autotune.score.distributions import student_t
from autotune.score.intervals import around, between, bias_squared, chosen, of_rates, ratio_variance


def of(variance_of_mean: float, freedom: float) -> Interval:
    """An interval around 10."""
    return around(10.0, variance_of_mean, freedom)


@pytest.mark.parametrize(
    ("repeats", "outer", "expected"),
    [
        (2, 0.51, "outer"),
        (2, 0.49, "together"),
        (3, 1.51, "outer"),
        (3, 1.49, "together"),
        (4, 1.34, "outer"),
        (4, 1.32, "together"),
        (5, 1.01, "outer"),
        (5, 0.99, "together"),
    ],
)
def test_what_is_between_repeats_is_stated_where_it_is_more(
    repeats: int, outer: float, expected: str
) -> None:
    """Beside a variance of 1 within: more than half for two, R / (R - 1) for three and four, 1 from five on."""
    between_them, within = of(outer, repeats - 1), of(1.0, 12)
    freedom = repeats - 1 + 12
    together = of(((repeats - 1) * outer + 12) / freedom, freedom)
    found = chosen(between_them, within, 10.0, repeats)
    wanted = between_them if expected == "outer" else together
    assert found is not None
    assert found.low == pytest.approx(wanted.low)
    assert found.high == pytest.approx(wanted.high)
    assert found.freedom == wanted.freedom


def test_one_view_alone_is_stated_as_it_is() -> None:
    """And none where there is neither."""
    one = of(1.0, 3)
    assert chosen(one, None, 10.0, 6) is one
    assert chosen(None, one, 10.0, 1) is one
    assert chosen(None, None, 10.0, 1) is None


def test_a_bias_adds_to_the_variance() -> None:
    """Variance 1 of 9, 10, 11 is 1/3 of their mean; with a bias of 2: 4 1/3."""
    found = between(10.0, [9.0, 10.0, 11.0], bias_squared=4.0)
    assert found is not None
    assert found.half_width == pytest.approx(student_t(0.975, 2) * math.sqrt(13 / 3))


def test_the_bias_is_what_all_repeats_have_alike() -> None:
    """Requests say 10 of each repeat: 12, 13 and 14 are 3 above, with variance 1/3 of that mean."""
    rates = [[(20.0, 2.0)]] * 3
    assert bias_squared([12.0, 13.0, 14.0], rates) == pytest.approx(9 - 1 / 3)
    assert bias_squared([8.0, 10.0, 12.1], rates) == 0.0


def test_requests_that_took_no_time_tell_of_no_bias() -> None:
    """Nothing is divided by zero."""
    assert bias_squared([12.0, 13.0], [[(20.0, 0.0)], [(20.0, 2.0)]]) == 0.0


def test_a_throughput_that_made_nothing_is_not_known() -> None:
    """Zero of zero: no share to scale by; nor with fewer than three batches."""
    assert of_rates(0.0, [[(0.0, 1.0)] * 3]) is None
    assert ratio_variance([[(1.0, 1.0)] * 2]) is None


def test_batches_of_unlike_sizes_are_compared_by_their_sums() -> None:
    """Each makes twice what it counts: no variance, though sums differ; else that of means over their number."""
    assert ratio_variance([[(2.0, 1.0), (6.0, 3.0), (10.0, 5.0)]]) == (0.0, 2)
    found = ratio_variance([[(3.0, 1.0), (5.0, 1.0), (10.0, 1.0)]])
    assert found is not None
    assert found[0] == pytest.approx(variance([3.0, 5.0, 10.0]) / 3)
