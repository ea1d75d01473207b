"""The sweep that this process works on: how `cli.py` hands it to Hydra's plugins and task function."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autotune.sweep import Sweep

_sweeps: list[Sweep] = []


@contextmanager
def activate(sweep: Sweep) -> Iterator[None]:
    """Make `sweep` the active one."""
    _sweeps.append(sweep)
    try:
        yield
    finally:
        _sweeps.remove(sweep)


def active() -> Sweep:
    """Return the active sweep.

    Raises: RuntimeError if Hydra's plugins are used without `python -m autotune`.
    """
    if not _sweeps:
        raise RuntimeError("no sweep is open: start it with python -m autotune")
    return _sweeps[-1]
