"""The service-level objective as the journal keeps it: what is asked, and how each load stands to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from autotune.plan.slo import bounds_of, request_limits
from autotune.records import LoadResult, RequestLimits
from autotune.schema import SloConfig


def asked_record(slo: SloConfig) -> dict[str, Any]:
    """Return what is asked of every trial of a sweep; empty without an objective."""
    bounds, limits = bounds_of(slo), request_limits(slo)
    if not bounds:
        return {}
    alone = asdict(RequestLimits())
    return {
        "mode": slo.mode.value,
        "bounds": {bound.metric: bound.value for bound in bounds},
        "request": {name: value for name, value in asdict(limits).items() if value != alone[name]},
    }


def verdict_record(result: LoadResult | None) -> dict[str, Any] | None:
    """Return how a load stands to its bounds; None where it has none."""
    if result is None or result.slo is None:
        return None
    verdict = result.slo
    return {
        "meets": verdict.meets,
        "shown": verdict.shown,
        "ratio": verdict.ratio,
        "excess": verdict.excess,
        "violations": [
            {"metric": each.bound.metric, "bound": each.bound.value, "measured": each.measured}
            for each in verdict.violations
        ],
        "doubtful": list(verdict.doubtful),
        "overrun": verdict.overrun,
        "unknown": list(verdict.unknown),
    }


def missed(record: Mapping[str, Any] | None) -> str:
    """Return in words by how much bounds are missed; nothing where they are met."""
    if record is None or record["meets"]:
        return ""
    unknown = [f"{metric} unknown" for metric in record["unknown"]]
    overrun = ["fewer requests come out than go in"] if record["overrun"] else []
    found = [*map(_missed, record["violations"]), *unknown, *overrun]
    return ", ".join(found or [f"{metric} within the noise of its bound" for metric in record["doubtful"]])


def _missed(violation: Mapping[str, Any]) -> str:
    measured, bound = float(violation["measured"]), float(violation["bound"])
    way, apart = ("above", measured - bound) if measured > bound else ("below", bound - measured)
    far = f" ({apart / bound:.0%} {way})" if bound else ""
    return f"{violation['metric']} {measured:.4g}, {bound:g} is the bound{far}"
