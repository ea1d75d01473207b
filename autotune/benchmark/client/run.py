"""Offers the load: warm-up, measured requests and filler, one after the other without a gap.

Filler requests keep the load up until the last measured request has ended, so that no measured request
ever runs beside a load that drains; they are not measured themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from autotune.benchmark.body import PATHS
from autotune.benchmark.client.connection import Exchange
from autotune.benchmark.client.meter import Meter, Used
from autotune.benchmark.client.pool import Pool
from autotune.benchmark.client.requests import Due, Ready, Requests, Share
from autotune.benchmark.client.steady import Steadiness
from autotune.benchmark.client.tally import State, Sent, Tally
from autotune.benchmark.traffic import measured_count, warmup_count
from autotune.records import Load, Mode, Traffic

PAUSE_S = 0.1  # after a failed request of a phase whose requests have no end
TICK_S = 0.001  # uvloop's timers have whole milliseconds, rounded: they can fire early
LOOK_S = 0.02  # how often a wait looks whether it is still wanted
LAG_EVERY_S = 0.01
OPEN_CONNECTIONS = 16  # opened ahead in an open loop

Report = Callable[[State], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything that one process sent, and its window in `perf_counter` seconds.

    `span_s` is what the schedule had between the first and the last measured arrival. `steady` is None where
    nothing was to be waited for. `paused_s` are worker seconds without a request, on purpose.
    """

    sent: tuple[Sent, ...]
    begin_s: float
    end_s: float
    used: Used
    aborted: bool
    steady: bool | None
    warmup_s: float
    span_s: float
    paused_s: float


class Decisions:
    """What a run asks of whoever leads it; alone, it is its own leader. Each is called once, if at all."""

    def __init__(self, run: LoadRun) -> None:
        self._run = run

    leads = True  # this run's warm-up decides when the measurement begins

    async def start(self) -> float:
        """Return when to send the first request; called once all connections are open."""
        return perf_counter()

    def warm(self, begin_s: float) -> None:
        """The warm-up is over: measured is what is due from `begin_s` on."""
        self._run.begin(begin_s)

    def done(self) -> None:
        """This run's part of the measured requests has ended."""
        self._run.end(aborted=False)

    def failed(self) -> None:
        """All of the least warm-up has failed."""
        self._run.end(aborted=True)


@dataclass(slots=True)
class _Worker:
    """One of the closed loop: what is left of its conversation, and when its last request ended."""

    turns: list[Ready]
    phase: str = "warmup"
    free_s: float | None = None


