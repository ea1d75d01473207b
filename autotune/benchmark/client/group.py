"""Several processes that offer one load together: one leads, the others are its forks.

They have one clock (`perf_counter` is the machine's CLOCK_MONOTONIC) and each its part of the same requests.
The leader says when they start, when the measurement begins, and when it is over: when the part of each has
ended, so that all of them keep up the load until then. A message is one line of JSON; the last thing that a
follower sends is what it measured. A follower that dies fails the measurement, and none outlives its leader.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from time import perf_counter
from typing import Any

import uvloop

from autotune.benchmark.client.channel import Channel, Lost
from autotune.benchmark.client.requests import Share
from autotune.benchmark.client.results import Part, part_of
from autotune.benchmark.client.run import LoadRun, Report
from autotune.benchmark.client.stage import Decisions
from autotune.benchmark.client.tally import State

AHEAD_S = 0.05  # so long before its time is a common beginning told: messages have come by then

Build = Callable[[str, Share], LoadRun]
"""Makes one process's run, for the model of that name."""


class Group:
    """The leader's side; with one process there is nobody to lead."""

    def __init__(self, size: int, model: str, build: Build) -> None:
        """Fork the others; every process builds its first requests at once."""
        self._model, self._build = model, build
        self._sockets: list[socket.socket] = []
        self._share = Share(rank=0, of=size)
        for rank in range(1, size):
            self._fork(Share(rank=rank, of=size))
        self._run = build(model, self._share)

    def _fork(self, share: Share) -> None:
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        if os.fork():
            theirs.close()
            self._sockets.append(ours)
            return
        try:
            for other in (ours, *self._sockets):
                other.close()
            nothing = os.open(os.devnull, os.O_RDWR)
            for standard in (0, 1):  # whoever reads the leader's output waits for its end
                os.dup2(nothing, standard)
            run = self._build(self._model, share)
            uvloop.run(_follow(theirs, run, self._model, lambda model: self._build(model, share)))
            os._exit(0)  # nothing of the leader's is to be run here
        finally:
            traceback.print_exc()  # to the client's log: nobody else will say why
            sys.stderr.flush()
            os._exit(1)

    async def offer(self, url: str, model: str, report: Report) -> list[Part]:
        """Offer the load with all processes and return what each measured.

        Raises: Lost where one of them died.
        """
        if model != self._model:  # it was not known, or is another one
            self._run = self._build(model, self._share)
        followers = [await Channel.over(each) for each in self._sockets]
        for follower in followers:
            follower.tell(url=url, model=model)
        lead = _Lead(self._run, followers, report)
        self._run.decisions = lead
        own = asyncio.ensure_future(self._run.run(url, lead.report))
        others = [asyncio.ensure_future(lead.follow(number)) for number in range(len(followers))]
        tasks: list[asyncio.Future[Any]] = [own, *others]
        try:
            await asyncio.gather(*tasks)  # the first failure is raised
        finally:
            for task in tasks:
                task.cancel()
        return [part_of(own.result(), lead.window_begin_s), *(task.result() for task in others)]


