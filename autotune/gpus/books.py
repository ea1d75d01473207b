"""What a pool of GPUs knows: who holds what, and why the rest cannot be used."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from autotune.gpus.packing import Waiting
from autotune.gpus.remains import KeptBack
from autotune.records import Lease


@dataclass(slots=True)
class Out:
    """A lease that is out since `since_s`, and what waited for it."""

    lease: Lease
    since_s: float
    waiting: Waiting


@dataclass(slots=True)
class Books:
    """Who holds what."""

    out: dict[int, Out] = field(default_factory=dict)  # by trial
    taken: set[str] = field(default_factory=set)  # GPU UUIDs in leases
    settling: dict[str, float] = field(default_factory=dict)  # GPU UUID -> since when its memory gets free
    busy: dict[str, float] = field(default_factory=dict)  # GPU UUID -> since when a stranger uses it
    held: set[str] = field(default_factory=set)  # GPU UUIDs that another sweep or a container had last
    why: dict[str, str] = field(default_factory=dict)  # GPU UUID -> why it could not be used at the last look
    aside: dict[str, str] = field(default_factory=dict)  # GPU UUID -> why it is not used any more
    told: dict[str, set[str]] = field(default_factory=dict)  # GPU UUID -> what its user knows
    kept: KeptBack = field(default_factory=KeptBack)  # leases of which an engine may still run

    def soon(self) -> set[str]:
        """Return the GPUs (UUIDs) that trials had which ended, and that are waited for."""
        return self.settling.keys() | self.kept.soon()

    def free(self, lease: Lease, now_s: float) -> None:
        """Give the GPUs of a lease up, and their locks; memory needs its time from now on."""
        for gpu in lease.gpus:
            self.taken.discard(gpu.uuid)
            self.settling[gpu.uuid] = now_s
        for descriptor in lease.locks:
            os.close(descriptor)
