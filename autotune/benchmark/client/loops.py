"""The two ways to offer a load: so many requests in flight, or arrivals by a schedule."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from time import perf_counter

from autotune.benchmark.client.connection import Exchange
from autotune.benchmark.client.requests import Due, Ready
from autotune.benchmark.client.stage import Stage, until
from autotune.benchmark.client.tally import Sent

PAUSE_S = 0.1  # after a failed request of a phase whose requests have no end


@dataclass(slots=True)
class _Worker:
    """One of the closed loop: what is left of its conversation, and when its last request ended."""

    turns: list[Ready]
    phase: str = "warmup"
    free_s: float | None = None


class ClosedLoop:
    """As many workers as requests in flight; each sends the next as soon as its last has ended."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def offer(self) -> None:
        """Let the workers begin, one after the other over the ramp."""
        for number in range(int(self._stage.units)):
            place = number * self._stage.share.of + self._stage.share.rank
            await until(self._stage.began_s + self._stage.traffic.ramp_s * place / self._stage.load.value)
            self._advance(_Worker(turns=[]))

    def _advance(self, worker: _Worker) -> None:
        """Send a worker's next request."""
        if self._stage.over.is_set():
            return
        if not worker.turns:
            worker.phase, worker.turns = self._next()
        plan, body = worker.turns.pop()
        worker.phase = self._stage.phase_of(worker.phase)
        sent = Sent(phase=worker.phase, index=plan.index, due_s=worker.free_s)
        self._stage.carry(sent, body, lambda exchange, good: self._next_of(worker, exchange, good=good))

    def _next_of(self, worker: _Worker, exchange: Exchange, *, good: bool) -> None:
        """Go on with a worker; an engine that refuses at once is not flooded with what nobody counts."""
        worker.free_s = exchange.ended_s
        if good or not self._endless(worker.phase):
            self._advance(worker)
            return
        worker.free_s = None
        if self._stage.begin_s != math.inf:
            self._stage.paused_s += PAUSE_S
        asyncio.get_running_loop().call_later(PAUSE_S, self._advance, worker)

    def _endless(self, phase: str) -> bool:
        """Whether there is no end to the requests of a phase."""
        if phase == "measure":
            return self._stage.traffic.seconds_per_load is not None
        return phase == "fill" or self._stage.requests.warm()

    def _next(self) -> tuple[str, list[Ready]]:
        """Return the next conversation of the closed loop and its phase, the turns in reverse."""
        now_s = perf_counter()
        if self._stage.may_begin(now_s):
            self._stage.decisions.warm(now_s)
        if self._stage.begin_s == math.inf:
            return "warmup", self._stage.taken("warmup").in_reverse()
        seconds = self._stage.traffic.seconds_per_load
        if seconds is None or now_s < self._stage.begin_s + seconds:
            due = self._stage.requests.take("measure")
            if due is not None:
                return "measure", due.in_reverse()
        self._stage.all_sent()
        return "fill", self._stage.taken("fill").in_reverse()


class OpenLoop:
    """Begins conversations at the scheduled times, whatever is in flight."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def offer(self) -> None:
        """Send warm-up, measured requests and filler until stopped."""
        await self._warm_up()
        seconds = self._stage.traffic.seconds_per_load
        while (due := self._stage.requests.take("measure")) is not None:
            if seconds is not None and due.at_s >= seconds:
                break
            await self._begin_conversation("measure", due, self._stage.begin_s + due.at_s)
        self._stage.all_sent()
        last_s = self._stage.requests.span_s + 1 / self._stage.load.value if seconds is None else seconds
        while True:
            due = self._stage.taken("fill")
            await self._begin_conversation("fill", due, self._stage.begin_s + last_s + due.at_s)

    async def _warm_up(self) -> None:
        """Send warm-up requests until the measurement is to begin."""
        due_s = self._stage.began_s
        while True:
            if self._stage.may_begin(perf_counter()):
                self._stage.decisions.warm(max(perf_counter(), due_s + 1 / self._stage.load.value))
                return
            due = self._stage.taken("warmup")
            due_s = self._stage.began_s + due.at_s
            await until(due_s, unless=lambda: self._stage.begin_s != math.inf)
            if due_s >= self._stage.begin_s:
                return
            await until(due_s)
            self._turn("warmup", due.in_reverse(), due_s)

    async def _begin_conversation(self, phase: str, due: Due, due_s: float) -> None:
        await until(due_s)
        self._turn(phase, due.in_reverse(), due_s)

    def _turn(self, phase: str, turns: list[Ready], due_s: float, *, scheduled: bool = True) -> None:
        """Send a conversation's next request; the one after it is due when this has ended."""
        plan, body = turns.pop()
        phase = self._stage.phase_of(phase) if not scheduled else phase
        sent = Sent(phase=phase, index=plan.index, due_s=due_s, scheduled=scheduled)

        def then(exchange: Exchange, _: bool) -> None:  # noqa: FBT001
            if turns and not self._stage.over.is_set():
                self._turn(phase, turns, exchange.ended_s, scheduled=False)

        self._stage.carry(sent, body, then)