class LoadRun:
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
        self._traffic, self._load, self._timeout_s = traffic, load, timeout_s
        self._share = share or Share()
        self._closed = load.mode is Mode.CONCURRENCY
        self._units = self._share.part(int(load.value)) if self._closed else load.value / self._share.of
        self._requests = Requests(model, traffic, load, repeat=repeat, share=self._share)
        self._requests.build(max(1, math.ceil(self._units)))
        timed = traffic.seconds_per_load is not None
        totals = {"warmup": warmup_count(traffic, load), "measure": measured_count(traffic, load)}
        self._tally = Tally(totals | ({"measure": None} if timed else {}))
        self._steadiness = Steadiness(self._units)
        self._meter = Meter()
        self._pool: Pool
        self._measured_all = False  # every measured request has been sent
        self._told: set[str] = set()
        self._steady: bool | None = None
        self._began_s = self._paused_s = 0.0
        self._over = asyncio.Event()
        self._aborted = False

    async def run(self, url: str, report: Report) -> Run:
        """Offer the load until every measured request has ended; `report` is told once a second."""
        self._pool = Pool(url, PATHS[self._traffic.endpoint], timeout_s=self._timeout_s)
        await self._pool.warm(int(self._units) if self._closed else OPEN_CONNECTIONS)
        self._began_s = await self.decisions.start()
        await _until(self._began_s)
        offer = self._closed_loop() if self._closed else self._open_loop()
        tasks = [asyncio.ensure_future(part) for part in (offer, self._requests.build_ahead(), self._watch())]
        try:
            while not self._over.is_set():
                report(self.state())
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._over.wait(), 1.0)
                for task in tasks:
                    if task.done():
                        task.result()  # a defect of ours must be heard
            end_s, used = perf_counter(), self._meter.end()
        finally:
            for task in tasks:
                task.cancel()
        report(self.state())
        self._pool.close()
        return self._summed_up(end_s, used)

    def first_sent_s(self) -> float:
        """Return when the first measured request was sent; 0 if none was."""
        return min((each.exchange.sent_s for each in self._tally.measured()), default=0.0)

    def state(self) -> State:
        """Return how far this is."""
        phase = "warmup" if self.begin_s == math.inf else "measure"
        return self._tally.state(phase, self._pool.open)

    def begin(self, begin_s: float) -> None:
        """Measure from now on; in an open loop, what is due from then on."""
        self.begin_s = begin_s
        self._meter.begin()

    def end(self, *, aborted: bool) -> None:
        """Stop sending; what is in flight is cut off."""
        self._aborted = aborted
        self._over.set()

    def _summed_up(self, end_s: float, used: Used) -> Run:
        sent = tuple(
            each for each in self._tally.sent if each.exchange.sent_s
        )  # without those still connecting
        begin_s = self.first_sent_s() or end_s
        return Run(
            sent=sent,
            begin_s=begin_s,
            end_s=max((each.exchange.ended_s for each in self._tally.measured()), default=end_s),
            used=used,
            aborted=self._aborted,
            steady=self._steady,
            warmup_s=begin_s - self._began_s,
            span_s=self._requests.span_s,
            paused_s=self._paused_s,
        )

    async def _closed_loop(self) -> None:
        """As many workers as requests in flight; each sends the next as soon as its last has ended."""
        for number in range(int(self._units)):
            place = number * self._share.of + self._share.rank
            await _until(self._began_s + self._traffic.ramp_s * place / self._load.value)
            self._advance(_Worker(turns=[]))

    def _advance(self, worker: _Worker) -> None:
        """Send a worker's next request."""
        if self._over.is_set():
            return
        if not worker.turns:
            worker.phase, worker.turns = self._next()
        plan, body = worker.turns.pop()
        sent = Sent(phase=worker.phase, index=plan.index, due_s=worker.free_s)
        self._carry(sent, body, lambda exchange, good: self._next_of(worker, exchange, good=good))

    def _next_of(self, worker: _Worker, exchange: Exchange, *, good: bool) -> None:
        """Go on with a worker; an engine that refuses at once is not flooded with what nobody counts."""
        worker.free_s = exchange.ended_s
        if good or not self._endless(worker.phase):
            self._advance(worker)
            return
        worker.free_s = None
        if self.begin_s != math.inf:
            self._paused_s += PAUSE_S
        asyncio.get_running_loop().call_later(PAUSE_S, self._advance, worker)

    def _endless(self, phase: str) -> bool:
        """Whether there is no end to the requests of a phase."""
        if phase == "measure":
            return self._traffic.seconds_per_load is not None
        return phase == "fill" or self._requests.warm()

    def _next(self) -> tuple[str, list[Ready]]:
        """Return the next conversation of the closed loop and its phase, the turns in reverse."""
        now_s = perf_counter()
        if self._may_begin(now_s):
            self.decisions.warm(now_s)
        if self.begin_s == math.inf:
            return "warmup", self._taken("warmup").in_reverse()
        seconds = self._traffic.seconds_per_load
        if seconds is None or now_s < self.begin_s + seconds:
            due = self._requests.take("measure")
            if due is not None:
                return "measure", due.in_reverse()
        self._all_sent()
        return "fill", self._taken("fill").in_reverse()

    async def _open_loop(self) -> None:
        """Begin conversations at the scheduled times, whatever is in flight."""
        await self._warm_up()
        seconds = self._traffic.seconds_per_load
        while (due := self._requests.take("measure")) is not None:
            if seconds is not None and due.at_s >= seconds:
                break
            await self._begin_conversation("measure", due, self.begin_s + due.at_s)
        self._all_sent()
        last_s = self._requests.span_s + 1 / self._load.value if seconds is None else seconds
        while True:
            due = self._taken("fill")
            await self._begin_conversation("fill", due, self.begin_s + last_s + due.at_s)

    async def _warm_up(self) -> None:
        """Send warm-up requests until the measurement is to begin."""
        due_s = self._began_s
        while True:
            if self._may_begin(perf_counter()):
                self.decisions.warm(max(perf_counter(), due_s + 1 / self._load.value))
                return
            due = self._taken("warmup")
            due_s = self._began_s + due.at_s
            await _until(due_s, unless=lambda: self.begin_s != math.inf)
            if due_s >= self.begin_s:
                return
            self._turn("warmup", due.in_reverse(), due_s)

    async def _begin_conversation(self, phase: str, due: Due, due_s: float) -> None:
        await _until(due_s)
        self._turn(phase, due.in_reverse(), due_s)

    def _turn(self, phase: str, turns: list[Ready], due_s: float, *, scheduled: bool = True) -> None:
        """Send a conversation's next request; the one after it is due when this has ended."""
        plan, body = turns.pop()
        sent = Sent(phase=phase, index=plan.index, due_s=due_s, scheduled=scheduled)

        def then(exchange: Exchange, good: bool) -> None:  # noqa: FBT001
            if turns and not self._over.is_set():
                self._turn(phase, turns, exchange.ended_s, scheduled=False)

        self._carry(sent, body, then)

    def _taken(self, phase: str) -> Due:
        due = self._requests.take(phase)
        if due is None:
            raise RuntimeError(f"there are no more {phase} requests")
        return due

    def _may_begin(self, now_s: float) -> bool:
        """Whether the warm-up may end: the least of it is sent, the ramp over, the latency steady enough."""
        if not self.decisions.leads or self.begin_s != math.inf or not self._requests.warm():
            return False
        taken_s = now_s - self._began_s
        if taken_s < self._traffic.ramp_s:
            return False
        if self._traffic.warmup_max_s > 0:
            self._steady = self._steadiness.steady
            return self._steady or taken_s >= self._traffic.warmup_max_s
        return True

    def _all_sent(self) -> None:
        self._measured_all = True
        self._check_done()

    def _carry(self, sent: Sent, body: bytes, then: Callable[[Exchange, bool], None]) -> None:
        """Send a request, count it when it has ended, and go on with whether it was answered."""
        place = self._tally.note(sent)

        def ended(exchange: Exchange) -> None:
            if self._over.is_set():
                return
            good = self._tally.ended(sent)
            if sent.phase == "warmup":
                self._steadiness.add(place, exchange.ended_s - exchange.sent_s if good else None)
                if self._requests.warm() and self._tally.all_failed(self._requests.least_taken):
                    self._decide("failed", self.decisions.failed)
            self._check_done()
            then(exchange, good)

        self._pool.carry(body, sent.exchange, ended)

    def _check_done(self) -> None:
        if self._measured_all and not self._tally.unended("measure"):
            self._decide("done", self.decisions.done)

    def _decide(self, what: str, tell: Callable[[], None]) -> None:
        if what not in self._told:
            self._told.add(what)
            tell()

    async def _watch(self) -> None:
        """See how late timers run, and what takes too long."""
        while True:
            due_s = perf_counter() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self._meter.late(perf_counter() - due_s)
            self._pool.expire()


async def _until(at_s: float, *, unless: Callable[[], bool] | None = None) -> None:
    """Wait for a `perf_counter` time, never ending before it; the loop gets its turn also when late."""
    await asyncio.sleep(0)
    while (left_s := at_s - perf_counter()) > 0:
        if unless is not None:
            if unless():
                return
            left_s = min(left_s, LOOK_S)
        await asyncio.sleep(max(left_s, TICK_S))
