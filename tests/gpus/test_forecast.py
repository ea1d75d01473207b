"""The order of a known grid, played ahead."""

from __future__ import annotations

import pytest

from autotune.gpus.forecast import Board, Expected, ordered
from autotune.records import Gpu

SURE = 0.1


def gpus(island: int) -> list[Gpu]:
    """Eight GPUs in islands of so many."""
    return [Gpu(uuid=f"g{n}", index=n, model="m", node="n", island=f"i{n // island}") for n in range(8)]


@pytest.mark.parametrize(
    ("island", "order", "expected_s"),
    [
        pytest.param(8, [(8, 2.0), (8, 3.0)], 5.0, id="one after the other"),
        pytest.param(8, [(4, 2.0), (4, 3.0)], 3.0, id="side by side"),
        pytest.param(8, [(2, 1.0), (4, 5.0), (4, 5.0), (2, 1.0)], 6.0, id="the fourth is backfill"),
        pytest.param(4, [(1, 1.0), (4, 5.0), (4, 5.0)], 6.0, id="an island is waited for"),
        pytest.param(8, [(6, 1.0), (2, 4.0), (2, 1.0)], 4.0, id="what fits starts"),
        pytest.param(4, [(6, 1.0), (2, 4.0)], 4.0, id="wider than an island"),
    ],
)
def test_makespan(island: int, order: list[tuple[int, float]], expected_s: float) -> None:
    """List scheduling in this order, by hand."""
    board = Board(gpus(island))
    ahead = [(number, width, seconds) for number, (width, seconds) in enumerate(order)]
    assert board.makespan_s(ahead, []) == pytest.approx(expected_s)


def test_what_runs_is_in_the_way() -> None:
    """A trial on two GPUs of one island delays what needs them."""
    every = gpus(4)
    board = Board(every)
    busy = [board.occupied(every[:2], 3.0), board.occupied(every[4:], 9.0)]
    assert board.makespan_s([(0, 4, 1.0)], busy) == pytest.approx(9.0)
    assert board.makespan_s([(0, 4, 7.0)], busy) == pytest.approx(10.0)


def test_the_longest_first_ends_soonest() -> None:
    """One long trial among short ones starts at once, whatever its width."""
    queue = [(n, 1, Expected(mean_s=1.0, spread=SURE)) for n in range(16)]
    queue.append((16, 1, Expected(mean_s=6.0, spread=SURE)))
    assert ordered(queue, gpus(8), [])[0] == 16


def test_expectations_that_say_little_are_not_ordered_by() -> None:
    """With a wide spread the narrow ones come first, those expected to be long before others."""
    queue = [(0, 4, Expected(mean_s=9.0, spread=0.6)), (1, 1, Expected(mean_s=1.0, spread=0.6)), (2, 1, Expected(mean_s=2.0, spread=0.6))]  # fmt: skip
    assert ordered(queue, gpus(8), []) == [2, 1, 0]


def test_half_of_the_expectations_is_enough() -> None:
    """The others count as an average trial."""
    queue = [
        (0, 1, None),
        (1, 1, Expected(mean_s=9.0, spread=SURE)),
        (2, 1, Expected(mean_s=1.0, spread=SURE)),
    ]
    queue += [(n, 1, Expected(mean_s=1.0, spread=SURE)) for n in range(3, 30)]
    order = ordered(queue, gpus(8), [])
    assert order[:2] == [1, 0]
    assert sorted(order) == list(range(30))
