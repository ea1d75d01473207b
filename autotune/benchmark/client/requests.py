"""The requests of one process, in the order in which they are sent, their bodies made ahead of time."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from autotune.benchmark.arrivals import arrivals, ramped
from autotune.benchmark.body import body_of
from autotune.benchmark.traffic import RequestPlan, conversations, first, measured_count, warmup_count
from autotune.records import Load, Mode, Traffic

AHEAD = {"measure": 4096, "fill": 2048}
"""Conversations of a phase whose bodies are made before they are due, at the most."""
AHEAD_BYTES = {"warmup": 16 << 20, "measure": 32 << 20, "fill": 16 << 20}
"""Of a phase's bodies that are made before they are due, in one process; the others are made when sent."""
AHEAD_FILL = 2  # filler for each unit of load, and in an open loop each second's, that are made so
FAST_TOKEN_S = 0.002  # an engine that takes less for a token gets some bodies that are made when sent

Ready = tuple[RequestPlan, bytes]
"""A request and its body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which part of a load a process offers: every `of`-th conversation, beginning with number `rank`."""

    rank: int = 0
    of: int = 1

    def part(self, whole: int) -> int:
        """Return this process's part of so many; all parts together are the whole."""
        return whole // self.of + (self.rank < whole % self.of)


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A conversation, and its time in an open loop: seconds from the first of its phase.

    `least`: it belongs to the least warm-up.
    """

    turns: tuple[Ready, ...]
    at_s: float
    least: bool

    def in_reverse(self) -> list[Ready]:
        """Return the requests, the next one last."""
        return list(reversed(self.turns))

    @property
    def body_bytes(self) -> int:
        """The size of all its bodies."""
        return sum(len(body) for _, body in self.turns)


class Requests:
    """What one process sends. Whatever the number of processes, together they send the same."""

    def __init__(self, model: str, traffic: Traffic, load: Load, *, repeat: int, share: Share) -> None:
        self.span_s = 0.0  # from the first to the last measured arrival that is drawn, over all processes
        self.ahead_bytes = dict.fromkeys(AHEAD_BYTES, 0)  # of bodies that are made and not taken
        self.least_taken = 0  # requests of the least warm-up
        self._model, self._traffic, self._load = model, traffic, load
        self._repeat, self._share = repeat, share
        self._least = warmup_count(traffic, load, repeat=repeat)
        self._ahead = {name: min(most, self._likely(name)) for name, most in AHEAD.items()}
        self._drawn = {name: self._phase(name) for name in ("warmup", "measure", "fill")}
        self._built: dict[str, deque[Due]] = {name: deque() for name in self._drawn}

    def warm(self) -> bool:
        """Whether the least warm-up has been taken."""
        built = self._built["warmup"]
        if not built:
            self.build(1)
        return not built[0].least

    def take(self, phase: str) -> Due | None:
        """Return the next conversation of a phase; None after the last. Only the measured ones can end."""
        built = self._built[phase]
        if not built:
            self._make(phase)
        due = built.popleft() if built else None
        if due is not None:
            self.ahead_bytes[phase] -= due.body_bytes
        if due is not None and due.least:
            self.least_taken += len(due.turns)
        return due

    def build(self, count: int) -> None:
        """Make the first bodies of the warm-up: what is sent at once."""
        for _ in range(count):
            self._make("warmup")

    async def build_ahead(self) -> None:
        """Make the others, one at a time, so that no answer waits for more than one."""
        while not self.warm() and self._built["warmup"][-1].least and self._has_room("warmup"):
            self.build(1)
            await asyncio.sleep(0)
        for phase, most in self._ahead.items():
            while len(self._built[phase]) < most and self._has_room(phase):
                if not self._make(phase):
                    break
                await asyncio.sleep(0)

    def _make(self, phase: str) -> bool:
        """Make the bodies of the next conversation; whether there is one."""
        due = next(self._drawn[phase], None)
        if due is None:
            return False
        self._built[phase].append(due)
        self.ahead_bytes[phase] += due.body_bytes
        return True

    def _has_room(self, phase: str) -> bool:
        """Whether more is to be made ahead: few enough bytes are, and the last is not after the end."""
        built, seconds = self._built[phase], self._traffic.seconds_per_load
        if phase == "measure" and seconds is not None and built and built[-1].at_s >= seconds:
            return False
        return self.ahead_bytes[phase] < AHEAD_BYTES[phase]

    def _likely(self, phase: str) -> int:
        """Return how many conversations of a phase this process may need; a schedule says it itself."""
        units = self._load.value / self._share.of
        if phase == "fill":
            return math.ceil(AHEAD_FILL * units)
        seconds = self._traffic.seconds_per_load
        if seconds is None or self._load.mode is Mode.RATE:
            return AHEAD[phase]
        answer_s = FAST_TOKEN_S * max(1, self._traffic.output_tokens)
        return math.ceil(units) * (1 + math.ceil(seconds / answer_s))

    def _conversations(self, phase: str) -> Iterator[tuple[RequestPlan, ...]]:
        """Yield those of all processes; where the count is bounded, the last one is cut if need be."""
        drawn = conversations(self._traffic, self._load, repeat=self._repeat, phase=phase)
        if phase == "measure" and self._traffic.seconds_per_load is None:
            return first(measured_count(self._traffic, self._load), drawn)
        if phase == "warmup":
            return itertools.chain(first(self._least, drawn), drawn)
        return drawn

    def _phase(self, phase: str) -> Iterator[Due]:
        """Draw the times and the requests of all processes, and make the bodies of this one's."""
        rate = self._load.mode is Mode.RATE
        drawn = arrivals(self._traffic, self._load, repeat=self._repeat, phase=phase)
        times_s = drawn if rate else itertools.repeat(0.0)
        ramp_s = self._traffic.ramp_s if rate and phase == "warmup" else 0.0
        left = self._least if phase == "warmup" else 0
        conversations_and_times = zip(self._conversations(phase), times_s, strict=False)
        for number, (conversation, at_s) in enumerate(conversations_and_times):
            least, left = left > 0, left - len(conversation)
            if phase == "measure":
                self.span_s = at_s
            if number % self._share.of == self._share.rank:
                turns = tuple((plan, body_of(plan, self._traffic, self._model)) for plan in conversation)
                yield Due(turns=turns, at_s=ramped(at_s, ramp_s) if ramp_s else at_s, least=least)
