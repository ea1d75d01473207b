"""How well the client offered the load, and whether it and not the engine limited what was measured.

The formulas stand in `docs/metrics.md`. Why these thresholds:

* A core: a read costs the client 6 µs (an idle core) to 16 µs (a busy one), most of it the kernel's and
  uvloop's. Above 90 % of a core, used or wanted, chunks begin to queue. A saturated engine, or one that is
  slow at a low load, leaves the client far below: 0.03 used and 0.05 waited for, with 8 in flight on a busy
  machine.
* Lag: it is what is added to a stamp. 3 % is how true a mean TTFT is meant to be; below 3 ms a machine that
  does other things too would be taken for a client that does (0.4 ms with 8 in flight, 1 to 4 ms with 256,
  on cores that others wanted as well).
* Delay: a closed loop sends 0.03 ms after the end; an open loop's timers are 1 ms coarse.
* Load: workers that wait for the engine count as in flight; a closed loop falls short by its own delay only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotune.benchmark.client.meter import Used
from autotune.benchmark.metrics import RequestRecord, percentile
from autotune.records import Load, Mode

CORE_FRACTION = 0.9  # of a core, used or waited for
LAG_MS, LAG_OF_TTFT = 3.0, 0.03  # a mean lag that is allowed: the greater of the two
DELAY_MS, DELAY_OF_TTFT = 3.0, 0.03  # a mean delay that is allowed, likewise
ACHIEVED_FRACTION = 0.95
JUDGED_S = 0.5  # shorter windows are not judged: one pause of the scheduler would decide


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What was to be offered over `window_s`, and what the processes used for it.

    `paused_s` are worker seconds without a request on purpose.
    """

    load: Load
    window_s: float
    used: tuple[Used, ...]
    paused_s: float


def client_metrics(records: Sequence[RequestRecord], offer: Offer) -> dict[str, float]:
    """Return what is to be known about the client; what has no value is left out."""
    metrics = _processes(offer.used)
    window_s = offer.window_s
    delays_s = sorted(
        record.begun_s - record.due_s
        for record in records
        if record.due_s is not None and 0 <= record.begun_s <= window_s
    )
    if delays_s:
        metrics["schedule_delay_ms_mean"] = 1000 * math.fsum(delays_s) / len(delays_s)
        metrics["schedule_delay_ms_p99"] = 1000 * percentile(delays_s, 99)
    if window_s <= 0:
        return metrics
    flying_s = math.fsum(max(0.0, min(r.ended_s, window_s) - max(r.begun_s, 0.0)) for r in records)
    metrics["in_flight_mean"] = flying_s / window_s
    if offer.load.mode is Mode.CONCURRENCY:
        asked = offer.load.value - offer.paused_s / window_s
        metrics["load_achieved"] = metrics["in_flight_mean"]
        if asked > 0:
            metrics["load_achieved_fraction"] = metrics["in_flight_mean"] / asked
        return metrics
    return metrics | _arrivals(records)


def _arrivals(records: Sequence[RequestRecord]) -> dict[str, float]:
    """Return how an open loop's measured requests came, held against their own schedule."""
    measured = [
        (r.scheduled_s, r.begun_s) for r in records if r.phase == "measure" and r.scheduled_s is not None
    ]
    begun_s = [begun_s for _, begun_s in measured]
    due_s = [due_s for due_s, _ in measured]
    if len(measured) < 2 or max(begun_s) <= min(begun_s):
        return {}
    span_s = max(begun_s) - min(begun_s)
    return {
        "load_achieved": (len(measured) - 1) / span_s,
        "load_achieved_fraction": (max(due_s) - min(due_s)) / span_s,
    }


def client_bound(metrics: Mapping[str, float], load: Load, window_s: float) -> list[str]:
    """Return in sentences why the client limited what was measured: what, measured, allowed; or nothing.

    Where most requests failed nothing is said: they fail faster than any engine answers, and how fast they
    are sent again is no measure of the client. Nor is anything in a window of some milliseconds.
    """
    if window_s < JUDGED_S:
        return []
    if metrics["requests_failed"] > metrics["requests_completed"] or "ttft_ms_mean" not in metrics:
        return []
    ttft_ms = metrics["ttft_ms_mean"]
    wanted = metrics["client_cpu_fraction"] + metrics["client_wait_fraction"]
    lag_ms, lag_allowed_ms = metrics.get("client_lag_ms_mean", 0.0), max(LAG_MS, LAG_OF_TTFT * ttft_ms)
    delay_ms = metrics.get("schedule_delay_ms_mean", 0.0)
    delay_allowed_ms = max(DELAY_MS, DELAY_OF_TTFT * ttft_ms)
    achieved = metrics.get("load_achieved_fraction", 1.0)
    problems = []
    if wanted > CORE_FRACTION:
        problems.append(
            f"the load client needed {wanted:.0%} of a core ({metrics['client_cpu_fraction']:.0%} used, "
            f"{metrics['client_wait_fraction']:.0%} waited for), {CORE_FRACTION:.0%} is allowed"
        )
    if lag_ms > lag_allowed_ms:
        problems.append(
            f"the load client was {lag_ms:.1f} ms late in the mean, {lag_allowed_ms:.1f} ms is allowed"
        )
    if delay_ms > delay_allowed_ms:
        problems.append(
            f"requests were sent {delay_ms:.1f} ms late in the mean, {delay_allowed_ms:.1f} ms is allowed"
        )
    if achieved < ACHIEVED_FRACTION:
        what = "requests in flight" if load.mode is Mode.CONCURRENCY else "req/s"
        problems.append(
            f"the load client offered {metrics['load_achieved']:.1f} {what}, {achieved:.0%} of what was "
            f"asked, {ACHIEVED_FRACTION:.0%} is needed"
        )
    return problems


def _processes(used: Sequence[Used]) -> dict[str, float]:
    """Return the shares of a core of the process whose own sum is the greatest, and the lags of all."""
    shares = [(each.cpu_s / each.wall_s, each.wait_s / each.wall_s) for each in used if each.wall_s > 0]
    cpu, wait = max(shares, key=sum, default=(0.0, 0.0))
    lags_s = sorted(lag_s for each in used for lag_s in each.lags_s)
    metrics = {"client_cpu_fraction": cpu, "client_wait_fraction": wait}
    if lags_s:
        metrics["client_lag_ms_mean"] = 1000 * math.fsum(lags_s) / len(lags_s)
        metrics["client_lag_ms_p99"] = 1000 * percentile(lags_s, 99)
    return metrics
