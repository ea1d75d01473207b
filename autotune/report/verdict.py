"""Who won, whether it is a tie, and what there is to doubt about the numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autotune.records import ATTAINMENT, Status
from autotune.schema import Direction
from autotune.score.objective import gain
from autotune.score.ranking import Ranked, Ranking
from autotune.track.judged import missed

SHOWN = 5  # trials whose outliers are told
MORE_CLIENT = (
    "give the load client more cores (launcher.client_cores), more processes (benchmark=native: "
    "benchmark.processes), or take another client (benchmark=...)"
)


def verdict(ranking: Ranking, metric: str, started: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines about the winner: its score, how it stands to the SLO, who may be as good.

    `started` is the sweep's first event.
    """
    objective, asked = started["objective"], started.get("slo", {})
    best = ranking.winner
    if best is None:
        yield _nobody(ranking)
        return
    load, repeats = best.finished["load"], len(best.finished["score_repeats"])
    how = f"mean of {repeats}" if repeats > 1 else "measured once"
    mark = " (simulated)" if started["simulated"] else ""
    yield (
        f"winner  {best.queued['label']}: {score_text(best)} {metric} at {load['mode']} {load['value']:g}, "
        f"{how}{mark}"
    )
    yield from _within(best.finished.get("slo"), asked)
    direction = Direction(objective["direction"])
    tied, unknown = ranking.tied, ranking.unknown
    if tied:
        named = ", ".join(f"{row.queued['label']}{_apart(best, row, direction)}" for row in tied)
        yield f"        a tie with {named}: within the noise"
        yield from _cheapest([best, *tied])
    doubtful = {row.trial for row in (*tied, *unknown)}
    behind = next((row for row in ranking.others if row.trial not in doubtful), None)
    if behind is not None:
        yield f"        {_lead(best, behind, direction)}: more than the noise"
    if unknown:
        yield f"        {_lead(best, unknown[0], direction)}; {_why_unknown(best, unknown)}"


def doubts(rows: Sequence[Ranked]) -> list[str]:
    """Return notes on measurements that the client limited, and on outliers."""
    notes = [_bound(row) for row in rows if row.finished.get("by_load") and _bound_loads(row)]
    odd = [row for row in rows if row.finished.get("outliers")]
    for row in odd[:SHOWN]:
        notes += [f"{row.queued['label']}: {_outliers(found)}" for found in row.finished["outliers"]]
    if len(odd) > SHOWN:
        notes.append(f"{len(odd) - SHOWN} more trials have outliers: see outliers in journal.jsonl")
    return notes


def score_text(row: Ranked) -> str:
    """Return a score with the half-width of its 95 % interval; `?`: its noise is unknown."""
    if row.finished["score"] is None:
        return "–"
    value, interval = float(row.finished["score"]), row.noisy.interval
    if interval is None:
        return f"{number(value)} ± ?"
    half = interval.half_width
    digits = 1 if half >= 1 or half <= 0 else min(6, 1 - math.floor(math.log10(half)))
    return f"{value:.{digits}f} ± {half:.{digits}f}"


def number(value: float | None) -> str:
    """Return a value as the table shows it."""
    return "–" if value is None else f"{value:.1f}"


def _within(record: Mapping[str, Any] | None, asked: Mapping[str, Any]) -> Iterator[str]:
    """How the winner stands to the bounds."""
    if record is None:
        return
    if not record["meets"]:
        yield f"        outside the SLO, ranked with a penalty: {missed(record)}"
        return
    signs = {ATTAINMENT: ">="}
    bounds = ", ".join(f"{name} {signs.get(name, '<=')} {value:g}" for name, value in asked["bounds"].items())
    doubt = f"; within the noise it may not: {', '.join(record['doubtful'])}" if record["doubtful"] else ""
    room = f"{1 - record['ratio']:.0%} of what is allowed is left" if record["ratio"] < 1 else "just met"
    yield f"        within the SLO ({bounds}): {room}{doubt}"


def _nobody(ranking: Ranking) -> str:
    outside = [row for row in ranking.rows if row.finished["status"] == Status.SLO_VIOLATED.value]
    if outside:
        best = min(outside, key=lambda row: float(row.finished["slo"]["excess"]))
        load = best.finished["load"]
        return (
            f"no winner: nothing met the SLO at any load; nearest was {best.queued['label']} at "
            f"{load['mode']} {load['value']:g}: {missed(best.finished['slo'])}"
        )
    if any(row.finished.get("client_bound") for row in ranking.rows):
        return f"no winner: the load client was the limit of everything that was measured; {MORE_CLIENT}"
    return "no trial succeeded"


def _apart(best: Ranked, row: Ranked, direction: Direction) -> str:
    lead = gain(best.finished["score"], row.finished["score"], direction)
    gpus = int(row.queued["plan"]["gpus"])
    width = f", {gpus} {_gpus(gpus)}" if gpus else ""
    return f" ({lead:.1%} apart{width})"


def _cheapest(rows: Sequence[Ranked]) -> Iterator[str]:
    """Among equals the one that needs the fewest GPUs."""
    widths = {row.trial: int(row.queued["plan"]["gpus"]) for row in rows}
    least = min(rows, key=lambda row: widths[row.trial])
    fewest = widths[least.trial]
    if fewest > 0 and fewest < max(widths.values()):
        yield f"        of these {least.queued['label']} needs the fewest GPUs: {fewest}"


def _gpus(count: int) -> str:
    return "GPU" if count == 1 else "GPUs"


def _lead(best: Ranked, row: Ranked, direction: Direction) -> str:
    lead = gain(best.finished["score"], row.finished["score"], direction)
    return f"{lead:.1%} better than {row.queued['label']}"


def _why_unknown(best: Ranked, unknown: Sequence[Ranked]) -> str:
    whose = [best, *unknown] if best.noisy.interval is None else unknown
    once = all(len(row.finished["score_repeats"]) < 2 for row in whose)
    more = f", as against {len(unknown) - 1} more" if len(unknown) > 1 else ""
    if once:
        return f"measured once, so the noise is unknown{more} (measure.repeats)"
    return f"the noise is unknown{more}"


def _bound_loads(row: Ranked) -> list[Mapping[str, Any]]:
    return [result for result in row.finished["by_load"] if result.get("client_bound")]


def _bound(row: Ranked) -> str:
    loads = _bound_loads(row)
    where = ", ".join(f"{result['load']['mode']} {result['load']['value']:g}" for result in loads)
    why = "; ".join(dict.fromkeys(text for result in loads for text in result["client_bound"]))
    return f"{row.queued['label']}: not ranked at {where}: {why}; {MORE_CLIENT}"


def _outliers(found: Mapping[str, Any]) -> str:
    count, total, metric = found["count"], found["total"], found["metric"]
    far = f"{found['worst']:.1f}, where {found['limit']:.1f} is far"
    kept = "kept in every number"
    if found["kind"] == "repeats":
        return f"{count} of {total} repeats unlike the others in {metric} ({far}): {kept}"
    return f"{count} of {total} requests far slower than the others in {metric} (up to {far}): {kept}"
