"""Which waiting trials start now. A pure policy."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.records import Gpu


def pack(waiting: Sequence[int], free: Sequence[Gpu], room: int) -> list[tuple[int, tuple[Gpu, ...]]]:
    """Return (position in `waiting`, GPUs) of the trials to start, first come first served.

    `waiting` holds the GPUs each trial needs, `room` how many more trials may run side by side.
    A trial that does not fit is passed over by those behind it that do (backfill). All GPUs of a
    trial are on one node. No GPU is given twice.
    """
    left = list(free)
    chosen: list[tuple[int, tuple[Gpu, ...]]] = []
    for position, width in enumerate(waiting):
        if len(chosen) >= room:
            break
        gpus = _on_one_node(left, width)
        if gpus is None:
            continue
        chosen.append((position, gpus))
        left = [gpu for gpu in left if gpu not in gpus]
    return chosen


def _on_one_node(free: Sequence[Gpu], width: int) -> tuple[Gpu, ...] | None:
    for node in dict.fromkeys(gpu.node for gpu in free):
        there = [gpu for gpu in free if gpu.node == node]
        if len(there) >= width:
            return tuple(there[:width])
    return () if width == 0 else None
