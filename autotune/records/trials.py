"""Candidates, plans, traffic, measurements and outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

THROUGHPUTS = (
    "output_tokens_per_s",
    "total_tokens_per_s",
    "requests_per_s",
    "goodput_requests_per_s",
)
LATENCIES = ("ttft_ms", "tpot_ms", "itl_ms", "e2e_ms")
STATISTICS = ("mean", "p50", "p90", "p95", "p99")
METRICS = (
    *THROUGHPUTS,
    *(f"{latency}_{statistic}" for latency in LATENCIES for statistic in STATISTICS),
    "slo_attainment",
    "requests_completed",
    "requests_failed",
    "client_cpu_fraction",
)
"""What can be measured at one load. Source: contract section 3."""


class Mode(str, Enum):
    """How load is offered: a fixed number of requests in flight, or arrivals at a rate."""

    CONCURRENCY = "concurrency"
    RATE = "rate"


class Status(str, Enum):
    """What a trial ended as; the value of the MLflow tag `autotune.status`."""

    MEASURED = "measured"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """The HTTP path that answers 200 once the engine can serve."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """An estimate of what a plan needs of each GPU, GiB; None is unknown.

    `per_gpu_gib` is weights, KV cache and overhead together. `fits` is false only where it certainly does
    not fit. `kv_tokens` is what all KV caches of the engine hold, `concurrency` the requests of the
    workload's mean length that find room there.
    """

    weights_gib: float | None
    kv_cache_gib: float | None
    per_gpu_gib: float | None
    fits: bool | None
    kv_tokens: int | None = None
    concurrency: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A candidate resolved for a runtime and an inventory; without a GPU touched.

    `argv` is the whole command, program first, with `{port}` in place of the port. `gpus` is what
    the engine occupies; `world_size` the ranks of one replica by the engine's own definition. A
    plan with `reasons` is rejected: it is a value, not an error. `prefix` are words that the user wants
    before `argv`.
    """

    runtime: str
    runtime_version: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    files: Mapping[str, str]
    gpus: int
    world_size: int
    image: str
    readiness: Readiness
    served_model: str
    signature: str
    memory: Memory | None = None
    prefix: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether the candidate can run."""
        return not self.reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One level of traffic: `value` requests in flight, or requests/s."""

    mode: Mode
    value: float

    def __str__(self) -> str:
        """`concurrency 8` or `rate 2.5/s`."""
        return f"{self.mode.value} {self.value:g}" + ("/s" if self.mode is Mode.RATE else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """The requests of a workload, as every load client gets them; one seed gives one sequence.

    `input_tokens` and `output_tokens` are means; `*_spread` is the standard deviation over the
    mean (0: every request alike). `requests` is the number measured at one load, or null for
    `requests_per_load × load`; `warmup_requests` likewise go first and are not measured.
    """

    endpoint: str
    input_tokens: int
    output_tokens: int
    input_spread: float
    output_spread: float
    requests_per_load: int
    min_requests: int
    warmup_requests: int
    ignore_eos: bool
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A running engine as a load client sees it; `url` without a trailing slash or `/v1`."""

    url: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a load client reported at one load, in one repeat.

    `metrics` has the names of contract section 3 without `_per_gpu` (those need the plan).
    `errors` counts failed requests by kind. `raw` is the file with one record a request.
    `client_bound` says in sentences why the client and not the engine limited what was measured.
    """

    load: Load
    repeat: int
    metrics: Mapping[str, float]
    requests_completed: int
    requests_failed: int
    errors: Mapping[str, int]
    duration_s: float
    raw: Path | None = None
    client_bound: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a trial failed: a kind, the cause in one sentence, the evidence, and what to do."""

    kind: str
    message: str
    evidence: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """The repeats at one load put together: medians, with the per-GPU metrics added.

    `score` is the objective's metric at this load, `score_repeats` its value in each repeat.
    """

    load: Load
    metrics: Mapping[str, float]
    score: float | None
    score_repeats: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a trial ended as. `best` is the result at the load that the objective chose."""

    status: Status
    failure: Failure | None = None
    results: tuple[LoadResult, ...] = ()
    best: LoadResult | None = None
    startup_s: float | None = None
    trial_s: float = 0.0
    gpu_seconds: float = 0.0
    engine_version: str | None = None
    image_digest: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One point of the space: its overrides, the presets chosen, and the composed configuration.

    `config` is the plain container of the composed configuration (what `config.yaml` holds).
    """

    overrides: tuple[str, ...]
    choices: Mapping[str, str]
    config: Mapping[str, Any] = field(repr=False)
