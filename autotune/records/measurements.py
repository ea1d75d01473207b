"""Traffic, loads, and what was measured at them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from autotune.records.slo import Verdict

THROUGHPUTS = (
    "output_tokens_per_s",
    "total_tokens_per_s",
    "requests_per_s",
    "goodput_requests_per_s",
)
LATENCIES = ("ttft_ms", "tpot_ms", "itl_ms", "e2e_ms")
STATISTICS = ("mean", "p50", "p90", "p95", "p99")
CLIENT_METRICS = (
    "client_cpu_fraction",
    "client_wait_fraction",
    "client_lag_ms_mean",
    "client_lag_ms_p99",
    "schedule_delay_ms_mean",
    "schedule_delay_ms_p99",
    "in_flight_mean",
    "load_achieved",
    "load_achieved_fraction",
    "warmup_s",
    "warmup_steady",
)
"""How well the load client did its work; nothing of these is the engine's merit."""
METRICS = (
    *THROUGHPUTS,
    *(f"{latency}_{statistic}" for latency in LATENCIES for statistic in STATISTICS),
    "slo_attainment",
    "requests_completed",
    "requests_failed",
    *(f"server/{name}_{of}" for name in ("kv_cache_usage", "running", "waiting") for of in ("mean", "max")),
    "server/preemptions",
    "server/prefix_cache_hit_rate",
    "gpu/utilization_mean",
    "gpu/memory_gib_max",
    "gpu/power_w_mean",
    "gpu/sm_clock_mhz_mean",
    "gpu/memory_clock_mhz_mean",
    "gpu/temperature_c_max",
    "gpu/throttled_fraction",
    "energy_j",
    "energy_j_per_output_token",
    "energy_j_per_total_token",
    *CLIENT_METRICS,
)
"""What can be measured at one load. Source: contract section 3; `server/`, `gpu/` and energy: `observe`."""


class Mode(str, Enum):
    """How load is offered: a fixed number of requests in flight, or arrivals at a rate."""

    CONCURRENCY = "concurrency"
    RATE = "rate"


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
    `requests_per_load × load`; `warmup_requests` likewise go first and are not measured. With
    `seconds_per_load`, those are measured that are sent within so many seconds, however many they are.
    `arrival` and `burstiness` are an open loop's: how its arrivals are drawn. The load grows linearly over
    the first `ramp_s` of the warm-up; that goes on until the latency is steady, until `warmup_max_s` at most
    (0: the least warm-up is enough).
    The other fields are those of `schema.WorkloadConfig` and `Wording`; `loads` are all that are measured
    one after another; where they are searched, `taken` are the conversations of a file that earlier
    measurements had.
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
    prefix_tokens: int = 0
    prefixes: int = 1
    turns: int = 1
    turns_spread: float = 0.0
    sampling: Mapping[str, Any] = field(default_factory=lambda: {"temperature": 0})
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    words: tuple[str, ...] = field(default=(), repr=False)
    overhead_tokens: int = 0
    turn_overhead_tokens: int = 0
    pool: str | None = None
    loads: tuple[float, ...] = ()
    taken: int | None = None
    arrival: str = "poisson"
    burstiness: float = 1.0
    ramp_s: float = 0.0
    seconds_per_load: float | None = None
    warmup_max_s: float = 0.0


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
    `client_bound` says in sentences why the client and not the engine limited what was measured; `notes`
    what else there is to know about it.
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
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """What holds the true value of a metric with 95 % confidence, in the metric's unit.

    `freedom` are the degrees of freedom of Student's t that it rests on, None: the normal distribution's.
    """

    low: float
    high: float
    freedom: float | None = None

    @property
    def half_width(self) -> float:
        """Half of what lies between its ends."""
        return (self.high - self.low) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Outliers:
    """Values of a metric that lie far from the others; they are in every number all the same.

    `kind` is `repeats` or `requests`: `count` of them out of `total`. `limit` is what they are beyond, and
    `worst` the farthest, in the metric's unit.
    """

    kind: str
    metric: str
    count: int
    total: int
    limit: float
    worst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """The repeats at one load put together, as `score.estimates` says; with the per-GPU metrics added.

    `score` is the objective's metric at this load, `score_repeats` its value in each repeat. `intervals` has
    the metrics whose noise is known, `deviations` the standard deviation over the repeats of those measured
    more than once. `client_bound` says why the load client and not the engine limited a repeat, `slo` how it
    stands to the bounds; None: there are none.
    """

    load: Load
    metrics: Mapping[str, float]
    score: float | None
    score_repeats: tuple[float, ...]
    score_interval: Interval | None = None
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    deviations: Mapping[str, float] = field(default_factory=dict)
    outliers: tuple[Outliers, ...] = ()
    client_bound: tuple[str, ...] = ()
    slo: Verdict | None = None

    @property
    def meets(self) -> bool:
        """Whether it meets every bound."""
        return self.slo is None or self.slo.meets

    @property
    def ranks(self) -> bool:
        """Whether its score may be compared with another's."""
        bad = self.slo is not None and self.slo.constraint and not self.slo.meets
        return self.score is not None and not self.client_bound and not bad
