"""In which order a known grid is expected to end soonest: list scheduling, played ahead. Pure."""

from __future__ import annotations

import heapq
import random
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from autotune.gpus.placement import island_level
from autotune.records import Gpu

MANY = 24
"""With more trials waiting the order by rule is as good: only the end of a grid is hard to pack."""

SURE = 0.3
"""Up to this spread an expectation is worth ordering by."""

FUTURES = 8
"""Draws of the true durations, over which each order is judged."""

Ahead = tuple[int, int, float]  # trial, GPUs, seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """How long a trial takes: the mean in seconds, and the standard deviation of its logarithm."""

    mean_s: float
    spread: float


def ordered(
    queue: Sequence[tuple[int, int, Expected | None]],
    gpus: Sequence[Gpu],
    running: Sequence[tuple[tuple[Gpu, ...], float, Expected | None]],
) -> list[int]:
    """Return the trials of `queue` (trial, GPUs, expectation) in the order to start them.

    Those that need more than half of `gpus` come first. Without sound expectations the narrow ones follow
    before the wide: a narrow trial that turns out long then ends before the last wide ones do.
    With them, the largest GPU-seconds follow first; the last `MANY` as playing ahead finds best.
    Trials that are alike stay as they stand in `queue`. `running` holds GPUs, seconds since the start,
    expectation.
    """
    half = len(gpus) / 2
    sure = [item for item in queue if item[2] is not None and item[2].spread <= SURE]
    if len(sure) * 2 < len(queue):
        return [trial for trial, _, _ in sorted(queue, key=lambda item: _narrow_first(item, half))]
    mean_s = sum(e.mean_s for _, _, e in sure if e is not None) / len(sure)
    ahead = [(trial, width, e.mean_s if e is not None else mean_s) for trial, width, e in queue]
    if len(queue) > MANY:
        return [trial for trial, _, _ in _by_rule(ahead, half, 1.0)]
    return [trial for trial, _, _ in _played(ahead, gpus, running, queue)]


def _narrow_first(item: tuple[int, int, Expected | None], half: float) -> tuple[bool, int, float]:
    _, width, expected = item
    return width <= half, width, -(expected.mean_s if expected is not None else 0.0)


def _by_rule(ahead: Sequence[Ahead], half: float, power: float) -> list[Ahead]:
    """Wide ones first, then by seconds × GPUs^power; 1: GPU-seconds."""
    return sorted(ahead, key=lambda item: (item[1] <= half, -item[2] * item[1] ** power))


def _played(
    ahead: Sequence[Ahead],
    gpus: Sequence[Gpu],
    running: Sequence[tuple[tuple[Gpu, ...], float, Expected | None]],
    queue: Sequence[tuple[int, int, Expected | None]],
) -> list[Ahead]:
    """Play the orders ahead, each with the same draws of the durations; return the one that ends first."""
    chance = random.Random(len(queue))  # noqa: S311  (draws, not secrets; the same for the same queue)
    spreads = {trial: expected.spread if expected is not None else SURE for trial, _, expected in queue}
    board = Board(gpus)
    futures = [
        (
            {trial: chance.lognormvariate(0.0, spread) for trial, spread in spreads.items()},
            [board.occupied(held, _left_s(since_s, expected, chance)) for held, since_s, expected in running],
        )
        for _ in range(FUTURES)
    ]
    best, best_s = list(ahead), float("inf")
    for order in _orders(ahead, len(gpus) / 2):
        total_s = 0.0
        for factors, busy in futures:
            total_s += board.makespan_s([(t, w, s * factors[t]) for t, w, s in order], busy)
            if total_s >= best_s:
                break
        else:
            best, best_s = order, total_s
    return best


def _orders(ahead: Sequence[Ahead], half: float) -> Iterator[list[Ahead]]:
    """The orders by rule; more of them, drawn at random, were worse: the luckiest then wins."""
    for power in (1.0, 0.5, 1.5, 2.5, 0.0):
        yield _by_rule(ahead, half, power)
    yield sorted(ahead, key=lambda item: (item[1] <= half, item[1], -item[2]))


def _left_s(since_s: float, expected: Expected | None, chance: random.Random) -> float:
    """A draw of the seconds that a running trial has left."""
    if expected is None:
        return max(since_s, 1.0)
    drawn_s = expected.mean_s * chance.lognormvariate(0.0, expected.spread)
    return max(drawn_s - since_s, 0.05 * expected.mean_s)


class Board:
    """The islands as numbers of free GPUs: enough to play ahead, and fast."""

    def __init__(self, gpus: Sequence[Gpu]) -> None:
        level = island_level(gpus)
        names: dict[Hashable, int] = {}
        self._of = {
            gpu.uuid: names.setdefault((level and level(gpu)) or gpu.node, len(names)) for gpu in gpus
        }
        self._sizes = [0] * len(names)
        for island in self._of.values():
            self._sizes[island] += 1

    def occupied(self, gpus: Sequence[Gpu], seconds: float) -> tuple[float, dict[int, int]]:
        """Return what a running trial takes of each island, and for how long."""
        taken: dict[int, int] = {}
        for gpu in gpus:
            taken[self._of[gpu.uuid]] = taken.get(self._of[gpu.uuid], 0) + 1
        return seconds, taken

    def makespan_s(self, order: Sequence[Ahead], busy: Sequence[tuple[float, dict[int, int]]]) -> float:
        """Return when the last trial ends if each starts as soon as it fits, in this order, with backfill."""
        free = list(self._sizes)
        ends: list[tuple[float, int, dict[int, int]]] = []
        for number, (seconds, taken) in enumerate(busy):
            _take(free, taken)
            ends.append((seconds, number, taken))
        heapq.heapify(ends)
        queues: dict[int, list[tuple[int, float]]] = {}
        for position, (_, width, seconds) in reversed(list(enumerate(order))):
            queues.setdefault(width, []).append((position, seconds))
        now_s, number = 0.0, len(ends)
        while True:
            while (start := self._next(free, queues)) is not None:
                width, taken = start
                _take(free, taken)
                number += 1
                heapq.heappush(ends, (now_s + queues[width].pop()[1], number, taken))
            if not ends:
                return now_s
            now_s, _, taken = heapq.heappop(ends)
            for island, count in taken.items():
                free[island] += count

    def _next(
        self, free: Sequence[int], queues: dict[int, list[tuple[int, float]]]
    ) -> tuple[int, dict[int, int]] | None:
        """The width of the first trial in the order that fits, and what it takes."""
        for _, width in sorted((queue[-1][0], width) for width, queue in queues.items() if queue):
            taken = self._fit(free, width)
            if taken is not None:
                return width, taken
        return None

    def _fit(self, free: Sequence[int], width: int) -> dict[int, int] | None:
        """The fullest island that holds `width`; several only for what no island could hold."""
        holding = [island for island, count in enumerate(free) if count >= width]
        if holding:
            return {min(holding, key=lambda island: free[island]): width}
        if width <= max(self._sizes, default=0) or width > sum(free):
            return None
        taken, missing = {}, width
        for island in sorted(range(len(free)), key=lambda island: -free[island]):
            taken[island] = min(free[island], missing)
            missing -= taken[island]
        return {island: count for island, count in taken.items() if count}


def _take(free: list[int], taken: dict[int, int]) -> None:
    for island, count in taken.items():
        free[island] -= count
