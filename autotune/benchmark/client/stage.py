"""What both loops stand on: the load of one process, where it is, and what is to be decided."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from time import perf_counter

from autotune.benchmark.client.connection import Exchange
from autotune.benchmark.client.meter import Meter
from autotune.benchmark.client.pool import Pool
from autotune.benchmark.client.requests import Due, Requests, Share
from autotune.benchmark.client.steady import Steadiness
from autotune.benchmark.client.tally import Sent, Tally
from autotune.benchmark.traffic import measured_count, warmup_count
from autotune.records import Load, Mode, Traffic

TICK_S = 0.001  # uvloop's timers have whole milliseconds, rounded: they can fire early
FAILED_LEAST = 3  # warm-up requests: one or two failures do not make a broken engine
OTHERS_S = 1.0  # so long a warm-up that has failed goes on, for the other processes to say the same
LOOK_S = 0.02  # how often a wait looks whether it is still wanted


class Decisions:
    """What a process asks of whoever leads it; alone it leads itself. Each is called once, if at all."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    leads = True  # this run's warm-up decides when the measurement begins

    async def start(self) -> float:
        """Return when to send the first request; called once all connections are open."""
        return perf_counter()

    def warm(self, begin_s: float) -> None:
        """The warm-up is over: measured is what is due from `begin_s` on."""
        self._stage.begin(begin_s)

    def done(self) -> None:
        """This run's part of the measured requests has ended."""
        self._stage.end(aborted=False)

    def failed(self) -> None:
        """So many requests of the warm-up have failed that nothing more is expected of the engine."""
        self._stage.end(aborted=True)


class Stage:
    """One process's share of one repeat at one load; its first requests are built with it."""

    def __init__(
        self,
        model: str,
        traffic: Traffic,
        load: Load,
        *,
        repeat: int,
        timeout_s: float,
        share: Share | None = None,
    ) -> None:
        self.decisions = Decisions(self)
        self.begin_s = math.inf  # of the measurement
        self.traffic, self.load, self.timeout_s = traffic, load, timeout_s
        self.share = share or Share()
        self.closed = load.mode is Mode.CONCURRENCY
        self.units = self.share.part(int(load.value)) if self.closed else load.value / self.share.of
        self.requests = Requests(model, traffic, load, repeat=repeat, share=self.share)
        self.requests.build(max(1, math.ceil(self.units)))
        timed = traffic.seconds_per_load is not None
        least = warmup_count(traffic, load, repeat=repeat)
        totals = {"warmup": least, "measure": measured_count(traffic, load)}
        self.tally = Tally(totals | ({"measure": None} if timed else {}))
        self._steadiness = Steadiness(self.units)
        self.meter = Meter()
        self.pool: Pool
        self._measured_all = False  # every measured request has been sent
        self._told: set[str] = set()
        self._failed_s = math.inf  # when the warm-up had failed
        self.steady: bool | None = None
        self.began_s = self.paused_s = 0.0
        self.over = asyncio.Event()
        self.aborted = False

    def begin(self, begin_s: float) -> None:
        """Measure from now on; in an open loop, what is due from then on."""
        self.begin_s = begin_s
        self.meter.begin()

    def end(self, *, aborted: bool) -> None:
        """Stop sending; what is in flight is cut off."""
        self.aborted = aborted
        self.over.set()

    def taken(self, phase: str) -> Due:
        """Return the next conversation of a phase that has no end."""
        due = self.requests.take(phase)
        if due is None:
            raise RuntimeError(f"there are no more {phase} requests")
        return due

    def may_begin(self, now_s: float) -> bool:
        """Whether the warm-up may end: the least of it is sent, the ramp over, the latency steady enough.

        Where only failures have come, it goes on until something is answered or enough has failed.
        """
        if not self.decisions.leads or self.begin_s != math.inf or not self.requests.warm():
            return False
        if self.tally.unanswered() and now_s < self._failed_s + OTHERS_S:
            return False
        taken_s = now_s - self.began_s
        if taken_s < self.traffic.ramp_s:
            return False
        if self.traffic.warmup_max_s > 0:
            self.steady = self._steadiness.steady
            return self.steady or taken_s >= self.traffic.warmup_max_s
        return True

    def phase_of(self, phase: str) -> str:
        """Return the phase of a request that is sent now: out of measured time it is filler."""
        seconds = self.traffic.seconds_per_load
        if phase == "measure" and seconds is not None and perf_counter() >= self.begin_s + seconds:
            return "fill"
        return phase

    def all_sent(self) -> None:
        """Every measured request of this process has been sent; those of conversations in progress follow."""
        self._measured_all = True
        self._check_done()

    def carry(self, sent: Sent, body: bytes, then: Callable[[Exchange, bool], None]) -> None:
        """Send a request, count it when it has ended, and go on with whether it was answered."""
        place = self.tally.note(sent)

        def ended(exchange: Exchange) -> None:
            if self.over.is_set():
                return
            good = self.tally.ended(place)
            if sent.phase == "warmup":
                self._steadiness.add(place, exchange.ended_s - exchange.sent_s if good else None)
                self._check_failed(place)
            then(exchange, good)  # first: another one of the conversation may be sent
            self._check_done()

        self.pool.carry(body, sent.exchange, ended)

    def _check_failed(self, place: int) -> None:
        least = max(FAILED_LEAST, self.requests.least_taken, self.units)
        if self.requests.warm() and self.tally.all_failed(least, place):
            self._failed_s = min(self._failed_s, perf_counter())
            self._decide("failed", self.decisions.failed)

    def _check_done(self) -> None:
        if self._measured_all and not self.tally.unended("measure"):
            self._decide("done", self.decisions.done)

    def _decide(self, what: str, tell: Callable[[], None]) -> None:
        if what not in self._told:
            self._told.add(what)
            tell()


async def until(at_s: float, *, unless: Callable[[], bool] | None = None) -> None:
    """Wait for a `perf_counter` time, never ending before it; the loop gets its turn also when late."""
    await asyncio.sleep(0)
    while (left_s := at_s - perf_counter()) > 0:
        if unless is not None:
            if unless():
                return
            left_s = min(left_s, LOOK_S)
        await asyncio.sleep(max(left_s, TICK_S))
