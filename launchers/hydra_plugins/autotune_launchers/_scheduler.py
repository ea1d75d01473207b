"""`submit` and `wait_any` over the pool: a trial starts as soon as its GPUs are free."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from autotune.errors import InfrastructureError
from autotune.gpus.packing import Policy, Waiting
from autotune.records import Candidate, Failure, Lease, Outcome, Status
from autotune.sweep import Admission, Sweep
from autotune.track.durations import Alike, Durations, alike
from autotune.trial import Job

POLL_S = 0.2  # how often GPUs that somebody else holds are looked at again


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A trial that ended."""

    job: Job
    outcome: Outcome


@dataclass(slots=True)
class _Waits:
    """A job that waits; what it is like tells how long it may take."""

    job: Job
    alike: Alike
    item: Waiting

    def look(self, durations: Durations) -> None:
        """Expect of it what can be expected by now."""
        expected = durations.expected(self.alike)
        if expected is not self.item.expected:
            self.item = replace(self.item, expected=expected)


class Scheduler:
    """Runs the trials of a sweep side by side, each in a thread that waits on its processes."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._waiting: dict[int, _Waits] = {}  # by trial
        self._running: dict[int, threading.Thread] = {}
        self._ended: queue.SimpleQueue[Finished | BaseException] = queue.SimpleQueue()
        self._guard = threading.RLock()
        self._known = True
        self._idle_since: float | None = None
        self._told = False
        self._changes = 0  # of durations, when what waits was last looked at

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Ensure that no trial runs on: after an error they are stopped, and waited for."""
        try:
            yield
        except BaseException:
            self._sweep.stop.set()
            raise
        finally:
            self._join()

    def submit(self, candidate: Candidate) -> Admission:
        """Admit a candidate of a search that goes on, and queue its job, if it is one to run."""
        with self._guard:
            self._known = False
        admission = self._admit(candidate)
        self._start_what_fits()
        return admission

    def submit_all(self, candidates: Sequence[Candidate]) -> list[Admission]:
        """Admit candidates beyond which none will come: they are started in the order that ends soonest."""
        with self._guard:
            self._known = True
        stopped = self._sweep.stop.is_set
        admissions = [Admission() if stopped() else self._admit(candidate) for candidate in candidates]
        self._start_what_fits()
        return admissions

    def has_room(self) -> bool:
        """Whether a search should choose another candidate now: one that can look ahead is enough."""
        with self._guard:
            return len(self._waiting) < self._sweep.settings.config.launcher.lookahead

    def wait_any(self) -> Finished | None:
        """Wait for the next trial that ends; None when nothing is queued or running.

        After a stop nothing more is started: what waits is dropped, what runs ends.
        Raises: whatever ended a trial's thread beyond its outcome; the other trials are stopped.
        """
        while self._pending():
            try:
                ended = self._ended.get(timeout=POLL_S)
            except queue.Empty:
                self._start_what_fits()
                continue
            if isinstance(ended, BaseException):
                self._sweep.stop.set()
                self._join()
                raise ended
            return ended
        return None

    def _admit(self, candidate: Candidate) -> Admission:
        admission = self._sweep.admit(candidate)
        if admission.job is not None:
            with self._guard:
                self._waiting[admission.job.number] = self._waits(admission.job)
        return admission

    def _waits(self, job: Job) -> _Waits:
        queued = self._sweep.trial(job.number).queued
        item = Waiting(trial=job.number, gpus=job.width, since_s=time.monotonic())
        waits = _Waits(job, alike(queued), item)
        waits.look(self._sweep.durations)
        return waits

    def _pending(self) -> bool:
        with self._guard:
            if self._sweep.stop.is_set():
                self._waiting.clear()
            return bool(self._waiting or self._running or not self._ended.empty())

    def _start_what_fits(self) -> None:
        with self._guard:
            if self._sweep.stop.is_set() or not self._waiting:
                return
            launcher = self._sweep.settings.config.launcher
            policy = Policy(known=self._known, overtake=launcher.overtake, island_wait=launcher.island_wait)
            self._look()
            waiting = [waits.item for waits in self._waiting.values()]
            leases = self._sweep.pool.grant(waiting, policy, mean_s=self._sweep.durations.mean_s)
            try:
                while leases:
                    self._start(leases.pop(0))
            finally:
                for lease in leases:
                    self._sweep.pool.release(lease)
            self._refuse_what_cannot_start()

    def _look(self) -> None:
        """Look again at what waits, but only if that can make a difference: it may be thousands."""
        durations = self._sweep.durations
        if durations.changes != self._changes:
            self._changes = durations.changes
            for waits in self._waiting.values():
                waits.look(durations)

    def _start(self, lease: Lease) -> None:
        job = self._waiting.pop(lease.trial).job
        thread = threading.Thread(target=self._run, args=(job, lease), name=f"trial-{job.number}")
        self._running[job.number] = thread
        try:
            thread.start()
        except RuntimeError as error:  # the system has no thread left
            del self._running[job.number]
            self._sweep.pool.release(lease)
            raise InfrastructureError(f"cannot start trial {job.number}: {error}") from error

    def _run(self, job: Job, lease: Lease) -> None:
        ended: Finished | BaseException
        try:
            ended = Finished(job=job, outcome=self._sweep.run(job, lease))
        except BaseException as error:  # noqa: BLE001  (handed to the thread that waits)
            ended = error
        self._sweep.pool.release(lease)
        with self._guard:
            del self._running[job.number]
            self._ended.put(ended)
        try:
            self._start_what_fits()
        except BaseException as error:  # noqa: BLE001  (the driver, a lock: whoever waits must hear)
            self._ended.put(error)

    def _refuse_what_cannot_start(self) -> None:
        """Fail what needs GPUs that were set aside, and what waits too long for GPUs of others."""
        usable, aside = self._sweep.pool.usable(), "; ".join(self._sweep.pool.set_aside())
        reasons = {
            number: f"needs {waits.item.gpus} GPUs, {usable} can be used: {aside}"
            for number, waits in self._waiting.items()
            if waits.item.gpus > usable
        }
        limit_s, idle_s = self._sweep.settings.config.launcher.acquire_timeout_s, self._idle_s()
        if limit_s is not None and idle_s > limit_s:
            told = f"waited longer than launcher.acquire_timeout_s={limit_s:g}: {self._waits_for()}"
            reasons = dict.fromkeys(self._waiting, told) | reasons
        elif idle_s > POLL_S and not self._told and len(reasons) < len(self._waiting):
            self._told = True
            self._sweep.tell(f"waiting for GPUs: {self._waits_for()}")
        for number, reason in reasons.items():
            self._refuse(self._waiting[number].job, reason)

    def _waits_for(self) -> str:
        return "; ".join(self._sweep.pool.waits_for()) or "none is free"

    def _idle_s(self) -> float:
        """Seconds for which trials have waited while none of ours was running, or giving its memory back."""
        now_s = time.monotonic()
        if self._running or not self._waiting or self._sweep.pool.is_settling():
            self._idle_since = None
            return 0.0
        self._idle_since = now_s if self._idle_since is None else self._idle_since
        return now_s - self._idle_since

    def _refuse(self, job: Job, message: str) -> None:
        del self._waiting[job.number]
        advice = "free the GPUs, or allow a longer wait, and resume with sweep.retry=no_gpus"
        failure = Failure(kind="no_gpus", message=message, advice=advice)
        outcome = Outcome(status=Status.FAILED, failure=failure)
        self._sweep.finish(job.number, outcome)
        self._ended.put(Finished(job=job, outcome=outcome))

    def _join(self) -> None:
        with self._guard:
            threads = list(self._running.values())
            self._waiting.clear()
        for thread in threads:
            thread.join()
