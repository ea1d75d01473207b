"""On what terms GPUs are leased, and what the pool asks of the host around it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from autotune.records import Gpu, GpuStatus

Cores = tuple[tuple[int, ...], tuple[int, ...]]  # of the engine, of the load client


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How GPUs are leased; seconds, fractions 0-1.

    `wait`: GPUs that others compute on are waited for, instead of being set aside. `settle_s`: within
    this a GPU must be free again after a trial.
    """

    max_parallel: int | None = None
    wait: bool = False
    settle_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the pool asks of the host; each can be left out where there is nothing to ask.

    `status` tells how busy GPUs are, `busy` why one cannot be used (None: it can), `held` which GPUs
    running containers hold, `cores` which cores go with GPUs.
    """

    status: Callable[[Sequence[str]], Mapping[str, GpuStatus]] = lambda _uuids: {}
    busy: Callable[[GpuStatus], str | None] = lambda _status: None
    held: Callable[[], Collection[str]] = tuple
    cores: Callable[[Sequence[Gpu]], Cores] = lambda _gpus: ((), ())
    tell: Callable[[str], None] = lambda _text: None
    clock: Callable[[], float] = time.monotonic
