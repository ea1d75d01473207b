"""The same answers as one sorted list gives."""

from __future__ import annotations

import random
from array import array
from itertools import chain, islice

import pytest

from autotune.benchmark.metrics import percentile
from autotune.score.pooled import Pooled


def drawn(seed: int, *, ties: bool) -> list[array[float]]:
    """Up to six batches of up to three hundred values, some empty."""
    chance = random.Random(seed)  # noqa: S311  (draws, not secrets)
    sizes = [chance.choice([0, 1, 3, 50, 300]) for _ in range(chance.randint(1, 5))] + [1]
    values = [chance.lognormvariate(0, 2) for _ in range(sum(sizes))]
    left = iter(float(min(3, int(value))) if ties else value for value in values)
    return [array("d", sorted(islice(left, size))) for size in sizes]


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "many alike"])
@pytest.mark.parametrize("seed", range(30))
def test_percentiles_sums_and_counts(seed: int, *, ties: bool) -> None:
    """For every percentile, also of values that are nearly all alike."""
    batches = drawn(seed, ties=ties)
    ordered, pooled = sorted(chain.from_iterable(batches)), Pooled(batches)
    assert pooled.count == len(ordered)
    assert pooled.total == pytest.approx(sum(ordered))
    assert pooled.greatest == ordered[-1]
    for percent in (0, 1, 25, 50, 90, 95, 99, 99.9, 100):
        assert pooled.percentile(percent) == pytest.approx(percentile(ordered, percent), rel=1e-12)
        limit = percentile(ordered, percent)
        assert pooled.above(limit) == sum(value > limit for value in ordered)


@pytest.mark.parametrize(("rank", "expected"), [(1, 1.0), (2.5, 2.5), (4, 4.0), (0.2, 1.0), (9, 4.0)])
def test_ranks_begin_at_one_and_end_at_the_count(rank: float, expected: float) -> None:
    """What lies beyond is the least or the greatest."""
    assert Pooled([array("d", [1.0, 4.0]), array("d", [2.0, 3.0])]).at_rank(rank) == expected


def test_nothing_at_all() -> None:
    """No batch has a value."""
    assert not Pooled([])
    assert not Pooled([array("d")])
