"""One trial: start an engine, measure it at every load, score. Never raises for a trial's sake.

This is the only place that turns exceptions into outcomes.
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autotune.benchmark import create_benchmark
from autotune.benchmark.protocol import Benchmark, MeasureRequest, Progress
from autotune.benchmark.workload import timeout_of
from autotune.deploy.protocol import Deployer, Order, Ready, Server
from autotune.errors import InfrastructureError, Interrupted, TrialError
from autotune.gpus.remains import Remains
from autotune.observe.observer import Observer
from autotune.plan.slo import request_limits
from autotune.records import Candidate, Endpoint, Failure, Lease, Load, Outcome, Plan, Status
from autotune.rounds import Rounds
from autotune.schema import BenchmarkConfig, Config
from autotune.score.objective import left_out
from autotune.track.files import check_disk
from autotune.track.records import (
    load_record,
    measured_record,
    ready_record,
    server_record,
    write_measurements,
)
from autotune.watch import Limits, Watch, cause_of, failure_of, limits_of

Emit = Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A trial to run: its number in the sweep, and everything that is known of it beforehand."""

    number: int
    candidate: Candidate
    config: Config
    plan: Plan
    label: str
    folder: Path

    @property
    def width(self) -> int:
        """GPUs to lease; none for an engine that someone else runs."""
        return 0 if self.config.deploy.url is not None else self.plan.gpus