class _Lead(Decisions):
    """Decides for all processes; what they say is kept by their number, the leader's own by None."""

    def __init__(self, run: LoadRun, followers: Sequence[Channel], report: Report) -> None:
        super().__init__(run)
        self._run = run
        self.window_begin_s = 0.0
        self._followers, self._report = followers, report
        self._everybody = {None, *range(len(followers))}
        self._ready: set[int] = set()
        self._all_ready = asyncio.Event()
        self._begins_s: dict[int | None, float] = {}  # of those whose part has ended
        self._failed: set[int | None] = set()
        self._states: dict[int, State] = {}

    async def start(self) -> float:
        """Return when all begin to send: once everybody is connected."""
        if not self._followers:
            return perf_counter()
        await self._all_ready.wait()
        start_s = perf_counter() + AHEAD_S
        self._broadcast(start_s=start_s)
        return start_s

    def warm(self, begin_s: float) -> None:
        """Begin to measure everywhere."""
        if self._followers:
            begin_s += AHEAD_S
            self._broadcast(begin_s=begin_s)
        self._run.begin(begin_s)

    def done(self) -> None:
        """The leader's own part has ended."""
        self._part_ended(None, self._run.first_sent_s())

    def failed(self) -> None:
        """The leader's own warm-up has failed."""
        self._part_failed(None)

    def report(self, own: State) -> None:
        """Report the sum over all processes; a follower in another phase has nothing of this one."""
        states = [state for state in self._states.values() if state.phase == own.phase]
        completed = own.completed + sum(state.completed for state in states)
        failed = own.failed + sum(state.failed for state in states)
        self._report(
            State(
                phase=own.phase,
                completed=completed,
                failed=failed,
                total=max(own.total, completed + failed),
                received=own.received + sum(state.received for state in self._states.values()),
                in_flight=own.in_flight + sum(state.in_flight for state in self._states.values()),
            )
        )

    async def follow(self, number: int) -> Part:
        """Hear a follower until it hands over what it measured.

        Raises: Lost
        """
        channel = self._followers[number]
        while True:
            message = await channel.heard()
            if "state" in message:
                self._states[number] = State(**message["state"])
            if message.get("ready"):
                self._ready.add(number)
                if len(self._ready) == len(self._followers):
                    self._all_ready.set()
            if message.get("failed"):
                self._part_failed(number)
            if "first_sent_s" in message:
                self._part_ended(number, message["first_sent_s"])
            if "size" in message:
                part: Part = await channel.received(message["size"])
                return part

    def _part_ended(self, number: int | None, first_sent_s: float) -> None:
        self._begins_s[number] = first_sent_s
        if self._begins_s.keys() == self._everybody:
            self._end(aborted=False)

    def _part_failed(self, number: int | None) -> None:
        self._failed.add(number)
        if self._failed == self._everybody:
            self._end(aborted=True)

    def _end(self, *, aborted: bool) -> None:
        known_s = [begin_s for begin_s in self._begins_s.values() if begin_s]
        self.window_begin_s = min(known_s, default=perf_counter())
        self._broadcast(end=True, aborted=aborted, window_begin_s=self.window_begin_s)
        self._run.end(aborted=aborted)

    def _broadcast(self, **message: float) -> None:
        for follower in self._followers:
            follower.tell(**message)


class _Follow(Decisions):
    """Asks the leader."""

    leads = False

    def __init__(self, run: LoadRun, leader: Channel) -> None:
        super().__init__(run)
        self._run = run
        self._leader = leader
        self.window_begin_s = 0.0
        self._start: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def start(self) -> float:
        """Say that this process is connected, and wait for the others."""
        self._leader.tell(ready=True)
        return await self._start

    def done(self) -> None:
        """This process's part has ended."""
        self._leader.tell(first_sent_s=self._run.first_sent_s(), state=asdict(self._run.state()))

    def failed(self) -> None:
        """This process's warm-up has failed."""
        self._leader.tell(failed=True)

    def report(self, state: State) -> None:
        """Tell the leader how far this process is."""
        self._leader.tell(state=asdict(state))

    async def obey(self) -> None:
        """Do what the leader says until the load is over.

        Raises: Lost
        """
        while True:
            message = await self._leader.heard()
            if "start_s" in message:
                self._start.set_result(message["start_s"])
            if "begin_s" in message:
                self._run.begin(message["begin_s"])
            if "end" in message:
                self.window_begin_s = message["window_begin_s"]
                self._run.end(aborted=message["aborted"])
                return


async def _follow(end: socket.socket, run: LoadRun, model: str, rebuild: Callable[[str], LoadRun]) -> None:
    """Offer a follower's share, and hand over what it measured; do nothing if the leader has gone."""
    leader = await Channel.over(end)
    with suppress(Lost):
        told = await leader.heard()
        if told["model"] != model:
            run = rebuild(told["model"])
        decisions = run.decisions = _Follow(run, leader)
        own = asyncio.ensure_future(run.run(told["url"], decisions.report))
        try:
            await asyncio.gather(own, decisions.obey())
        finally:
            own.cancel()
        await leader.hand_over(part_of(own.result(), decisions.window_begin_s))
