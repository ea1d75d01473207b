"""Samples an engine and its GPUs beside a trial's measurements, and adds what was seen to each of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from autotune.benchmark.protocol import Benchmark, MeasureRequest, Progress
from autotune.gpus.nvml import read_usages
from autotune.observe import page
from autotune.observe.engine import engine_series, summarize_engine, untold
from autotune.observe.gpu import (
    Throttling,
    Usages,
    energy_per_token,
    gpu_series,
    summarize_gpus,
    unknown_notes,
)
from autotune.observe.sampler import Sampler
from autotune.observe.scraper import NoMetrics, Scraper
from autotune.observe.series import NAME, Clock, Measured, write_series
from autotune.observe.windows import Ear, Window
from autotune.records import Gpu, InventoryKind, Measurement

if TYPE_CHECKING:
    from autotune.deploy.protocol import Deployer, Order, Ready

CLOSE_S = 5.0  # for a thread to end
FRESH_S = 2.5  # for a sample at the end of a measurement: one time-out of the engine's page and a little
SLACK = 2.0  # sampling periods within which a sample may stand for an end of a window
PATIENCE = 0.1  # share of looks without an answer that goes without a word


class Observer:
    """Watches one trial; made before its engine is ready, because the first look must not have to import.

    `note` gets what a user should know: what is not told, and throttling.
    """

    def __init__(self, order: Order, deployer: Deployer, *, note: Callable[[str], None]) -> None:
        """Nothing is sampled where measurements come from a table, or `measure.sample_s` is null."""
        self._order, self._note = order, note
        self._period_s = None if deployer.recorded else order.config.measure.sample_s
        real = not (deployer.stand_in or order.config.deploy.url is not None)
        detected = order.lease.kind is InventoryKind.DETECTED
        self._gpus: tuple[Gpu, ...] = order.lease.gpus if real and detected else ()
        with suppress(OSError):
            order.folder.joinpath(NAME).unlink()  # of an earlier attempt
        if self._period_s is not None:
            page.warm()

    @contextmanager
    def watching(self, client: Benchmark, ready: Ready) -> Iterator[Benchmark]:
        """Yield the client whose measurements have what is sampled meanwhile; its threads end with this."""
        if self._period_s is None:
            yield client
            return
        gpus = () if ready.simulated else self._gpus
        watched = Watched(client, order=self._order, ready=ready, gpus=gpus, period_s=self._period_s)
        watched.start()
        try:
            yield watched
        finally:
            for line in watched.close():
                self._note(line)


class Watched:
    """A load client beside which an engine and its GPUs are sampled."""

    def __init__(
        self, client: Benchmark, *, order: Order, ready: Ready, gpus: tuple[Gpu, ...], period_s: float
    ) -> None:
        foreign = order.config.deploy.url is not None
        uuids = [gpu.uuid for gpu in gpus]
        self._client, self._folder, self._gpus, self._period_s = client, order.folder, gpus, period_s
        self._scraper = Scraper(ready.endpoint.url, None if foreign else order.plan.runtime)
        self._engine: Sampler[page.Page] = Sampler(
            self._scraper.look, period_s=period_s, name="engine metrics", gives_up=NoMetrics
        )
        self._nvml: Sampler[Usages] = Sampler(
            lambda: read_usages(uuids), period_s=period_s, name="GPU metrics", gives_up=NoMetrics
        )
        self._samplers = (self._engine, self._nvml) if gpus else (self._engine,)
        self._measured: list[Measured] = []
        self._throttling = Throttling(Counter(), Counter())
        self._clock = Clock(epoch_s=time.time() - time.monotonic(), ready_s=time.monotonic())

    def start(self) -> None:
        """Begin to sample."""
        for sampler in self._samplers:
            sampler.start()

    def prepare(self, request: MeasureRequest) -> None:
        """Prepare the client."""
        self._client.prepare(request)

    def stop(self) -> None:
        """Stop the client."""
        self._client.stop()

    def measure(self, request: MeasureRequest) -> Measurement:
        """Return what the client measured, and what was sampled in its window."""
        ear = Ear(self._look_now)

        def heard(progress: Progress) -> None:
            ear.heard(progress)
            request.on_progress(progress)

        measurement = self._client.measure(replace(request, on_progress=heard))
        window = ear.window(measurement.duration_s, slack_s=SLACK * self._period_s)
        for sampler in self._samplers:
            sampler.fresh(FRESH_S)
        self._measured.append(Measured(load=request.load, repeat=request.repeat, window=window))
        return replace(measurement, metrics={**measurement.metrics, **self._seen(window, measurement)})

    def close(self) -> list[str]:
        """End the sampling, write the series, and return the notes."""
        self._scraper.abort()
        ended = [sampler.close(CLOSE_S) for sampler in self._samplers]
        notes = [*self._engine_notes(), *unknown_notes(self._nvml.readings, self._gpus)]
        throttled = self._throttling.note(self._gpus)
        notes += [throttled] if throttled else []
        if all(ended):
            self._scraper.close()
        else:
            notes.append("a sampler of metrics hangs; it was left behind")
        samples = [*engine_series(self._engine.readings), *gpu_series(self._nvml.readings, self._gpus)]
        with suppress(OSError):  # a full disk ends the trial elsewhere, with a reason
            write_series(self._folder, samples, clock=self._clock, measured=self._measured)
        return notes

    def _look_now(self) -> None:
        for sampler in self._samplers:
            sampler.at_once()

    def _seen(self, window: Window, measurement: Measurement) -> dict[str, float]:
        looks = self._nvml.readings
        self._throttling.take(looks, window)
        seen = {
            **summarize_engine(self._engine.readings, window),
            **summarize_gpus(looks, window),
        }
        return seen | energy_per_token({**measurement.metrics, **seen}, measurement.duration_s)

    def _engine_notes(self) -> list[str]:
        if self._engine.given_up is not None:
            return [f"no server metrics: {self._engine.given_up}"]
        looks, failures = self._scraper.looks, self._scraper.failures
        pages = self._engine.readings
        notes = []
        if self._measured and len(failures) > PATIENCE * looks:
            notes.append(f"server metrics: {len(failures)} of {looks} looks went without: {failures[-1]}")
        if pages and (missing := untold(pages)):
            notes.append(f"server metrics: the engine does not tell {', '.join(missing)}")
        return notes
