"""Mixes of trials, and a clock that plays them under a policy in simulated time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from autotune.gpus.forecast import Expected
from autotune.gpus.packing import Assignment, Running, Situation, Waiting
from autotune.gpus.placement import straddles
from autotune.records import Gpu

Choose = Callable[[Situation], list[Assignment]]

NODES = {
    "one": tuple(Gpu(uuid=f"g{n}", index=n, model="m", node="n", island="0") for n in range(8)),
    "two": tuple(Gpu(uuid=f"g{n}", index=n, model="m", node="n", island=str(n // 4)) for n in range(8)),
}
"""By how many NVLink islands there are."""

Mix = list[tuple[int, float]]  # GPUs, duration in means


def mix(count: int, widths: Sequence[int], sigma: float, seed: int) -> Mix:
    """Return the trials of one seed."""
    chance = random.Random(seed)  # noqa: S311  (draws, not secrets)
    return [(chance.choice(widths), chance.lognormvariate(-sigma * sigma / 2, sigma)) for _ in range(count)]


def bound(trials: Mix) -> float:
    """Return what no schedule can beat."""
    area = sum(width * seconds for width, seconds in trials)
    alone = sum(seconds for width, seconds in trials if width > 4)
    return max(area / 8, alone, *(seconds for _, seconds in trials))


@dataclass
class Played:
    """What one schedule came to."""

    makespan: float = 0.0
    busy: float = 0.0  # part of the GPUs, until the last trial starts
    wait: float = 0.0  # the longest of a trial wider than half the node
    crossing: int = 0  # four-wide trials over two islands
    four_wide: int = 0


@dataclass
class Clock:
    """Plays one mix under one policy."""

    gpus: tuple[Gpu, ...]
    trials: Mix
    choose: Choose
    look_ahead: int | None = None  # None: all wait from the start
    expected: Sequence[Expected | None] = ()
    queue: list[Waiting] = field(default_factory=list)
    running: dict[int, Running] = field(default_factory=dict)
    ended: list[float] = field(default_factory=list)

    def play(self) -> Played:
        """Return the schedule's figures."""
        free, ends = list(self.gpus), list[tuple[float, int]]()
        out, now, area, coming = Played(), 0.0, 0.0, iter(enumerate(self.trials))
        upcoming = next(coming, None)
        while True:
            while True:
                while upcoming is not None and (self.look_ahead is None or len(self.queue) < self.look_ahead):
                    self._wait(upcoming, now)
                    upcoming = next(coming, None)
                started = self.choose(self._situation(free, now))
                for trial, gpus in started:
                    self._start(trial, gpus, now, out)
                    free = [gpu for gpu in free if gpu not in gpus]
                    heapq.heappush(ends, (now + self.trials[trial][1], trial))
                if started:
                    out.busy = area / (len(self.gpus) * now) if now else 1.0
                else:
                    break
            if not ends:
                out.makespan = now
                return out
            then, trial = heapq.heappop(ends)
            area += (len(self.gpus) - len(free)) * (then - now)
            now = then
            free = sorted([*free, *self.running.pop(trial).gpus], key=lambda gpu: gpu.index)
            self.ended.append(self.trials[trial][1])

    def _wait(self, item: tuple[int, tuple[int, float]], now: float) -> None:
        number, (width, _) = item
        expected = self.expected[number] if self.expected else None
        self.queue.append(Waiting(trial=number, gpus=width, since_s=now, expected=expected))

    def _situation(self, free: list[Gpu], now: float) -> Situation:
        mean = sum(self.ended) / len(self.ended) if self.ended else None
        return Situation(
            queue=list(self.queue), free=free, running=list(self.running.values()), now_s=now, mean_s=mean
        )

    def _start(self, trial: int, gpus: tuple[Gpu, ...], now: float, out: Played) -> None:
        item = next(item for item in self.queue if item.trial == trial)
        self.queue.remove(item)
        self.running[trial] = Running(gpus=gpus, since_s=now, expected=item.expected)
        if item.gpus > len(self.gpus) // 2:
            out.wait = max(out.wait, now - item.since_s)
        if item.gpus == len(self.gpus) // 2:
            out.four_wide += 1
            out.crossing += straddles(gpus, self.gpus)