@dataclass(slots=True)
class _Progress:
    """What a trial has so far; kept whatever happens next."""

    rounds: Rounds
    ready: Ready | None = None
    image_digest: str | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A job with its lease and surroundings; `emit` writes an event, `left` gets what cannot be ended.

    `rival` is the best score of the sweep's other trials by now.
    """

    job: Job
    lease: Lease
    deployer: Deployer
    env: Mapping[str, str]
    cancelled: threading.Event
    emit: Emit
    tell: Callable[[str], None] = lambda _text: None
    left: Callable[[Remains], None] = lambda _remains: None
    rival: Callable[[], float | None] = lambda: None
    clock: Callable[[], float] = time.monotonic
    create_client: Callable[[BenchmarkConfig], Benchmark] = create_benchmark

    def run(self) -> Outcome:
        """Return what the trial ended as; the engine is gone, or `left` has it.

        Raises: InfrastructureError if the sweep itself cannot go on.
        """
        began = self.clock()
        limits = Limits() if self.deployer.recorded else limits_of(self.job.config.measure)
        progress = _Progress(self._rounds(began, limits))
        log = self.job.folder / "engine.log"
        watch = Watch(self.cancelled, limits, log=log, clock=self.clock)
        status, failure = Status.MEASURED, None
        try:
            self._measure(progress, watch)
        except Interrupted:
            failure = watch.failure
            status = Status.INTERRUPTED if failure is None else Status.FAILED
        except TrialError as error:
            status, failure = Status.FAILED, failure_of(error)
        except InfrastructureError:
            raise
        except Exception as error:  # noqa: BLE001  (a defect of ours ends this trial, not the sweep)
            self._keep(traceback.format_exc())
            message = f"autotune itself failed: {type(error).__name__}: {error}"
            status, failure = Status.FAILED, Failure(kind="unknown", message=message)
        if status is Status.FAILED:
            check_disk(self.job.folder)
        try:
            return self._outcome(progress, status, failure, self.clock() - began)
        except OSError as error:
            raise InfrastructureError(f"cannot write {self.job.folder}: {error.strerror}") from error

    def _rounds(self, began_s: float, limits: Limits) -> Rounds:
        def left_s() -> float | None:
            return None if limits.trial_s is None else limits.trial_s - (self.clock() - began_s)

        gpus, recorded = self.job.plan.gpus, self.deployer.recorded
        return Rounds(config=self.job.config, gpus=gpus, recorded=recorded, left_s=left_s, rival=self.rival)

    def _measure(self, progress: _Progress, watch: Watch) -> None:
        order = Order(
            candidate=self.job.candidate,
            config=self.job.config,
            plan=self.job.plan,
            lease=self.lease,
            folder=self.job.folder,
            env=self.env,
            cancelled=watch.ended,
            tell=self.tell,
            left=self.left,
        )
        if self.cancelled.is_set():
            raise Interrupted
        chosen = self.create_client(self.job.config.benchmark)
        expected = Endpoint(url="", model=self.job.plan.served_model)
        with watch:
            server = self.deployer.start(order)
            progress.image_digest = server.image_digest
            client = server.client(chosen)
            try:
                if server.started is not None:
                    self.emit("server_started", **server_record(server.started))
                watch.stops(client)
                client.prepare(self._request(expected, progress.rounds.first, progress.rounds))
                observer = Observer(order, self.deployer, note=progress.notes.append)
                ready = progress.ready = server.ready()
                watch.serves(None if self.job.config.deploy.url is not None else server.death)
                progress.notes.extend(ready.notes)
                self.emit("server_ready", **ready_record(ready))
                with observer.watching(client, ready) as seen:
                    self._measure_loads(server, progress, client=seen, endpoint=ready.endpoint, watch=watch)
            finally:
                watch.close()
                try:
                    client.stop()
                finally:
                    server.stop()

    def _measure_loads(
        self, server: Server, progress: _Progress, *, client: Benchmark, endpoint: Endpoint, watch: Watch
    ) -> None:
        rounds = progress.rounds
        for repeat, load in rounds:
            request = self._request(endpoint, load, rounds, repeat=repeat, heard=watch.heard)
            began_s = self.clock()
            try:
                with watch.measuring(load):
                    measurement = client.measure(request)
            except TrialError as error:
                if error.kind == "no_row":
                    rounds.leave_out(load)
                    continue
                raise cause_of(error, server) or error from error
            died = cause_of(measurement.requests_failed, server)
            if died is not None:  # what was measured last was not this engine at work
                raise died
            rounds.take(measurement, self.clock() - began_s)
            progress.notes.extend(measurement.notes)
            self.emit("measured", **measured_record(measurement))

    def _request(
        self,
        endpoint: Endpoint,
        load: Load,
        rounds: Rounds,
        *,
        repeat: int = 0,
        heard: Callable[[Progress], None] = lambda _: None,
    ) -> MeasureRequest:
        def report(progress: Progress) -> None:
            heard(progress)
            self.emit(
                "benchmark_progress",
                load=load_record(load),
                repeat=repeat,
                phase=progress.phase,
                requests_completed=progress.requests_completed,
                requests_failed=progress.requests_failed,
                requests_total=progress.requests_total,
            )

        return MeasureRequest(
            endpoint=endpoint,
            traffic=rounds.traffic(self.job.plan.wording),
            load=load,
            repeat=repeat,
            out_dir=self.job.folder,
            on_progress=report,
            timeout_s=timeout_of(self.job.config),
            cpus=self.lease.client_cpus,
            limits=request_limits(self.job.config.slo),
        )

    def _outcome(
        self, progress: _Progress, status: Status, failure: Failure | None, elapsed_s: float
    ) -> Outcome:
        ready, measurements = progress.ready, progress.rounds.measurements
        gpus = self.job.plan.gpus
        results = progress.rounds.results()
        best = None
        if status is Status.MEASURED:
            best, status, failure = progress.rounds.ended_as(results)
        told = [*progress.notes, *progress.rounds.notes, *left_out(measurements)]
        write_measurements(self.job.folder, measurements)
        if self.deployer.recorded:
            measured_s = sum(item.duration_s for item in measurements)
            elapsed_s = measured_s + (ready.startup_s if ready else 0.0)
        return Outcome(
            status=status,
            failure=failure,
            results=results,
            best=best,
            startup_s=ready.startup_s if ready else None,
            trial_s=elapsed_s,
            gpu_seconds=elapsed_s * gpus,
            engine_version=ready.engine_version if ready else None,
            image_digest=progress.image_digest,
            notes=tuple(dict.fromkeys([*self.job.plan.notes, *told])),
        )

    def _keep(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the disk may be what failed; that is told by itself
            self.job.folder.mkdir(parents=True, exist_ok=True)
            (self.job.folder / "autotune-error.log").write_text(text)
