"""Whether a GPU is free: a pure rule on what the driver says of it."""

from __future__ import annotations

import math
from collections.abc import Collection

from autotune.records import GpuStatus


def why_busy(status: GpuStatus, *, min_free_fraction: float, ours: Collection[int]) -> str | None:
    """Return why nobody can have a GPU now, in words about it; None if it is free.

    `ours` are processes that do not count. What the driver does not tell never makes a GPU busy.
    """
    if status.lost:
        return "it is lost"
    others = [str(process) for process in status.processes or () if process not in ours]
    if others:
        return f"process {others[0]} computes on it" if len(others) == 1 else _several(others)
    if status.free_fraction is not None and status.free_fraction < min_free_fraction:
        free = math.floor(round(1000 * status.free_fraction, 6)) / 10  # down: it must not look like enough
        return f"{free:g} % of its memory is free; gpus.min_free_fraction is {min_free_fraction:g}"
    return None


def _several(processes: list[str]) -> str:
    return f"processes {', '.join(processes)} compute on it"
