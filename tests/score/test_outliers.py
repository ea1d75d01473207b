"""What is told as an outlier, and how rarely by luck."""

from __future__ import annotations

import random
from array import array

import pytest

from autotune.records import Outliers
from autotune.score.batches import Batches
from autotune.score.outliers import of_repeats, of_requests


def test_a_repeat_by_hand() -> None:
    """10, 10.2, 9.8, 10: mean 10, deviation 0.1633; t(1 - 0.05/10, 3) = 5.8409, times √1.25: 1.0664."""
    [found] = of_repeats("m", [10.0, 10.2, 9.8, 10.0, 12.0])
    assert (found.kind, found.metric, found.count, found.total, found.worst) == ("repeats", "m", 1, 5, 12.0)
    assert found.limit == pytest.approx(11.0664, abs=1e-3)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 99.0], [10.0, 10.5, 11.0], [5.0, 5.0, 5.0]])
def test_what_is_no_outlier(values: list[float]) -> None:
    """Two cannot tell which is odd; equal ones are none."""
    assert of_repeats("m", values) == ()


def test_one_of_three_must_be_very_far_off() -> None:
    """Two others say little of how far is far."""
    assert of_repeats("m", [10.0, 10.1, 12.0]) == ()
    assert len(of_repeats("m", [10.0, 10.1, 20.0])) == 1


@pytest.mark.parametrize("repeats", [3, 5, 10])
def test_alike_repeats_are_rarely_called_outliers(repeats: int) -> None:
    """In about 5 of 100 loads."""
    chance = random.Random(2)  # noqa: S311  (draws, not secrets)
    found = sum(bool(of_repeats("m", [chance.gauss(100, 1) for _ in range(repeats)])) for _ in range(1000))
    assert 25 <= found <= 75


def test_requests_beyond_the_outer_fence() -> None:
    """Quartiles 100 and 110 of nearly all: the fence is 140; those of all repeats together."""
    usual = array("d", [100.0] * 30 + [105.0] * 30 + [110.0] * 30)
    slow = array("d", [*usual, 139.0, 150.0, 900.0])
    repeats = [
        Batches(latencies={"ttft_ms": (usual,), "e2e_ms": (usual,)}, rates={}),
        None,
        Batches(latencies={"ttft_ms": (slow,), "e2e_ms": ()}, rates={}),
    ]
    assert of_requests(repeats) == (
        Outliers(kind="requests", metric="ttft_ms", count=2, total=183, limit=140.0, worst=900.0),
    )


def test_nothing_to_look_at() -> None:
    """A table has no requests."""
    assert of_requests([None, None]) == ()
