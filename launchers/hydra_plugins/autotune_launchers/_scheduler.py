"""`submit` and `wait_any` over the pool: a trial starts as soon as its GPUs are free."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from autotune.attempts import Again
from autotune.errors import InfrastructureError
from autotune.failures.retry import kind_of
from autotune.gpus.packing import Policy
from autotune.records import Candidate, Failure, Lease, Outcome, Status
from autotune.sweep import Admission, Sweep
from autotune.trial import Job
from hydra_plugins.autotune_launchers._line import Line
from hydra_plugins.autotune_launchers._patience import Patience

NO_GPUS = (
    "free the GPUs, or allow a longer wait, and resume with sweep.retry=no_gpus; one that is set aside for "
    "this sweep is used again under another sweep.name"
)
POLL_S = 0.2  # how often GPUs that somebody else holds are looked at again


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A trial that ended."""

    job: Job
    outcome: Outcome

    @property
    def infeasible(self) -> bool:
        """Whether the candidate needs more memory than there is; `job.plan.memory` is what was estimated."""
        failure = self.outcome.failure
        return failure is not None and kind_of(failure.kind).infeasible


class Scheduler:
    """Runs the trials of a sweep side by side, each in a thread that waits on its processes."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._line = Line(sweep)
        self._patience = Patience(sweep, least_s=POLL_S)
        self._running: dict[int, threading.Thread] = {}
        self._ended: queue.SimpleQueue[Finished | BaseException] = queue.SimpleQueue()
        self._guard = threading.RLock()
        self._known = True
        self._told: set[Failure] = set()

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
            if self._sweep.hopeless.stopped:
                return False
            return len(self._line.ready()) < self._sweep.settings.config.launcher.lookahead

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
                self._line.add(admission.job)
        return admission

    def _pending(self) -> bool:
        with self._guard:
            if self._sweep.stop.is_set():
                self._line.clear()
            return bool(self._line or self._running or not self._ended.empty())

    def _start_what_fits(self) -> None:
        with self._guard:
            if self._sweep.stop.is_set() or not self._line:
                return
            launcher = self._sweep.settings.config.launcher
            self._drop_what_is_hopeless()
            policy = Policy(known=self._known, overtake=launcher.overtake, island_wait=launcher.island_wait)
            leases = self._sweep.pool.grant(self._line.ready(), policy, mean_s=self._sweep.durations.mean_s)
            try:
                while leases:
                    self._start(leases.pop(0))
            finally:
                for lease in leases:
                    self._sweep.pool.release(lease)
            self._refuse_what_cannot_start()

    def _start(self, lease: Lease) -> None:
        job = self._line.take(lease.trial)
        thread = threading.Thread(target=self._run, args=(job, lease), name=f"trial-{job.number}")
        self._running[job.number] = thread
        try:
            thread.start()
        except RuntimeError as error:  # the system has no thread left
            del self._running[job.number]
            self._sweep.pool.release(lease)
            raise InfrastructureError(f"cannot start trial {job.number}: {error}") from error

    def _run(self, job: Job, lease: Lease) -> None:
        ended: Outcome | Again | BaseException
        try:
            ended = self._sweep.run(job, lease)
        except BaseException as error:  # noqa: BLE001  (handed to the thread that waits)
            ended = error
        self._sweep.pool.release(lease)
        with self._guard:
            del self._running[job.number]
            if isinstance(ended, Again):
                self._line.add(job, in_s=ended.in_s)
            else:
                self._ended.put(Finished(job=job, outcome=ended) if isinstance(ended, Outcome) else ended)
        try:
            self._start_what_fits()
        except BaseException as error:  # noqa: BLE001  (the driver, a lock: whoever waits must hear)
            self._ended.put(error)

    def _drop_what_is_hopeless(self) -> None:
        """Fail what would fail for the same reason as others did; each reason is told once."""
        hopeless = self._sweep.hopeless
        if not hopeless.suspected:
            return
        found = [(job, hopeless.against(self._sweep.trial(job.number).queued)) for job in self._line.jobs()]
        dropped = [(job, failure) for job, failure in found if failure is not None]
        counts = Counter(failure for _, failure in dropped)
        for failure, count in counts.items():
            if failure not in self._told:
                self._told.add(failure)
                again = f"once that is mended, sweep.resume=true sweep.retry={failure.kind} runs them"
                self._sweep.tell(f"{count} trials are {failure.message}; {again}")
        for job, failure in dropped:
            self._end(self._line.take(job.number), failure)

    def _refuse_what_cannot_start(self) -> None:
        """Fail what needs GPUs that were set aside, and what waits too long for GPUs of others."""
        jobs, ready = self._line.jobs(), self._line.ready()
        reasons = self._patience.in_vain(jobs, ready, running=bool(self._running))
        for number, message in reasons.items():
            self._end(self._line.take(number), Failure(kind="no_gpus", message=message, advice=NO_GPUS))

    def _end(self, job: Job, failure: Failure) -> None:
        """Write the end of a trial that waited."""
        outcome = self._sweep.finish(job.number, Outcome(status=Status.FAILED, failure=failure))
        self._ended.put(Finished(job=job, outcome=outcome))

    def _join(self) -> None:
        with self._guard:
            threads = list(self._running.values())
            self._line.clear()
        for thread in threads:
            thread.join()
