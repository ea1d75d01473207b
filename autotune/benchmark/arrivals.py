"""When the conversations of an open loop begin, deterministic from the workload's seed."""

from __future__ import annotations

from collections.abc import Iterator

from autotune.benchmark.traffic import draws
from autotune.records import Load, Traffic


def arrivals(traffic: Traffic, load: Load, *, repeat: int, phase: str) -> Iterator[float]:
    """Yield the times of a phase's conversations without end, in seconds from its first, which comes at 0.

    They are a Poisson process; what is sent does not depend on when, so it is drawn apart.
    """
    chance = draws(traffic, load, repeat=repeat, phase=phase, of="arrivals")
    at_s = 0.0
    while True:
        yield at_s
        at_s += chance.expovariate(load.value)
