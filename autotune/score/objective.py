"""From measurements to one score: per GPU first, then medians, then the objective's load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

from autotune.records import THROUGHPUTS, Load, LoadResult, Measurement
from autotune.schema import Direction

if TYPE_CHECKING:
    from autotune.schema import ObjectiveConfig


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
) -> tuple[LoadResult, ...]:
    """Return one result for each load, in the order of the loads: medians over its repeats."""
    loads = dict.fromkeys(item.load for item in measurements)
    return tuple(
        _result(load, [item for item in measurements if item.load == load], objective, gpus, price)
        for load in loads
    )


def best_result(results: Sequence[LoadResult], objective: ObjectiveConfig) -> LoadResult | None:
    """Return the result at the load that the objective names; None if it was not measured.

    `best` is the load with the best score; `lowest` and `highest` the ends of those measured.
    """
    scored = [result for result in results if result.score is not None]
    if not scored:
        return None
    if objective.load == "best":
        return min(scored, key=lambda result: order_key(result.score, objective.direction))
    if objective.load in {"lowest", "highest"}:
        pick = min if objective.load == "lowest" else max
        return pick(scored, key=lambda result: result.load.value)
    return next((r for r in scored if f"{r.load.value:g}" == objective.load), None)


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


def overlap(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether the ranges of two sets of repeats overlap, so that their order may be noise."""
    if not first or not second:
        return True
    return min(first) <= max(second) and min(second) <= max(first)


def _with_price(metrics: dict[str, float], gpus: int, price: float | None) -> dict[str, float]:
    cost = None if price is None else usd_per_mtok(metrics, gpus, price)
    return metrics if cost is None else {**metrics, "usd_per_mtok": cost}


def _result(
    load: Load,
    repeats: Sequence[Measurement],
    objective: ObjectiveConfig,
    gpus: int,
    price: float | None,
) -> LoadResult:
    rows = [_with_price(per_gpu(item.metrics, gpus), gpus, price) for item in repeats]
    names = dict.fromkeys(name for row in rows for name in row)
    metrics = {name: median(row[name] for row in rows if name in row) for name in names}
    name = ranked_metric(objective, gpus)
    values = tuple(row[name] for row in rows if name in row)
    return LoadResult(
        load=load,
        metrics=metrics,
        score=median(values) if values else None,
        score_repeats=values,
    )
