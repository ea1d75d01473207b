"""Whether an open loop sends by its schedule: the rate, and how its gaps are distributed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from autotune.benchmark.native import NativeClient
from autotune.benchmark.protocol import MeasureRequest

RATE_WITHIN = 0.01
ERROR = 0.01  # how often a true sample may fail the test


def report_arrivals(request: MeasureRequest) -> int:
    """Measure, print how the arrivals were, and return 1 where they were not as drawn."""
    measured = NativeClient().measure(request)
    if measured.raw is None:
        raise RuntimeError("the client left no records")
    records = [r for r in json.loads(measured.raw.read_text()) if r["scheduled_s"] is not None]
    records = sorted((r for r in records if r["phase"] == "measure"), key=lambda r: float(r["scheduled_s"]))
    sent_s = sorted(record["sent_s"] for record in records)
    due_s = [record["scheduled_s"] for record in records]
    drawn, achieved = _rate(due_s), _rate(sent_s)
    rate = request.load.value
    gaps_s = [after - before for before, after in pairwise(sent_s)]
    distance = _distance(gaps_s, lambda gap_s: 1 - math.exp(-rate * gap_s))
    allowed = math.sqrt(-math.log(ERROR / 2) / 2 / len(gaps_s))
    metrics = measured.metrics
    print(f"{len(records)} arrivals, asked {rate:g}/s, drawn {drawn:.3f}/s, achieved {achieved:.3f}/s")
    print(
        f"sent after due: mean {metrics['schedule_delay_ms_mean']:.2f} ms, "
        f"p99 {metrics['schedule_delay_ms_p99']:.2f} ms"
    )
    if request.traffic.arrival == "poisson":
        print(
            f"Kolmogorov-Smirnov distance of the gaps {distance:.4f}, {allowed:.4f} is allowed at {ERROR:g}"
        )
    print(*measured.client_bound, sep="\n")
    poisson = request.traffic.arrival != "poisson" or distance <= allowed
    return 0 if abs(achieved / drawn - 1) <= RATE_WITHIN and poisson else 1


def _rate(times_s: Sequence[float]) -> float:
    return (len(times_s) - 1) / (times_s[-1] - times_s[0])


def _distance(values: Sequence[float], chance_below: Callable[[float], float]) -> float:
    """Return the greatest distance of the values' distribution function from the one asked for."""
    ordered, count = sorted(values), len(values)
    return max(
        max(abs((place + 1) / count - chance_below(value)), abs(place / count - chance_below(value)))
        for place, value in enumerate(ordered)
    )
