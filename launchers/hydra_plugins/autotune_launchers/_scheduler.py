"""`submit` and `wait_any` over the pool: a trial starts as soon as its GPUs are free."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from autotune.records import Candidate, Lease, Outcome
from autotune.sweep import Admission, Sweep
from autotune.trial import Job

POLL_S = 0.2  # how often GPUs that another process holds are looked at again


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A trial that ended."""

    job: Job
    outcome: Outcome


class Scheduler:
    """Runs the trials of a sweep side by side, each in a thread that waits on its processes."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._waiting: list[Job] = []
        self._running: dict[int, threading.Thread] = {}
        self._ended: queue.SimpleQueue[Finished | BaseException] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._told = False

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
        """Admit a candidate and queue its job, if it is one to run."""
        admission = self._sweep.admit(candidate)
        if admission.job is not None:
            with self._guard:
                self._waiting.append(admission.job)
            self._start_what_fits()
        return admission

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

    def _pending(self) -> bool:
        with self._guard:
            if self._sweep.stop.is_set():
                self._waiting.clear()
            return bool(self._waiting or self._running or not self._ended.empty())

    def _start_what_fits(self) -> None:
        with self._guard:
            if self._sweep.stop.is_set() or not self._waiting:
                return
            jobs = {job.number: job for job in self._waiting}
            leases = self._sweep.pool.grant([(n, job.width) for n, job in jobs.items()])
            if not leases and not self._running and not self._told:
                self._told = True
                self._sweep.tell("waiting: other processes of autotune on this host hold the GPUs")
            for lease in leases:
                job = jobs[lease.trial]
                self._waiting.remove(job)
                thread = threading.Thread(target=self._run, args=(job, lease), name=f"trial-{job.number}")
                self._running[job.number] = thread
                thread.start()

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
        self._start_what_fits()

    def _join(self) -> None:
        with self._guard:
            threads = list(self._running.values())
            self._waiting.clear()
        for thread in threads:
            thread.join()
