"""From measurements to one score: the repeats together, per GPU, then the objective's load."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autotune.plan.slo import bounds_of
from autotune.records import (
    ERROR_RATE,
    LATENCIES,
    STATISTICS,
    THROUGHPUTS,
    Load,
    LoadResult,
    Measurement,
    Verdict,
)
from autotune.schema import Direction, SloConfig, SloMode
from autotune.score import outliers
from autotune.score.batches import Batches
from autotune.score.estimates import Estimate, estimates, inverse, scaled
from autotune.score.slo import error_rate, is_overrun, judge, penalty

if TYPE_CHECKING:
    from autotune.schema import ObjectiveConfig

Cuts = Mapping[tuple[Load, int], Batches]
"""What is known of the noise within each measurement, by its load and repeat."""

STATED = (*THROUGHPUTS, *(f"{name}_{kind}" for name in LATENCIES for kind in STATISTICS), "slo_attainment")
"""Metrics of which the noise is stated, with those derived from them and whatever the objective names."""


def per_gpu(metrics: Mapping[str, float], gpus: int) -> dict[str, float]:
    """Return `metrics` with `<throughput>_per_gpu` = throughput / GPUs added.

    With an unknown number of GPUs (0) nothing is added: a guess would rank.
    """
    if gpus < 1:
        return dict(metrics)
    derived = {f"{name}_per_gpu": metrics[name] / gpus for name in THROUGHPUTS if name in metrics}
    return {**metrics, **derived}


def usd_per_mtok(metrics: Mapping[str, float], gpus: int, usd_per_hour: float) -> float | None:
    """Return the price of a million output tokens: GPUs · $/h ÷ (tokens/s · 3600) · 10^6."""
    rate = metrics.get("output_tokens_per_s", 0.0)
    return gpus * usd_per_hour / (rate * 3600) * 1e6 if rate > 0 and gpus > 0 else None


def ranked_metric(objective: ObjectiveConfig, gpus: int) -> str:
    """Return the metric that ranks: the absolute one only where the number of GPUs is unknown."""
    if gpus < 1 and objective.metric.endswith("_per_gpu"):
        return objective.metric.removesuffix("_per_gpu")
    return objective.metric


def summarize(
    measurements: Sequence[Measurement],
    objective: ObjectiveConfig,
    gpus: int,
    *,
    price: float | None,
    cuts: Cuts | None = None,
    slo: SloConfig | None = None,
    strict: bool = False,
) -> tuple[LoadResult, ...]:
    """Return one result for each load, lowest first: its repeats put together (`estimates`), and judged.

    With `strict` a load of which the noise leaves it open does not meet its bounds, nor an overrun rate.
    """
    loads = sorted(dict.fromkeys(item.load for item in measurements), key=lambda load: load.value)
    found = (
        _result([item for item in measurements if item.load == load], objective, gpus, price, cuts or {})
        for load in loads
    )
    if slo is None:
        return tuple(found)
    return tuple(_judged(result, slo, objective.direction, strict=strict) for result in found)


def best_result(
    results: Sequence[LoadResult],
    objective: ObjectiveConfig,
    slo_mode: SloMode = SloMode.constraint,
) -> LoadResult | None:
    """Return the result at the load that the objective names; None if it was not measured.

    `best` is the load with the best score that ranks; where none does, because the client limited all of
    them, the one with the best score. `lowest` and `highest` are the ends of those measured. A load
    that misses its bounds is not chosen where another meets them, unless it is named, or ranks all the same.
    """
    scored = [result for result in results if result.score is not None]
    if not scored:
        return None
    if objective.load not in {"best", "lowest", "highest"}:
        return next((r for r in scored if f"{r.load.value:g}" == objective.load), None)
    if slo_mode is SloMode.constraint:
        meeting = [result for result in scored if result.meets]
        if not meeting and objective.load != "lowest":
            return min(scored, key=lambda result: _missed(result.slo))
        scored = meeting or scored
    if objective.load == "best":
        ranking = [result for result in scored if result.ranks] or scored
        return min(ranking, key=lambda result: order_key(result.score, objective.direction))
    pick = min if objective.load == "lowest" else max
    return pick(scored, key=lambda result: result.load.value)


def order_key(score: float | None, direction: Direction) -> float:
    """Return a number that is lower for a better score; a missing score comes last."""
    if score is None:
        return float("inf")
    return -score if direction is Direction.maximize else score


def gain(best: float, other: float, direction: Direction) -> float:
    """Return by which fraction `best` is better than `other`: 0.1 is 10 % better."""
    if direction is Direction.maximize:
        return best / other - 1 if other else float("inf")
    return 1 - best / other if other else 0.0


def _result(
    repeats: Sequence[Measurement],
    objective: ObjectiveConfig,
    gpus: int,
    price: float | None,
    cuts: Cuts,
) -> LoadResult:
    repeats = sound(repeats)
    known = [cuts.get((item.load, item.repeat)) for item in repeats]
    found = estimates([item.metrics for item in repeats], known)
    found |= _derived(found, [item.metrics for item in repeats], gpus, price)
    name = ranked_metric(objective, gpus)
    rows = [_with_price(per_gpu(item.metrics, gpus), gpus, price) for item in repeats]
    values = tuple(row[name] for row in rows if name in row)
    stated = {key: item for key, item in found.items() if _stated(key) or key == name}
    score = found.get(name)
    metrics = {key: item.value for key, item in found.items()}
    failing = error_rate(metrics.get("requests_completed", 0.0), metrics.get("requests_failed", 0.0))
    return LoadResult(
        load=repeats[0].load,
        metrics=metrics if failing is None else {**metrics, ERROR_RATE: failing},
        score=None if score is None else score.value,
        score_repeats=values,
        score_interval=None if score is None else score.interval,
        intervals={key: item.interval for key, item in stated.items() if item.interval is not None},
        deviations={key: item.deviation for key, item in stated.items() if item.deviation is not None},
        outliers=(*outliers.of_repeats(name, values), *outliers.of_requests(known)),
        client_bound=tuple(dict.fromkeys(text for item in repeats for text in item.client_bound)),
    )


def _judged(result: LoadResult, slo: SloConfig, direction: Direction, *, strict: bool) -> LoadResult:
    """The result with its verdict; where violations are to cost something, with what is left of its score."""
    verdict = judge(result.metrics, result.intervals, bounds_of(slo))
    if strict:
        verdict = replace(verdict or Verdict(), strict=True, overrun=is_overrun(result))
    if verdict is not None and slo.mode is SloMode.penalty:
        verdict = replace(verdict, constraint=False)
    result = replace(result, slo=verdict)
    if verdict is None or verdict.constraint or verdict.meets or result.score is None:
        return result
    factor = penalty(verdict) if direction is Direction.maximize else 1 / penalty(verdict)
    known = Estimate(value=result.score, deviation=None, interval=result.score_interval)
    less = scaled(known, factor)
    return replace(
        result,
        score=less.value,
        score_interval=less.interval,
        score_repeats=tuple(value * factor for value in result.score_repeats),
    )


def _missed(verdict: Verdict | None) -> float:
    """By how much bounds are missed; what nobody knows is worst."""
    return 0.0 if verdict is None else math.inf if verdict.unknown else verdict.excess


def sound(repeats: Sequence[Measurement]) -> Sequence[Measurement]:
    """Return the repeats at a load that count: without those that the client limited, if these are fewer."""
    free = [item for item in repeats if not item.client_bound]
    return free if 2 * len(free) > len(repeats) else repeats


def left_out(measurements: Sequence[Measurement]) -> list[str]:
    """Return notes on the repeats that do not count."""
    notes = []
    for load in dict.fromkeys(item.load for item in measurements):
        repeats = [item for item in measurements if item.load == load]
        bound = [item for item in repeats if item not in sound(repeats)]
        if bound:
            why = "; ".join(dict.fromkeys(text for item in bound for text in item.client_bound))
            notes.append(
                f"{load}: {len(bound)} of {len(repeats)} repeats do not count, the client limited them: {why}"
            )
    return notes


def _derived(
    found: Mapping[str, Estimate],
    rows: Sequence[Mapping[str, float]],
    gpus: int,
    price: float | None,
) -> dict[str, Estimate]:
    """What follows from the throughputs: for each GPU, and the price of a million tokens."""
    if gpus < 1:
        return {}
    derived = {f"{name}_per_gpu": scaled(found[name], 1 / gpus) for name in THROUGHPUTS if name in found}
    rate = found.get("output_tokens_per_s")
    if price is not None and rate is not None:
        costs = [cost for row in rows if (cost := usd_per_mtok(row, gpus, price)) is not None]
        together = inverse(rate, gpus * price / 3600 * 1e6, costs)
        if together is not None:
            derived["usd_per_mtok"] = together
    return derived


def _stated(name: str) -> bool:
    return name.removesuffix("_per_gpu") in STATED or name == "usd_per_mtok"


def _with_price(metrics: dict[str, float], gpus: int, price: float | None) -> dict[str, float]:
    cost = None if price is None else usd_per_mtok(metrics, gpus, price)
    return metrics if cost is None else {**metrics, "usd_per_mtok": cost}
