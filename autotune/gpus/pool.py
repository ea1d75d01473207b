"""Leases: no GPU is ever in two of them, in this process or in another of this host."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Collection, Mapping, Sequence

from autotune.gpus.books import Books, Out
from autotune.gpus.locks import GpuLocks
from autotune.gpus.packing import Policy, Running, Situation, Waiting, pack
from autotune.gpus.placement import health_of
from autotune.gpus.remains import Remains
from autotune.gpus.terms import Surroundings, Terms
from autotune.records import Gpu, Inventory, Lease


class GpuPool:
    """The inventory and who holds what.

    A GPU is free if nobody holds its lock, no container has it, no other process computes on it and
    enough of its memory is free. One that does not get free within `Terms.settle_s`, after a trial of
    whatever sweep or of a stranger's own, is set aside. One on which an engine could not be ended is kept
    back, with its lock, until that is known to be gone.
    """

    def __init__(
        self, inventory: Inventory, *, locks: GpuLocks, terms: Terms, around: Surroundings | None = None
    ) -> None:
        self.inventory = inventory
        self._locks = locks
        self._terms = terms
        self._around = around or Surroundings()
        self._books = Books()
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

    def put_aside(self, why: Mapping[str, str]) -> None:
        """Use these GPUs (UUIDs) no more, each for its reason.

        Not if none would be left: nothing tells then which of them it is.
        """
        with self._guard:
            aside = self._books.aside
            new = {g.uuid: why[g.uuid] for g in self.inventory.gpus if g.uuid in why.keys() - aside.keys()}
            if len(new) + len(aside) >= len(self.inventory.gpus):
                return
            for uuid, reason in new.items():
                told = f"is set aside for this sweep: {reason}"
                aside[uuid] = f"GPU {self._index(uuid)} {told}"
                self._tell(uuid, told, told)

    def waits_for(self) -> list[str]:
        """Return why GPUs that nobody leased here could not be used at the last look."""
        with self._guard:
            return [f"GPU {self._index(uuid)}: {why}" for uuid, why in self._books.why.items()]

    def is_settling(self) -> bool:
        """Whether GPUs of trials that ended are waited for."""
        with self._guard:
            return bool(self._books.soon())

    def settle(self) -> None:
        """Give all GPUs the time that they need after a trial: those of a dead controller were just ended."""
        with self._guard:
            now_s = self._around.clock()
            self._books.settling |= {gpu.uuid: now_s for gpu in self.inventory.gpus}

    def grant(self, queue: Sequence[Waiting], policy: Policy, *, mean_s: float | None = None) -> list[Lease]:
        """Lease GPUs to those of `queue` that start now; see `packing.pack`."""
        with self._guard:
            most = self._terms.max_parallel or len(queue) + len(self._books.out)
            room = most - len(self._books.out)
            if room <= 0 or not queue:
                return []
            locked: dict[str, int] = {}
            try:
                health = self._lock_free(locked)
                now = self._situation(queue, locked, mean_s=mean_s, health=health)
                waiting = {item.trial: item for item in queue}
                chosen = pack(now, policy, room=room)
                return [self._lease(waiting[trial], gpus, locked) for trial, gpus in chosen]
            finally:
                for descriptor in locked.values():
                    os.close(descriptor)

    def _situation(
        self,
        queue: Sequence[Waiting],
        locked: Collection[str],
        *,
        mean_s: float | None,
        health: Mapping[str, float],
    ) -> Situation:
        gpus, soon = self.inventory.gpus, self._books.soon()
        return Situation(
            queue=queue,
            free=[gpu for gpu in gpus if gpu.uuid in locked],
            soon=[gpu for gpu in gpus if gpu.uuid in soon and gpu.uuid not in locked],
            running=[
                Running(gpus=out.lease.gpus, since_s=out.since_s, expected=out.waiting.expected)
                for out in self._books.out.values()
            ],
            now_s=self._around.clock(),
            mean_s=mean_s,
            health=health,
        )

    def release(self, lease: Lease) -> None:
        """Give the GPUs of a lease back; a lease that is not out is left alone."""
        with self._guard:
            if self._books.out.pop(lease.trial, None) is None:
                return
            now_s = self._around.clock()
            kept = self._books.kept.keep(lease, now_s)
            if kept is None:
                self._books.free(lease, now_s)
                return
            for gpu in lease.gpus:
                self._tell(gpu.uuid, "kept", f"is kept back: {kept.why}")

    def left(self, lease: Lease, remains: Remains) -> None:
        """Keep the GPUs of a lease back, once it is released, until what was left of its trial is gone."""
        with self._guard:
            if lease.trial in self._books.out:
                self._books.kept.note(lease.trial, remains)

    def remains(self) -> list[str]:
        """Return what could not be ended of trials, and is not known to be gone by now."""
        with self._guard:
            return self._books.kept.names()

    def _look_at_kept(self) -> None:
        """Give back what is free by now; what is not within the time for memory is set aside."""
        books, now_s = self._books, self._around.clock()
        for kept in books.kept.freed():
            books.free(kept.lease, now_s)
            for gpu in kept.lease.gpus:
                if books.aside.get(gpu.uuid, "").endswith(kept.why):  # and for no other reason
                    del books.aside[gpu.uuid]
                self._tell(gpu.uuid, "gone", f"is used again: {kept.names} is gone")
        for gpu, why in books.kept.late(now_s - self._terms.settle_s):
            if not self._terms.wait and gpu.uuid not in books.aside:
                books.aside[gpu.uuid] = f"GPU {gpu.index} is set aside: {why}"
                self._tell(gpu.uuid, "late", f"is set aside: {why}")
        books.why |= books.kept.why()

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
        self._books.out[item.trial] = Out(lease=lease, since_s=self._around.clock(), waiting=item)
        self._books.taken.update(gpu.uuid for gpu in gpus)
        return lease

    def _lock_free(self, locked: dict[str, int]) -> dict[str, float]:
        """Lock every GPU that can be used now; fill in descriptors, return health, both by UUID."""
        around, books = self._around, self._books
        books.why = {}
        self._look_at_kept()
        wanted = [g.uuid for g in self.inventory.gpus if g.uuid not in books.taken | books.aside.keys()]
        if not wanted:
            return {}
        containers = around.held()
        for uuid in wanted:
            descriptor = None if uuid in containers else self._locks.take(uuid)
            if descriptor is None:
                self._held(uuid, "a container holds it" if uuid in containers else "its lock is held")
                continue
            locked[uuid] = descriptor
            if uuid in books.held:  # another sweep had it until now: its memory needs its time too
                books.held.discard(uuid)
                books.settling[uuid] = around.clock()
        health: dict[str, float] = {}
        for uuid, status in around.status(list(locked)).items():
            why = around.busy(status)
            if why is not None:
                os.close(locked.pop(uuid))
                self._busy(uuid, why, lost=status.lost)
                continue
            health[uuid] = health_of(status)
        for uuid in locked:
            books.settling.pop(uuid, None)
            books.busy.pop(uuid, None)
            books.told.pop(uuid, None)
        return health

    def _held(self, uuid: str, why: str) -> None:
        """Somebody has a GPU: just after a trial that is its engine, which ends; later it is another."""
        books, released_s = self._books, self._books.settling.get(uuid)
        books.why[uuid] = why
        if released_s is not None and self._around.clock() - released_s <= self._terms.settle_s:
            return
        books.held.add(uuid)
        if books.settling.pop(uuid, None) is not None:
            pids = ", ".join(map(str, self._locks.holders(uuid))) or "unknown"
            self._tell(uuid, why, f"is waited for: {why} after its trial, by process {pids}")

    def _busy(self, uuid: str, why: str, *, lost: bool) -> None:
        """Decide what becomes of a GPU that nobody holds and that cannot be used."""
        books, now_s = self._books, self._around.clock()
        after_trial = uuid in books.settling
        waited_s = now_s - (books.settling[uuid] if after_trial else books.busy.setdefault(uuid, now_s))
        books.why[uuid] = why
        kind = re.sub(r"[\d.,]+", "#", why)
        if waited_s <= self._terms.settle_s:
            if not after_trial:
                self._tell(uuid, kind, f"is in use: {why}")
            return
        waits = self._terms.wait and not lost
        after = f" {waited_s:.0f} s after its trial" if after_trial else ""
        told = f"is {'waited for' if waits else 'set aside'}: {why}{after}"
        self._tell(uuid, f"late {kind}", told)
        if after_trial:
            books.busy[uuid] = books.settling.pop(uuid)
        if not waits:
            books.aside[uuid] = f"GPU {self._index(uuid)} {told}"

    def _tell(self, uuid: str, kind: str, text: str) -> None:
        """Say something of a GPU, once for each kind until it was free again."""
        known = self._books.told.setdefault(uuid, set())
        if kind not in known:
            known.add(kind)
            self._around.tell(f"GPU {self._index(uuid)} {text}")

    def _index(self, uuid: str) -> int:
        return next(gpu.index for gpu in self.inventory.gpus if gpu.uuid == uuid)
