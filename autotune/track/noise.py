"""How sure the numbers of a trial are, as the journal keeps it and as MLflow shows it.

In MLflow:

| metric | is |
|---|---|
| `score_low`, `score_high` | the 95 % interval of `score`; missing where the noise is unknown |
| `score_std` | the standard deviation of the score over the repeats |
| `repeats` | how many there were at the chosen load |
| `<metric>_std` | the standard deviation of a metric over the repeats |
| `ci95/<metric>_low`, `ci95/<metric>_high` | its 95 % interval: a chart section of its own |
| `outliers/repeats`, `outliers/requests` | values far from the others; they are in every number |

Like the metrics themselves they are of the load that the objective chose; the journal has those of all loads.
The tag `autotune.client_bound` says at which loads the load client was the limit, and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from statistics import stdev
from typing import Any

from autotune.records import Interval, LoadResult

Event = Mapping[str, Any]


def noise_record(result: LoadResult | None) -> dict[str, Any]:
    """Return what is known of the noise at one load, and whether the client was the limit."""
    if result is None:
        return {
            "score_repeats": [],
            "score_interval": None,
            "std": {},
            "intervals": {},
            "outliers": [],
            "client_bound": [],
        }
    return {
        "score_repeats": list(result.score_repeats),
        "score_interval": interval_record(result.score_interval),
        "std": dict(result.deviations),
        "intervals": {name: interval_record(item) for name, item in result.intervals.items()},
        "outliers": [asdict(item) for item in result.outliers],
        "client_bound": list(result.client_bound),
    }


def interval_record(interval: Interval | None) -> dict[str, Any] | None:
    """Return an interval as plain data; null is unknown."""
    return None if interval is None else asdict(interval)


def noise_columns(event: Event) -> dict[str, float]:
    """Return the columns of a `trial_finished`; those of early versions have hardly any."""
    repeats = event["score_repeats"]
    columns: dict[str, float] = {"repeats": len(repeats)} if repeats else {}
    if event["score"] is not None:
        interval = event.get("score_interval")
        columns |= _ends("score", interval) if interval else {}
        columns |= {"score_std": stdev(repeats)} if len(repeats) > 1 else {}
    columns |= {f"{name}_std": value for name, value in event.get("std", {}).items()}
    for name, interval in event.get("intervals", {}).items():
        columns |= _ends(f"ci95/{name}", interval)
    for found in event.get("outliers", ()):
        name = f"outliers/{found['kind']}"
        columns[name] = max(found["count"], columns.get(name, 0))
    return columns


def client_bound(event: Event) -> str:
    """Return at which loads the load client was the limit, and why; nothing if it was not."""
    return "; ".join(
        f"{result['load']['mode']} {result['load']['value']:g}: {', '.join(result['client_bound'])}"
        for result in event["by_load"]
        if result.get("client_bound")
    )


def _ends(name: str, interval: Mapping[str, float]) -> dict[str, float]:
    return {f"{name}_low": interval["low"], f"{name}_high": interval["high"]}
