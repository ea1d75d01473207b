"""`series.jsonl` of a trial: one line for each sample, as it goes to MLflow.

`{"time_ms": 1795610431123, "at_s": 12.0, "load": 8, "repeat": 0, "values": {"server/running": 8.0}}`:
milliseconds since the epoch, seconds since the engine was ready, and the values by their names; `load` and
`repeat` where the sample lies in a measured window.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotune.observe.windows import Window
from autotune.records import Load

NAME = "series.jsonl"
MOST_POINTS = 500  # of one series in MLflow
MOST_VALUES = 2000  # of all series of a trial there: each takes 0.3 ms of CPU to write
GPU_MARK = '"system/gpu_'  # in every line on GPUs, and in no other


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A window that was measured, and what was offered in it."""

    load: Load
    repeat: int
    window: Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """What turns a sampler's time into others: the epoch at its zero, and when the engine was ready."""

    epoch_s: float
    ready_s: float


def write_series(
    folder: Path,
    samples: Iterable[tuple[float, Mapping[str, float]]],
    *,
    clock: Clock,
    measured: Iterable[Measured],
) -> None:
    """Write the file, whole or not at all; without a value there is none.

    Raises: OSError if it cannot be written.
    """
    windows = list(measured)
    lines = [
        json.dumps(_row(at_s, values, clock, windows))
        for at_s, values in sorted(samples, key=lambda sample: sample[0])
        if values
    ]
    if lines:
        part = folder / f"{NAME}.part"
        part.write_text("".join(f"{line}\n" for line in lines))
        part.replace(folder / NAME)


def _row(at_s: float, values: Mapping[str, float], clock: Clock, windows: list[Measured]) -> dict[str, Any]:
    found = next((one for one in windows if one.window.begin_s <= at_s <= one.window.end_s), None)
    where = {} if found is None else {"load": found.load.value, "repeat": found.repeat}
    times = {"time_ms": round((clock.epoch_s + at_s) * 1000), "at_s": round(at_s - clock.ready_s, 3)}
    return {**times, **where, "values": dict(values)}


def read_points(folder: Path) -> Iterator[tuple[str, float, int, int]]:
    """Yield (name, value, time in ms, whole seconds since the engine was ready) for MLflow.

    A long trial is thinned: of each series at most `MOST_POINTS` stay, evenly chosen, and fewer where there
    are many series. Lines that do not stay are not even parsed: an hour on eight GPUs has many.
    """
    path = folder / NAME
    lines = path.read_text().splitlines() if path.exists() else []
    of_gpus = [line for line in lines if GPU_MARK in line]
    of_engine = [line for line in lines if GPU_MARK not in line]
    series = sum(len(json.loads(some[0])["values"]) for some in (of_gpus, of_engine) if some)
    most = max(2, min(MOST_POINTS, MOST_VALUES // max(1, series)))
    for line in (*thinned(of_engine, most), *thinned(of_gpus, most)):
        row = json.loads(line)
        for name, value in row["values"].items():
            yield name, value, row["time_ms"], int(row["at_s"])


def thinned(points: list[Any], most: int) -> list[Any]:
    """Return at most `most` points, the first and the last among them, evenly chosen."""
    if len(points) <= most:
        return points
    return [points[round(place * (len(points) - 1) / (most - 1))] for place in range(most)]
