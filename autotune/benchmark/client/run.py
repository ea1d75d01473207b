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
from autotune.benchmark.client.loops import ClosedLoop, OpenLoop
from autotune.benchmark.client.meter import Used
from autotune.benchmark.client.pool import Pool
from autotune.benchmark.client.stage import TICK_S, Stage, until
from autotune.benchmark.client.tally import Sent, State

LAG_EVERY_S = 0.01
OPEN_CONNECTIONS = 16  # opened ahead in an open loop

Report = Callable[[State], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything that one process sent, and its window in `perf_counter` seconds.

    `steady` is None where nothing was to be waited for. `paused_s` are worker seconds without a request, on
    purpose.
    """

    sent: tuple[Sent, ...]
    begin_s: float
    end_s: float
    used: Used
    aborted: bool
    steady: bool | None
    warmup_s: float
    paused_s: float


class LoadRun(Stage):
    """Runs one process's share to its end."""

    async def run(self, url: str, report: Report) -> Run:
        """Offer the load until every measured request has ended; `report` is told once a second."""
        self.pool = Pool(url, PATHS[self.traffic.endpoint], timeout_s=self.timeout_s)
        await self.pool.warm(int(self.units) if self.closed else OPEN_CONNECTIONS)
        self.began_s = await self.decisions.start()
        await until(self.began_s)
        offer = (ClosedLoop(self) if self.closed else OpenLoop(self)).offer()
        tasks = [asyncio.ensure_future(part) for part in (offer, self.requests.build_ahead(), self._watch())]
        try:
            while not self.over.is_set():
                report(self.state())
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self.over.wait(), 1.0)
                for task in tasks:
                    if task.done():
                        task.result()  # a defect of ours must be heard
            end_s, used = perf_counter(), self.meter.end()
        finally:
            for task in tasks:
                task.cancel()
        report(self.state())
        self.pool.close()
        return self._summed_up(end_s, used)

    def first_sent_s(self) -> float:
        """Return when the first measured request was sent; 0 if none was."""
        return min((each.exchange.sent_s for each in self.tally.measured()), default=0.0)

    def state(self) -> State:
        """Return how far this is."""
        phase = "warmup" if self.begin_s == math.inf else "measure"
        return self.tally.state(phase, self.pool.open)

    def _summed_up(self, end_s: float, used: Used) -> Run:
        begin_s = self.first_sent_s() or end_s
        return Run(
            sent=tuple(each for each in self.tally.sent if each.exchange.sent_s),  # not those connecting
            begin_s=begin_s,
            end_s=max((each.exchange.ended_s for each in self.tally.measured()), default=end_s),
            used=used,
            aborted=self.aborted,
            steady=self.steady,
            warmup_s=begin_s - self.began_s,
            paused_s=self.paused_s,
        )

    async def _watch(self) -> None:
        """See how late timers run, and what takes too long."""
        due_s = perf_counter() + LAG_EVERY_S
        while True:
            await asyncio.sleep(max(TICK_S, due_s - perf_counter()))
            now_s = perf_counter()
            while due_s <= now_s:  # those too that were due while nothing could run
                self.meter.late(now_s - due_s)
                due_s += LAG_EVERY_S
            self.pool.expire()
