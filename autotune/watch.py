"""What ends a trial before its time: the sweep's stop, its time-out, an engine that dies or hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from autotune.benchmark.protocol import Benchmark, Progress
from autotune.errors import TrialError
from autotune.failures import last_line
from autotune.records import Failure, Load
from autotune.schema import MeasureConfig

POLL_S = 0.1  # between two looks
LATE_S = 0.5  # by which an engine's end may be known later than its clients see it
DOUBT_S = 60.0  # the same, while it is being found out


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds: `trial_s` for start-up and measuring together, `stall_s` without a sign; None: no limit."""

    trial_s: float | None = None
    stall_s: float | None = None


def limits_of(config: MeasureConfig) -> Limits:
    """Return the limits that a user set."""
    return Limits(trial_s=config.trial_timeout_s, stall_s=config.stall_timeout_s)


@dataclass(slots=True, kw_only=True)
class _Signs:
    """What a measurement in progress has shown: when anything last came, when the client last reported."""

    load: Load
    came_s: float
    told_s: float
    last: Progress | None = None


class Watch:
    """Ends one trial for the first reason there is: sets `ended` and stops the load client.

    Opened, it looks ten times a second from a thread of its own; `ended` is what a start-up polls. A trial
    that is interrupted asks for `failure`: None then means that the whole sweep was stopped.
    """

    def __init__(
        self, stop: threading.Event, limits: Limits, *, log: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """The trial begins now; the last words in the engine's `log` are the evidence."""
        self.ended = threading.Event()
        self.failure: Failure | None = None
        self._stop, self._limits, self._log, self._clock = stop, limits, log, clock
        self._began_s = clock()
        self._signs: _Signs | None = None
        self._client: Benchmark | None = None
        self._serving = False
        self._death: Callable[[], TrialError | None] | None = None
        self._guard = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, name="watch", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Look no more: what happens from now on is the trial's own doing."""
        self._closed.set()
        self._thread.join()

    def stops(self, client: Benchmark) -> None:
        """Ensure that `client` is stopped once the trial is to end, also if it is already."""
        with self._guard:
            self._client = client
            late = self.ended.is_set()
        if late:
            client.stop()

    def serves(self, death: Callable[[], TrialError | None] | None) -> None:
        """Take the engine for ready; `death` is asked ten times a second, None: it must not be."""
        self._serving, self._death = True, death

    @contextmanager
    def measuring(self, load: Load) -> Iterator[None]:
        """Expect signs of life of a measurement at `load` while this is open."""
        now_s = self._clock()
        self._signs = _Signs(load=load, came_s=now_s, told_s=now_s)
        try:
            yield
        finally:
            self._signs = None

    def heard(self, progress: Progress) -> None:
        """Take one report of the client."""
        signs, now_s = self._signs, self._clock()
        if signs is None:
            return
        if signs.last is None or _came(signs.last) != _came(progress) or progress.in_flight == 0:
            signs.came_s = now_s
        signs.told_s, signs.last = now_s, progress

    def look(self) -> None:
        """End the trial if there is a reason by now."""
        if self._stop.is_set():
            self._end(None)
            return
        failure = self._died()
        if failure is None and (failure := self._too_long() or self._stalled()):
            failure = replace(failure, evidence=self._last_words())
        if failure is not None:
            self._end(failure)

    def _keep_looking(self) -> None:
        while not self.ended.is_set() and not self._closed.wait(POLL_S):
            self.look()

    def _end(self, failure: Failure | None) -> None:
        with self._guard:
            if self.ended.is_set():
                return
            self.failure = failure
            self.ended.set()
            client = self._client
        if client is not None:  # outside the guard: a client may wait for its own report to be taken
            client.stop()

    def _last_words(self) -> str:
        """Read before the engine is ended: what it says then is about that."""
        try:
            return last_line(self._log.read_text(errors="replace"))
        except OSError:  # an engine that someone else runs has none here
            return ""

    def _died(self) -> Failure | None:
        """A client may need long to find out that nobody answers any more: all its requests have to fail."""
        died = self._death() if self._death is not None else None
        return None if died is None else failure_of(died)

    def _too_long(self) -> Failure | None:
        limit_s = self._limits.trial_s
        if limit_s is None or self._clock() - self._began_s <= limit_s:
            return None
        signs = self._signs
        doing = "measuring" if self._serving else "starting its engine"
        where = f" at {signs.load}" if signs is not None else ""
        return Failure(
            kind="trial_timeout",
            message=f"the trial was not done within {limit_s:g} s; it was {doing}{where}",
            advice="raise measure.trial_timeout_s, or measure less: workload.loads, measure.repeats, "
            "workload.requests_per_load",
        )

    def _stalled(self) -> Failure | None:
        signs, limit_s, now_s = self._signs, self._limits.stall_s, self._clock()
        if signs is None or limit_s is None or now_s - signs.came_s <= limit_s:
            return None
        quiet_s = now_s - signs.came_s
        if signs.last is None or now_s - signs.told_s > limit_s / 2:  # reports come about once a second
            message = f"the load client reported nothing for {now_s - signs.told_s:.0f} s at {signs.load}"
        else:
            message = f"nothing came from the engine for {quiet_s:.0f} s at {signs.load}{_state(signs.last)}"
        return Failure(
            kind="stalled",
            message=message,
            advice=f"read engine.log of the trial; raise measure.stall_timeout_s (now {limit_s:g}) if one "
            "prefill can take that long",
        )


class Mortal(Protocol):
    """What of a server is asked here; see `deploy.protocol.Server`."""

    @property
    def doubtful(self) -> bool:
        """Whether it is just being found out if it has ended."""
        ...

    def death(self) -> TrialError | None:
        """Why it ended."""
        ...


def cause_of(trouble: object, server: Mortal) -> TrialError | None:
    """Return why the engine ended, None if it has not; after `trouble` of its clients that is waited for.

    Where it is in doubt that may take as long as a daemon needs to go away and to come back.
    """
    began_s = time.monotonic()
    died = server.death()
    while died is None and trouble:
        waited_s = time.monotonic() - began_s
        if waited_s > (DOUBT_S if server.doubtful else LATE_S):
            break
        time.sleep(POLL_S)
        died = server.death()
    return died


def failure_of(error: TrialError) -> Failure:
    """Return an error as the outcome that it makes."""
    return Failure(kind=error.kind, message=error.message, evidence=error.evidence, advice=error.advice)


def _came(progress: Progress) -> int:
    """What grows as answers come; without a count of their pieces, the requests that ended."""
    if progress.received is not None:
        return progress.received
    return progress.requests_completed + progress.requests_failed


def _state(progress: Progress) -> str:
    waiting = "" if progress.in_flight is None else f", with {progress.in_flight} requests waiting"
    done = f"{progress.requests_completed} of {progress.requests_total}"
    return f"{waiting} ({'warm-up' if progress.phase == 'warmup' else 'measured'}: {done} done)"
