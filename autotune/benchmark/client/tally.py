"""What a process has sent and how it ended, counted as it happens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from autotune.benchmark.client.connection import OK, Exchange


@dataclass(slots=True, kw_only=True)
class Sent:
    """One request and what it brought; `due_s` is when it was to be sent.

    By the schedule of an open loop, if `scheduled`; else when the request before it had ended, and None for
    the first one of a worker and after a pause.
    """

    phase: str
    index: int
    due_s: float | None
    scheduled: bool = False
    exchange: Exchange = field(default_factory=Exchange)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How far a run is; the fields of a progress line. `received` are reads of answers."""

    phase: str
    completed: int
    failed: int
    total: int
    received: int
    in_flight: int


class Tally:
    """Counts by phase; `totals` says how many there will be, None where time bounds them."""

    def __init__(self, totals: Mapping[str, int | None]) -> None:
        self.sent: list[Sent] = []
        self._totals = totals
        self._begun = {"warmup": 0, "measure": 0, "fill": 0}
        self._ok = dict(self._begun)
        self._failed = dict(self._begun)
        self._warming: set[int] = set()  # the places of warm-up requests on their way
        self._received = 0  # by the exchanges that have ended

    def note(self, sent: Sent) -> int:
        """Count a request that is sent, and return its place in the order."""
        self.sent.append(sent)
        self._begun[sent.phase] += 1
        place = len(self.sent) - 1
        if sent.phase == "warmup":
            self._warming.add(place)
        return place

    def ended(self, place: int) -> bool:
        """Count the request at this place, which has ended; whether it was answered."""
        sent = self.sent[place]
        self._warming.discard(place)
        exchange = sent.exchange
        good = exchange.error is None and exchange.status == OK
        (self._ok if good else self._failed)[sent.phase] += 1
        self._received += len(exchange.raw)
        return good

    def measured(self) -> Iterable[Sent]:
        """Yield the measured requests that were sent."""
        return (each for each in self.sent if each.phase == "measure" and each.exchange.sent_s)

    def unended(self, phase: str) -> int:
        """Return how many requests of a phase are on their way."""
        return self._begun[phase] - self._ok[phase] - self._failed[phase]

    def unanswered(self) -> bool:
        """Whether warm-up requests have failed and nothing was answered yet."""
        return bool(self._failed["warmup"]) and not any(self._ok.values())

    def all_failed(self, least: float, place: int) -> bool:
        """Whether so many warm-up requests have failed, and nothing was or can still be answered.

        What can is a request of the warm-up that was sent before the last that failed, the one at `place`.
        """
        enough = self.unanswered() and self._failed["warmup"] >= least
        return enough and place < min(self._warming, default=math.inf)

    def state(self, phase: str, in_flight: Iterable[Exchange]) -> State:
        """Return how far this is; what is in flight is counted here, not as chunks come."""
        waiting = list(in_flight)
        total = self._totals[phase]
        return State(
            phase=phase,
            completed=self._ok[phase],
            failed=self._failed[phase],
            total=self._begun[phase] if total is None else max(total, self._ok[phase] + self._failed[phase]),
            received=self._received + sum(len(exchange.raw) for exchange in waiting),
            in_flight=len(waiting),
        )
