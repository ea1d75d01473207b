"""Leases: no GPU is ever in two of them, in this process or in another of this host."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from autotune.errors import InfrastructureError
from autotune.gpus.packing import pack
from autotune.records import Gpu, Inventory, Lease


class GpuPool:
    """The inventory and who holds what.

    One kernel-held file lock for each GPU in `lock_dir` keeps other processes off; it goes with
    this process, however that ends.
    """

    def __init__(self, inventory: Inventory, *, lock_dir: Path, max_parallel: int | None) -> None:
        self.inventory = inventory
        self._lock_dir = lock_dir
        self._max_parallel = max_parallel
        self._held: dict[str, int] = {}  # GPU UUID -> lock descriptor
        self._leases: dict[int, Lease] = {}
        self._guard = threading.Lock()

    def leases(self) -> dict[int, Lease]:
        """Return the leases that are out, by trial."""
        with self._guard:
            return dict(self._leases)

    def grant(self, waiting: Sequence[tuple[int, int]]) -> list[Lease]:
        """Lease GPUs to those of `waiting` (trial, GPUs needed; in order) that can start now."""
        with self._guard:
            most = self._max_parallel or len(waiting) + len(self._leases)
            room = most - len(self._leases)
            free = [gpu for gpu in self.inventory.gpus if gpu.uuid not in self._held]
            free = [gpu for gpu in free if self._lock(gpu)]
            chosen = pack([width for _, width in waiting], free, room)
            granted = [
                Lease(
                    trial=waiting[position][0],
                    kind=self.inventory.kind,
                    node=gpus[0].node if gpus else "",
                    gpus=gpus,
                )
                for position, gpus in chosen
            ]
            taken = {gpu.uuid for lease in granted for gpu in lease.gpus}
            for gpu in free:
                if gpu.uuid not in taken:
                    self._unlock(gpu)
            self._leases |= {lease.trial: lease for lease in granted}
            return granted

    def release(self, lease: Lease) -> None:
        """Give the GPUs of a lease back; a lease that is not out is left alone."""
        with self._guard:
            if self._leases.pop(lease.trial, None) is None:
                return
            for gpu in lease.gpus:
                self._unlock(gpu)

    def _lock(self, gpu: Gpu) -> bool:
        """Take the lock of a GPU unless another process holds it."""
        descriptor = _opened(self._lock_dir, f"{gpu.uuid}.lock")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError as error:
            raise InfrastructureError(f"cannot lock {gpu.uuid}: {error.strerror}") from error
        self._held[gpu.uuid] = descriptor
        return True

    def _unlock(self, gpu: Gpu) -> None:
        os.close(self._held.pop(gpu.uuid))


def _opened(folder: Path, name: str) -> int:
    """Open a lock file that every user of this host can open, whatever the umask says."""
    path = folder / name
    try:
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)
        new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if new:
            os.fchmod(descriptor, 0o666)
    except OSError as error:
        raise InfrastructureError(f"cannot open the lock {path}: {error.strerror}") from error
    return descriptor
