"""What a load must meet to count: bounds on latencies, failures, and the share of good requests."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class SloMode(Enum):
    """What becomes of a load that violates a bound: it does not rank, or ranks with a penalty."""

    constraint = "constraint"
    penalty = "penalty"


@dataclass
class SloConfig:
    """The service-level objective; null is no bound. Latencies are milliseconds, shares from 0 to 1.

    `ttft_ms`, `tpot_ms` and `e2e_ms` are what a single request may take to be a good one; where one is null,
    the loosest bound on a percentile of that latency is taken. Goodput counts good requests, `attainment`
    is the least share of them.
    """

    mode: SloMode = SloMode.constraint
    attainment: float | None = None  # least share of requests that are good
    error_rate: float | None = None  # most of the requests that fail; null: 0.01 where anything else is bound
    ttft_ms: float | None = None  # of a single request: to its first token
    tpot_ms: float | None = None  # of a single request: for each token after the first
    e2e_ms: float | None = None  # of a single request: to its last token
    ttft_ms_mean: float | None = None
    ttft_ms_p50: float | None = None
    ttft_ms_p90: float | None = None
    ttft_ms_p95: float | None = None
    ttft_ms_p99: float | None = None
    tpot_ms_mean: float | None = None
    tpot_ms_p50: float | None = None
    tpot_ms_p90: float | None = None
    tpot_ms_p95: float | None = None
    tpot_ms_p99: float | None = None
    itl_ms_mean: float | None = None
    itl_ms_p50: float | None = None
    itl_ms_p90: float | None = None
    itl_ms_p95: float | None = None
    itl_ms_p99: float | None = None
    e2e_ms_mean: float | None = None
    e2e_ms_p50: float | None = None
    e2e_ms_p90: float | None = None
    e2e_ms_p95: float | None = None
    e2e_ms_p99: float | None = None
