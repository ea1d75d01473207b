"""Quantiles and probabilities against printed tables and against counting."""

from __future__ import annotations

import math
import random

import pytest

from autotune.score.distributions import beta_share, rank_bounds, student_t, two_sided


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (30, 2.042), (120, 1.980)],
)
def test_the_quantiles_of_the_printed_tables(freedom: int, quantile: float) -> None:
    """For 95 % two-sided, as in every table of Student's t."""
    assert student_t(0.975, freedom) == pytest.approx(quantile, abs=0.0006)


@pytest.mark.parametrize("freedom", [1, 2, 7])
def test_the_middle_is_zero(freedom: int) -> None:
    """Half of the distribution lies on each side."""
    assert student_t(0.5, freedom) == pytest.approx(0.0, abs=1e-12)


def test_fractions_of_a_degree_lie_between_their_neighbours() -> None:
    """Welch's degrees of freedom are no whole numbers."""
    assert student_t(0.975, 3) > student_t(0.975, 3.5) > student_t(0.975, 4)


def test_without_end_it_is_the_normal_distribution() -> None:
    """1.96, and the limit of many degrees."""
    assert student_t(0.975, None) == pytest.approx(1.959964, abs=1e-6)
    assert student_t(0.975, 1e6) == pytest.approx(student_t(0.975, None), abs=1e-4)
    assert two_sided(1.959964, None) == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize("freedom", [1, 2.5, 4, 37, None])
@pytest.mark.parametrize("probability", [0.6, 0.95, 0.9995])
def test_the_quantile_and_the_probability_are_inverse(freedom: float | None, probability: float) -> None:
    """Beyond the quantile for p lies 2 (1 - p) of both sides."""
    assert two_sided(student_t(probability, freedom), freedom) == pytest.approx(2 * (1 - probability))


@pytest.mark.parametrize(
    ("count", "least", "share"), [(10, 3, 0.5), (7, 7, 0.9), (40, 38, 0.9), (512, 510, 0.99)]
)
def test_the_beta_function_sums_the_binomial_distribution(count: int, least: int, share: float) -> None:
    """I_p(k, n - k + 1) is the probability of k or more of n."""
    exact = math.fsum(
        math.comb(count, hits) * share**hits * (1 - share) ** (count - hits)
        for hits in range(least, count + 1)
    )
    assert beta_share(share, least, count - least + 1) == pytest.approx(exact)


@pytest.mark.parametrize(("x", "expected"), [(0.0, 0.0), (1.0, 1.0), (-0.1, 0.0), (1.1, 1.0)])
def test_the_ends_of_the_beta_function(x: float, expected: float) -> None:
    """Nothing lies below 0, everything below 1."""
    assert beta_share(x, 2, 3) == expected


@pytest.mark.parametrize(("share", "count"), [(0.5, 5), (0.9, 35), (0.95, 71), (0.99, 367), (0.01, 300)])
def test_too_few_values_say_nothing_of_a_quantile(share: float, count: int) -> None:
    """All of them on one side of it are more probable than 2.5 %: one more is enough."""
    assert rank_bounds(share, count, 0.95) is None
    if share > 0.5:
        assert rank_bounds(share, count + 1, 0.95) is not None


def test_whole_ranks_agree_with_the_printed_table() -> None:
    """Ten values: the median lies between the 2nd and the 9th with 97.9 %, so the bounds are a little inside."""
    found = rank_bounds(0.5, 10, 0.95)
    assert found is not None
    low, high = found
    assert 2 < low < 3
    assert 8 < high < 9
    assert low + high == pytest.approx(11)


@pytest.mark.parametrize(("share", "count"), [(0.5, 16), (0.9, 64), (0.99, 512)])
def test_ranks_hold_the_quantile_as_often_as_they_say(share: float, count: int) -> None:
    """Uniform draws, whose quantiles are known; 3.5 standard deviations of 2,000 draws are allowed."""
    chance = random.Random(3)  # noqa: S311  (draws, not secrets)
    found = rank_bounds(share, count, 0.95)
    assert found is not None
    held, times = 0, 2000
    for _ in range(times):
        drawn = sorted(chance.random() for _ in range(count))
        low, high = (_at(drawn, rank) for rank in found)
        held += low <= share <= high
    assert abs(held / times - 0.95) < 3.5 * math.sqrt(0.95 * 0.05 / times)


def _at(drawn: list[float], rank: float) -> float:
    """Between the two nearest ranks."""
    below = min(math.floor(rank), len(drawn) - 1)
    return drawn[below - 1] + (rank - below) * (drawn[below] - drawn[below - 1])
