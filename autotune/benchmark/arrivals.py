"""When the conversations of an open loop begin, deterministic from the workload's seed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

from autotune.benchmark.traffic import draws
from autotune.records import Load, Traffic


def _constant(_: random.Random, __: Traffic) -> float:
    return 1.0


def _poisson(chance: random.Random, _: Traffic) -> float:
    return chance.expovariate(1.0)


def _gamma(chance: random.Random, traffic: Traffic) -> float:
    """Shape is the burstiness: 1 is Poisson, less comes in bursts, more is more even."""
    return chance.gammavariate(traffic.burstiness, 1 / traffic.burstiness)


GAPS: dict[str, Callable[[random.Random, Traffic], float]] = {
    "constant": _constant,
    "poisson": _poisson,
    "gamma": _gamma,
}
"""How the time to the next arrival is drawn; of mean 1, to be divided by the rate."""


def arrivals(traffic: Traffic, load: Load, *, repeat: int, phase: str) -> Iterator[float]:
    """Yield the times of a phase's conversations without end, in seconds from its first, which comes at 0.

    What is sent does not depend on when, so it is drawn apart.
    """
    if traffic.arrival == "trace":
        from autotune.benchmark.recorded import times

        yield from times(traffic, load, phase=phase)
        return
    chance = draws(traffic, load, repeat=repeat, phase=phase, of="arrivals")
    gap = GAPS[traffic.arrival]
    at_s = 0.0
    while True:
        yield at_s
        at_s += gap(chance, traffic) / load.value


def ramped(at_s: float, ramp_s: float) -> float:
    """Return when an arrival comes if the rate grows linearly from 0 to its value over the first `ramp_s`.

    As many come within t as came, at the full rate, within t² / (2 ramp_s): the time is stretched by that.
    """
    if at_s >= ramp_s / 2:
        return at_s + ramp_s / 2
    return math.sqrt(2 * ramp_s * at_s)
