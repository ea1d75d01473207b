"""What an engine's metrics say of a measured window, and as series over a trial."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from autotune.observe.page import FOUND, GAUGES, LOOKED_UP, MISSED, PREEMPTIONS, Page, gauge
from autotune.observe.sampler import Reading
from autotune.observe.windows import Window, increase

Pages = Sequence[Reading[Page]]
SECTION = "server/"


def summarize_engine(pages: Pages, window: Window) -> dict[str, float]:
    """Return the `server/…` metrics of a window; what the engine does not tell is left out."""
    metrics: dict[str, float] = {}
    inside = window.inside(pages)
    for name in GAUGES:
        values = [value for page in inside if (value := gauge(page.value, name)) is not None]
        if values:
            metrics |= {f"{SECTION}{name}_mean": fmean(values), f"{SECTION}{name}_max": max(values)}
    around = window.around(pages)
    preempted = _grown(around, PREEMPTIONS)
    if preempted is not None:
        metrics[f"{SECTION}preemptions"] = preempted
    rate = hit_rate(around)
    if rate is not None:
        metrics[f"{SECTION}prefix_cache_hit_rate"] = rate
    return metrics


def hit_rate(pages: Pages) -> float | None:
    """Return which share of what was looked up in the prefix cache was there, from first to last page.

    None if nothing was looked up, or it is not told. A counter of hits may be missing until there is one.
    """
    found = _grown(pages, FOUND) or 0.0
    looked_up = _grown(pages, LOOKED_UP)
    if looked_up is None:
        missed = _grown(pages, MISSED)
        looked_up = None if missed is None else missed + found
    return min(1.0, found / looked_up) if looked_up else None


def engine_series(pages: Pages) -> Iterator[tuple[float, dict[str, float]]]:
    """Yield the time and the values of each reading, under the names of MLflow's series."""
    preempted = 0.0
    for place, page in enumerate(pages):
        values = {
            f"{SECTION}{name}": value for name in GAUGES if (value := gauge(page.value, name)) is not None
        }
        step = pages[max(0, place - 1) : place + 1]
        if PREEMPTIONS in page.value:
            preempted += _grown(step, PREEMPTIONS) or 0.0
            values[f"{SECTION}preemptions_total"] = preempted
        recent = hit_rate(step)
        if recent is not None:
            values[f"{SECTION}prefix_cache_hit_rate_recent"] = recent
        yield page.at_s, values


def untold(pages: Pages) -> list[str]:
    """Return what no page told, in words."""
    told = {name for page in pages for name in page.value}
    wanted = {
        "the use of the KV cache": {"kv_cache_usage"},
        "running requests": {"running"},
        "waiting requests": {"waiting"},
        "preemptions": {PREEMPTIONS},
        "hits of the prefix cache": {LOOKED_UP, MISSED},
    }
    return [words for words, names in wanted.items() if not names & told]


def _grown(pages: Pages, name: str) -> float | None:
    """By how much a counter grew; 0 before it has appeared, None if it never does."""
    counts = [page.value.get(name, {}) for page in pages]
    return increase(counts) if any(counts) else None
