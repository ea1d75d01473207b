"""From the requests that a client of others reports to a measurement in our words."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from autotune.benchmark.client.bottleneck import JUDGED_S
from autotune.benchmark.external.tool import Report, Task, UnreadableReport
from autotune.benchmark.metrics import RequestRecord, errors_by_kind, summarize, within
from autotune.errors import TrialError
from autotune.records import Load, Measurement, Mode

ACHIEVED_FRACTION = 0.9
"""Of the requests that were to be in flight. Less is asked than of the native client: these need some
milliseconds between two requests of one slot, also on an idle machine: 6 to 9 % of answers of 0.1 s."""
OF_THE_GOOD = ("goodput_requests_per_s", "slo_attainment")
"""Metrics that nobody can say where a latency is bound of which the client tells nothing."""

BURSTS = 10.0  # times the root of a count: how far a rate may lie off; twice Poisson's five deviations
AGREES = 0.02  # of a mean: how far a client's own summary may lie from its own requests
AGREES_MS = 0.5  # and this, where a mean is small


def measurement_of(
    task: Task, report: Report, *, used: Mapping[str, float], notes: Sequence[str]
) -> Measurement:
    """Return what was measured; `used` is what the client needed for it.

    Raises: UnreadableReport if the report does not agree with itself, or not with what was asked for;
    TrialError `all_requests_failed`.
    """
    request, records = task.request, _from_begin(report.records)
    measured = [record for record in records if record.phase == "measure"]
    if len(measured) != task.measured:
        raise UnreadableReport(f"it tells of {len(measured)} requests, {task.measured} were to be measured")
    if report.stated:
        _check(summarize(measured, window_s=0), report.stated)
    records, measured = _in_time(records, request.timeout_s), _in_time(measured, request.timeout_s)
    good = [record for record in measured if record.error is None]
    if not good:
        raise _all_failed(measured)
    window_s = report.window_s or max(record.ended_s for record in measured)
    limits = request.limits
    metrics = summarize(records, window_s=0 if report.window_s else window_s, limits=limits)
    metrics |= report.throughputs
    if report.throughputs:
        kept = sum(within(record, limits) for record in good) / len(good)
        metrics["goodput_requests_per_s"] = kept * metrics["requests_per_s"]
    if any(math.isfinite(getattr(limits, name, math.inf)) for name in report.lacks):
        metrics = {name: value for name, value in metrics.items() if name not in OF_THE_GOOD}
    lacking = tuple(f"{name}_" for name in report.lacks)
    metrics = {name: value for name, value in metrics.items() if not name.startswith(lacking or ("\0",))}
    offered = {} if report.window_s else _offered(records, request.load, window_s)
    raw = _write(task, records) if not report.lacks else None
    return Measurement(
        load=request.load,
        repeat=request.repeat,
        metrics={"load": request.load.value, **metrics, **offered, **used},
        requests_completed=len(good),
        requests_failed=len(measured) - len(good),
        errors=errors_by_kind(records),
        duration_s=window_s,
        raw=raw,
        client_bound=tuple(_bound(measured, offered, request.load)),
        notes=tuple(f"{request.load}: {text}" for text in (*notes, *report.notes)),
    )


def _from_begin(records: Sequence[RequestRecord]) -> list[RequestRecord]:
    """The same with times from when the first measured one was sent, in the order of sending."""
    if not records:
        return []
    begin_s = min((r.sent_s for r in records if r.phase == "measure"), default=records[0].sent_s)

    def moved(stamp_s: float) -> float:
        return round(stamp_s - begin_s, 6)

    return sorted(
        (
            replace(
                record,
                sent_s=moved(record.sent_s),
                begun_s=moved(record.begun_s),
                ended_s=moved(record.ended_s),
                chunks_s=tuple(moved(stamp) for stamp in record.chunks_s),
            )
            for record in records
        ),
        key=lambda record: record.sent_s,
    )


def _in_time(records: Sequence[RequestRecord], timeout_s: float) -> list[RequestRecord]:
    """An answer that took longer than a request may take is a failure, also of a client that waits for it."""
    return [
        replace(record, error="timeout", detail=f"it took longer than {timeout_s:g} s")
        if record.error is None and record.ended_s - record.sent_s > timeout_s
        else record
        for record in records
    ]


def _check(metrics: Mapping[str, float], stated: Mapping[str, float]) -> None:
    """A summary and the requests under it are two ways to the same numbers: a unit that changed shows."""
    for name, value in stated.items():
        own = metrics.get(name)
        if own is None or not math.isfinite(value):
            raise UnreadableReport(f"its summary says {name}={value:g}, and its requests say nothing of it")
        if abs(own - value) > max(AGREES * abs(own), AGREES_MS):
            raise UnreadableReport(f"its summary says {name}={value:g}, and its requests {own:g}")


def _offered(records: Sequence[RequestRecord], load: Load, window_s: float) -> dict[str, float]:
    """What load there was. A client that sends no filler drains at its end: that is not held against it."""
    if window_s <= 0:
        return {}
    in_flight = _in_flight(records, window_s)
    begun_s = [record.begun_s for record in records if record.phase == "measure"]
    last_s = max(begun_s)
    if load.mode is Mode.RATE and last_s > 0:
        return {"in_flight_mean": in_flight, "load_achieved": (len(begun_s) - 1) / last_s}
    if last_s < JUDGED_S:
        return {"in_flight_mean": in_flight}
    held = _in_flight(records, last_s)
    return {
        "in_flight_mean": in_flight,
        "load_achieved": held,
        "load_achieved_fraction": held / load.value,
    }


def _in_flight(records: Sequence[RequestRecord], until_s: float) -> float:
    """The mean of requests on their way from B to `until_s`."""
    flying_s = (max(0.0, min(r.ended_s, until_s) - max(r.begun_s, 0.0)) for r in records)
    return math.fsum(flying_s) / until_s


def _bound(records: Sequence[RequestRecord], offered: Mapping[str, float], load: Load) -> list[str]:
    """Why the client limited what was measured; where most requests failed nothing is said."""
    if load.mode is Mode.RATE:
        return _other_rate(len(records), offered, load)
    failed = sum(record.error is not None for record in records)
    achieved = offered.get("load_achieved_fraction", 1.0)
    if achieved >= ACHIEVED_FRACTION or 2 * failed > len(records):
        return []
    return [
        f"the load client kept {offered['load_achieved']:.1f} of {load.value:g} requests in flight, "
        f"{achieved:.0%}, {ACHIEVED_FRACTION:.0%} is needed"
    ]


def _other_rate(many: int, offered: Mapping[str, float], load: Load) -> list[str]:
    """A rate that no draw of so many arrivals explains: five standard deviations, of bursts too."""
    achieved, far = offered.get("load_achieved", load.value), max(0.1, BURSTS / math.sqrt(many))
    if abs(achieved / load.value - 1) <= far:
        return []
    return [f"the load client sent {achieved:.1f} req/s, {load.value:g} were asked for"]


def _write(task: Task, records: Sequence[RequestRecord]) -> Path:
    """The requests as the native client leaves them: the noise of a repeat is worked out of them."""
    raw = task.folder.with_name(f"{task.folder.name}.requests.json")
    raw.write_text(json.dumps([asdict(record) for record in records]))
    return raw


def _all_failed(records: Sequence[RequestRecord]) -> TrialError:
    errors = errors_by_kind(records)
    most = max(errors, key=lambda kind: errors[kind])
    detail = next(record.detail for record in records if record.error == most)
    return TrialError(
        "all_requests_failed",
        f"all {sum(errors.values())} measured requests failed, {errors[most]} of them with {most}",
        evidence=" ".join(detail.split()),
        advice="read engine.log of the trial; model.served_name must be the name that the engine serves",
    )
