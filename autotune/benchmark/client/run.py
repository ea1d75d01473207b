"""Offers the load: warm-up, measured requests and filler, one after the other without a gap.

Filler requests keep the load up until the last measured request has ended, so that no measured request
ever runs beside a load that drains; they are not measured themselves.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter, process_time

from autotune.benchmark.arrivals import arrivals
from autotune.benchmark.body import PATHS, body_of
from autotune.benchmark.client.connection import Exchange, Pool
from autotune.benchmark.traffic import (
    RequestPlan,
    conversations,
    first,
    measured_count,
    warmup_count,
)
from autotune.records import Load, Mode, Traffic

PREBUILT = 4096  # conversations whose bodies are made before the first request is sent
PAUSE_S = 0.1  # after a filler request that failed
TICK_S = 0.001  # uvloop's timers have whole milliseconds, rounded: they can fire early


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One request and what it brought; `due_s` is its time by the open loop's schedule, else None."""

    phase: str
    index: int
    due_s: float | None
    exchange: Exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything that was sent, and the window of the measurement in `perf_counter` seconds."""

    sent: tuple[Sent, ...]
    begin_s: float
    end_s: float
    cpu_s: float
    aborted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How far a run is; the fields of a progress line. `received` are reads and heads of answers."""

    phase: str
    completed: int
    failed: int
    total: int
    received: int
    in_flight: int


Report = Callable[[State], None]
Ready = tuple[RequestPlan, bytes]
"""A request and its body."""


