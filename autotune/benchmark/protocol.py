"""What a load client gives: measurements of a running engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from autotune.records import Endpoint, Load, Measurement, RequestLimits, Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a measurement is; to be reported about once a second, or the trial is taken for hung.

    `received` counts pieces of answers that have come since the measurement began, filler included, in any
    unit: it grows whenever the engine gives a sign of life, and never falls. `in_flight` are requests that
    wait for an answer or its rest. None: this client does not tell, and ended requests are the only sign.
    """

    phase: Literal["warmup", "measure"]
    requests_completed: int
    requests_failed: int
    requests_total: int
    received: int | None = None
    in_flight: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureRequest:
    """One repeat at one load; `timeout_s` bounds a request.

    `out_dir` is the trial's folder: the client's files go there, and its processes are labelled with it.
    `cpus` are the cores that the client's processes may run on; empty: any. A request within `limits` is
    good: `goodput_requests_per_s` and `slo_attainment` are of those.
    """

    endpoint: Endpoint
    traffic: Traffic
    load: Load
    repeat: int
    out_dir: Path
    on_progress: Callable[[Progress], None]
    timeout_s: float
    cpus: tuple[int, ...] = ()
    limits: RequestLimits = field(default_factory=RequestLimits)


class Benchmark(Protocol):
    """A load client of one trial: `prepare`, as often `measure` as there are loads and repeats, `stop`."""

    def prepare(self, request: MeasureRequest) -> None:
        """Do what takes time and needs no engine: processes that only wait, requests that are only built.

        The trial calls it while the engine starts, with its first measurement; of the endpoint only the model
        is known, as far as it is, and `on_progress` is not called. `measure` works without it as well, and
        with any other request. Once the engine is ready nothing but a measurement may take its time.
        """
        ...

    def measure(self, request: MeasureRequest) -> Measurement:
        """Return what was measured.

        Raises: TrialError `benchmark_failed` or `all_requests_failed`, Interrupted after `stop`.
        """
        ...

    def stop(self) -> None:
        """End a measure in progress and what was prepared, at once, and refuse later ones; from any thread.

        The trial calls it in every path, at the end too.
        """
        ...
