"""Which of a file's conversations are set aside for a measurement, and for what in it.

Each part is used again from its own first on when it is through, so that nothing runs into what is measured
next: a prefix cache would answer that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

SPARE = 3  # conversations for each unit of load that may follow the least warm-up, and of filler
SPARE_S = 20.0  # at a rate: so many seconds of each
LEAST_SPARE = 16
WIDTH = 4.0  # standard deviations of Poisson arrivals above the mean
REQUEST_S = 1.0  # assumed where nothing is known: how long a request takes at least


class Sized(Protocol):
    """The fields that parts are sized from: of `records.Traffic`, or of a `WorkloadConfig`."""

    @property
    def requests_per_load(self) -> int:
        """Measured for each unit of load."""

    @property
    def min_requests(self) -> int:
        """Measured at least."""

    @property
    def seconds_per_load(self) -> float | None:
        """Measure what is sent within so many seconds."""

    @property
    def warmup_requests(self) -> int:
        """The least warm-up for each unit of load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """How many conversations each part of a measurement has: they follow one another in this order."""

    least: int
    measured: int
    further: int
    filler: int

    @property
    def size(self) -> int:
        """All of them."""
        return self.least + self.measured + self.further + self.filler

    def place(self, phase: str, number: int) -> int:
        """Return the place in the slot of a phase's conversation of this number."""
        if phase == "measure":
            return self.least + number % self.measured
        if phase == "warmup" and number < self.least:
            return number
        behind = self.least + self.measured
        if phase == "warmup":
            return behind + (number - self.least) % self.further
        return behind + self.further + number % self.filler


def slot_of(load: float, sized: Sized, *, rate: bool) -> Slot:
    """Return what is set aside for one measurement at a load: requests/s with `rate`, else in flight."""
    spare = math.ceil(load * (SPARE_S if rate else SPARE)) + LEAST_SPARE
    return Slot(
        least=max(1, math.ceil(sized.warmup_requests * load)),
        measured=max(1, _measured(load, sized, rate=rate)),
        further=spare,
        filler=spare,
    )


def _measured(load: float, sized: Sized, *, rate: bool) -> int:
    by_count = max(sized.min_requests, math.ceil(sized.requests_per_load * load))
    if sized.seconds_per_load is None:
        return by_count
    if rate:
        mean = load * sized.seconds_per_load
        return math.ceil(mean + WIDTH * math.sqrt(mean)) + LEAST_SPARE
    return max(by_count, math.ceil(load * sized.seconds_per_load / REQUEST_S))