class LoadRun:
    """One repeat at one load; its requests are built with it."""

    def __init__(self, model: str, traffic: Traffic, load: Load, *, repeat: int, timeout_s: float) -> None:
        self._model, self._traffic, self._load = model, traffic, load
        self._timeout_s = timeout_s
        self._counts = {"warmup": warmup_count(traffic, load), "measure": measured_count(traffic, load)}
        self._pool: Pool
        self._queue = self._conversations(repeat)
        self._sent: list[Sent] = []
        self._open: dict[int, Exchange] = {}  # by their place in `_sent`
        self._received = 0  # by the exchanges that have ended
        self._ok = {"warmup": 0, "measure": 0, "fill": 0}
        self._failed = {"warmup": 0, "measure": 0, "fill": 0}
        self._begin: tuple[float, float] | None = None
        self._over = asyncio.Event()
        self._aborted = False

    async def run(self, url: str, report: Report) -> Run:
        """Offer the load until every measured request has ended; `report` is told once a second."""
        closed = self._load.mode is Mode.CONCURRENCY
        self._pool = Pool(url, PATHS[self._traffic.endpoint])
        await self._pool.warm(int(self._load.value) if closed else 16)
        offer = asyncio.ensure_future(self._closed_loop() if closed else self._open_loop())
        while not self._over.is_set():
            self._tell(report)
            await asyncio.wait({asyncio.ensure_future(self._over.wait()), offer}, timeout=1.0)
            if offer.done():
                offer.result()  # a defect of ours must be heard
        end_s, cpu_end_s = perf_counter(), process_time()
        begin_s, cpu_begin_s = self._begin or (end_s, cpu_end_s)
        self._tell(report)
        self._pool.close()
        offer.cancel()
        sent = tuple(each for each in self._sent if each.exchange.sent_s)  # without those still connecting
        return Run(
            sent=sent,
            begin_s=begin_s,
            end_s=max((each.exchange.ended_s for each in sent if each.phase == "measure"), default=end_s),
            cpu_s=cpu_end_s - cpu_begin_s,
            aborted=self._aborted,
        )

    async def _closed_loop(self) -> None:
        """As many workers as requests in flight; each sends the next as soon as its last has ended."""
        workers = [self._worker() for _ in range(int(self._load.value))]
        await asyncio.gather(*workers)

    async def _worker(self) -> None:
        """An engine that refuses at once is not flooded with filler while measured requests still wait."""
        for phase, _, conversation in self._queue:
            good = await self._converse(phase, conversation, None)
            if phase == "fill" and not good:
                await asyncio.sleep(PAUSE_S)

    async def _open_loop(self) -> None:
        """Begin conversations at the scheduled times, whatever is in flight."""
        began = perf_counter()
        flying: set[asyncio.Task[bool]] = set()
        offset = {"warmup": 0.0, "measure": 0.0, "fill": 0.0}
        last_due, phase_before = 0.0, "warmup"
        for phase, at_s, conversation in self._queue:
            if phase != phase_before:
                offset[phase] = last_due + 1 / self._load.value
                phase_before = phase
            last_due = offset[phase] + at_s
            await _until(began + last_due)
            task = asyncio.ensure_future(self._converse(phase, conversation, began + last_due))
            flying.add(task)
            task.add_done_callback(flying.discard)

    async def _converse(self, phase: str, conversation: Sequence[Ready], due_s: float | None) -> bool:
        """Send the requests of a conversation one after the other; whether all were answered."""
        good = True
        for plan, body in conversation:
            good = await self._one(phase, plan, body, due_s) and good
            due_s = None  # the others are due when the one before them has ended
        return good

    async def _one(self, phase: str, plan: RequestPlan, body: bytes, due_s: float | None) -> bool:
        """Send one request and wait for its end; whether it was answered."""
        if phase == "measure" and self._begin is None:
            self._begin = (perf_counter(), process_time())
        exchange, place = Exchange(), len(self._sent)
        self._sent.append(Sent(phase=phase, index=plan.index, due_s=due_s, exchange=exchange))
        self._open[place] = exchange
        await self._pool.carry(body, self._timeout_s, exchange)
        del self._open[place]
        self._received += _pieces(exchange)
        good = exchange.error is None and exchange.status == 200
        (self._ok if good else self._failed)[phase] += 1
        self._check_end(phase)
        return good

    def _check_end(self, phase: str) -> None:
        """Over when all measured requests have ended, or when the whole warm-up failed."""
        ended = self._ok[phase] + self._failed[phase]
        if phase == "fill" or ended < self._counts[phase]:
            return
        if phase == "measure":
            self._over.set()
        elif self._ok[phase] == 0:
            self._aborted = True
            self._over.set()

    def _conversations(self, repeat: int) -> Iterator[tuple[str, float, list[Ready]]]:
        """Warm-up, measured, and filler without end, with the times of an open loop.

        Known bodies are made before the run.
        """

        def phase(name: str) -> Iterator[tuple[str, float, list[Ready]]]:
            drawn = conversations(self._traffic, self._load, repeat=repeat, phase=name)
            wanted = first(self._counts[name], drawn) if name in self._counts else drawn
            times_s = (
                arrivals(self._traffic, self._load, repeat=repeat, phase=name)
                if self._load.mode is Mode.RATE
                else itertools.repeat(0.0)
            )
            for at_s, conversation in zip(times_s, wanted, strict=False):
                made = [(plan, body_of(plan, self._traffic, self._model)) for plan in conversation]
                yield name, at_s, made

        counted = itertools.chain(phase("warmup"), phase("measure"))
        known = list(itertools.islice(counted, PREBUILT))
        return itertools.chain(known, counted, phase("fill"))

    def _tell(self, report: Report) -> None:
        """Counted here once a second, over what is in flight: nothing is counted as chunks come."""
        phase = "warmup" if self._begin is None else "measure"
        report(
            State(
                phase=phase,
                completed=self._ok[phase],
                failed=self._failed[phase],
                total=self._counts[phase],
                received=self._received + sum(map(_pieces, self._open.values())),
                in_flight=len(self._open),
            )
        )


def _pieces(exchange: Exchange) -> int:
    """What has come of an answer: its head, and each read of its body."""
    return bool(exchange.status) + len(exchange.reads)


async def _until(at_s: float) -> None:
    """Wait for a `perf_counter` time, never ending before it; the loop gets its turn also when late."""
    await asyncio.sleep(0)
    while (left_s := at_s - perf_counter()) > 0:  # noqa: ASYNC110  (no event tells the time)
        await asyncio.sleep(max(left_s, TICK_S))
