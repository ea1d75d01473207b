"""Leases: no GPU is ever in two of them, in this process or in another of this host."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from autotune.gpus.locks import GpuLocks
from autotune.gpus.packing import Policy, Running, Situation, Waiting, pack
from autotune.gpus.placement import health_of
from autotune.records import Gpu, GpuStatus, Inventory, Lease

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


@dataclass(slots=True)
class _Out:
    """A lease that is out."""

    lease: Lease
    since_s: float
    waiting: Waiting


@dataclass(slots=True)
class _Books:
    """Who holds what."""

    out: dict[int, _Out] = field(default_factory=dict)  # by trial
    settling: dict[str, float] = field(default_factory=dict)  # GPU UUID -> released at
    aside: dict[str, str] = field(default_factory=dict)  # GPU UUID -> why it is not used any more
    taken: set[str] = field(default_factory=set)  # GPU UUIDs in leases
    told: dict[str, str] = field(default_factory=dict)  # GPU UUID -> what the user was told last


class GpuPool:
    """The inventory and who holds what.

    A GPU is free if nobody holds its lock, no container has it, no other process computes on it and
    enough of its memory is free. One that does not get free after a trial is set aside.
    """

    def __init__(
        self, inventory: Inventory, *, locks: GpuLocks, terms: Terms, around: Surroundings | None = None
    ) -> None:
        self.inventory = inventory
        self._locks = locks
        self._terms = terms
        self._around = around or Surroundings()
        self._books = _Books()
        self._guard = threading.Lock()

    def leases(self) -> dict[int, Lease]:
        """Return the leases that are out, by trial."""
        with self._guard:
            return {trial: out.lease for trial, out in self._books.out.items()}

    def usable(self) -> int:
        """Return how many GPUs are not set aside."""
        with self._guard:
            return len(self.inventory.gpus) - len(self._books.aside)

    def set_aside(self) -> list[str]:
        """Return why GPUs are not used any more, one sentence each."""
        with self._guard:
            return list(self._books.aside.values())

    def grant(self, queue: Sequence[Waiting], policy: Policy, *, mean_s: float | None = None) -> list[Lease]:
        """Lease GPUs to those of `queue` that start now; see `packing.pack`."""
        with self._guard:
            most = self._terms.max_parallel or len(queue) + len(self._books.out)
            room = most - len(self._books.out)
            if room <= 0 or not queue:
                return []
            locked, health = self._free()
            free = [gpu for gpu in self.inventory.gpus if gpu.uuid in locked]
            now = Situation(
                queue=queue,
                free=free,
                running=[
                    Running(gpus=out.lease.gpus, since_s=out.since_s, expected=out.waiting.expected)
                    for out in self._books.out.values()
                ],
                now_s=self._around.clock(),
                mean_s=mean_s,
                health=health,
            )
            waiting = {item.trial: item for item in queue}
            leases = [
                self._lease(waiting[trial], gpus, locked) for trial, gpus in pack(now, policy, room=room)
            ]
            for descriptor in locked.values():
                os.close(descriptor)
            return leases

    def release(self, lease: Lease) -> None:
        """Give the GPUs of a lease back; a lease that is not out is left alone."""
        with self._guard:
            if self._books.out.pop(lease.trial, None) is None:
                return
            now_s = self._around.clock()
            for gpu in lease.gpus:
                self._books.taken.discard(gpu.uuid)
                self._books.settling[gpu.uuid] = now_s
            for descriptor in lease.locks:
                os.close(descriptor)

    def _lease(self, item: Waiting, gpus: tuple[Gpu, ...], locked: dict[str, int]) -> Lease:
        """Take what a trial gets out of `locked`."""
        cpus, client_cpus = self._around.cores(gpus)
        lease = Lease(
            trial=item.trial,
            kind=self.inventory.kind,
            node=gpus[0].node if gpus else "",
            gpus=gpus,
            locks=tuple(locked.pop(gpu.uuid) for gpu in gpus),
            cpus=cpus,
            client_cpus=client_cpus,
        )
        self._books.out[item.trial] = _Out(lease=lease, since_s=self._around.clock(), waiting=item)
        self._books.taken.update(gpu.uuid for gpu in gpus)
        for gpu in gpus:
            self._books.settling.pop(gpu.uuid, None)
        return lease

    def _free(self) -> tuple[dict[str, int], dict[str, float]]:
        """Lock every GPU that can be used now: descriptors and health by UUID."""
        around, books = self._around, self._books
        wanted = [g.uuid for g in self.inventory.gpus if g.uuid not in books.taken | books.aside.keys()]
        if not wanted:
            return {}, {}
        held = around.held()
        locked: dict[str, int] = {}
        for uuid in wanted:
            descriptor = None if uuid in held else self._locks.take(uuid)
            if descriptor is not None:
                locked[uuid] = descriptor
            elif self._locked_by_another(uuid, held):
                books.settling.pop(uuid, None)
        health: dict[str, float] = {}
        for uuid, status in around.status(list(locked)).items():
            why = around.busy(status)
            if why is None:
                health[uuid] = health_of(status)
                books.settling.pop(uuid, None)
            else:
                os.close(locked.pop(uuid))
                self._busy(uuid, why, lost=status.lost)
        return locked, health

    def _locked_by_another(self, uuid: str, held: Collection[str]) -> bool:
        """Whether a GPU is somebody else's by now; just after a trial it may still be its engine's."""
        released_s = self._books.settling.get(uuid)
        late = released_s is not None and self._around.clock() - released_s > self._terms.settle_s
        return uuid in held or released_s is None or late

    def _busy(self, uuid: str, why: str, *, lost: bool) -> None:
        """Decide what becomes of a GPU that nobody leased and that cannot be used."""
        released_s, terms = self._books.settling.get(uuid), self._terms
        waited_s = 0.0 if released_s is None else self._around.clock() - released_s
        if released_s is not None and waited_s <= terms.settle_s and not lost:
            return
        index = next(gpu.index for gpu in self.inventory.gpus if gpu.uuid == uuid)
        after = "" if released_s is None else f" {waited_s:.0f} s after its trial"
        waits = terms.wait and not lost
        told = f"GPU {index} is {'waited for' if waits else 'set aside'}: {why}{after}"
        if self._books.told.get(uuid) != told:
            self._books.told[uuid] = told
            self._around.tell(told)
        self._books.settling.pop(uuid, None)
        if not waits:
            self._books.aside[uuid] = told
