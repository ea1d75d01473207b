"""Frozen domain values that flow between the stages.

`schema` holds what a user writes; these modules hold what the program knows. Nothing here reads
a file, a clock or the environment, so a trial that sees only these values can run in any thread.
"""

from autotune.records.hardware import Gpu, GpuSpec, GpuStatus, GpuUsage, Inventory, InventoryKind, Lease
from autotune.records.measurements import (
    LATENCIES,
    METRICS,
    STATISTICS,
    THROUGHPUTS,
    Endpoint,
    Interval,
    Load,
    LoadResult,
    Measurement,
    Mode,
    Outliers,
    Traffic,
)
from autotune.records.slo import ATTAINMENT, ERROR_RATE, Bound, RequestLimits, Verdict, Violation
from autotune.records.trials import (
    WORKED,
    Candidate,
    Failure,
    Memory,
    Outcome,
    Plan,
    Readiness,
    Status,
)
from autotune.records.wording import Lengths, Wording

__all__ = [
    "ATTAINMENT",
    "ERROR_RATE",
    "LATENCIES",
    "METRICS",
    "STATISTICS",
    "THROUGHPUTS",
    "WORKED",
    "Bound",
    "Candidate",
    "Endpoint",
    "Failure",
    "Gpu",
    "GpuSpec",
    "GpuStatus",
    "GpuUsage",
    "Interval",
    "Inventory",
    "InventoryKind",
    "Lease",
    "Lengths",
    "Load",
    "LoadResult",
    "Measurement",
    "Memory",
    "Mode",
    "Outcome",
    "Outliers",
    "Plan",
    "Readiness",
    "RequestLimits",
    "Status",
    "Traffic",
    "Verdict",
    "Violation",
    "Wording",
]
