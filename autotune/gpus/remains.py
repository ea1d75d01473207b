"""What could not be ended of a trial; its GPUs are kept back until it is known to be gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autotune.records import Gpu, Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """Something of a trial that may still run: `what` names it, `gone` whether it is known to have ended.

    `gone` is asked several times a second, and answers at once.
    """

    what: str
    gone: Callable[[], bool]


@dataclass(slots=True, kw_only=True)
class Kept:
    """A lease that is over, and kept back since `since_s`; it is waited for until it is `late`."""

    lease: Lease
    remains: list[Remains]
    since_s: float
    late: bool = False

    @property
    def names(self) -> str:
        """What was left, and of which trial."""
        return f"{' and '.join(each.what for each in self.remains)} of trial {self.lease.trial}"

    @property
    def why(self) -> str:
        """Why its GPUs are given to nobody."""
        return f"{self.names} may still use it"


class KeptBack:
    """The leases that are kept back, and what was left under those that are still out."""

    def __init__(self) -> None:
        self._leases: list[Kept] = []
        self._left: dict[int, list[Remains]] = {}  # by trial

    def note(self, trial: int, remains: Remains) -> None:
        """Take in that something of a trial was left; its lease is out."""
        self._left.setdefault(trial, []).append(remains)

    def keep(self, lease: Lease, now_s: float) -> Kept | None:
        """Keep a lease back that has just ended, if something is left under it."""
        left = [each for each in self._left.pop(lease.trial, []) if not each.gone()]
        if not left:
            return None
        kept = Kept(lease=lease, remains=left, since_s=now_s)
        self._leases.append(kept)
        return kept

    def freed(self) -> list[Kept]:
        """Return the leases under which nothing is left any more; they are kept no longer."""
        over = [kept for kept in self._leases if all(each.gone() for each in kept.remains)]
        self._leases = [kept for kept in self._leases if kept not in over]
        return over

    def late(self, before_s: float) -> list[tuple[Gpu, str]]:
        """Return the GPUs kept back since before `before_s`, and why; each is returned once."""
        new = [kept for kept in self._leases if kept.since_s < before_s and not kept.late]
        for kept in new:
            kept.late = True
        return [(gpu, kept.why) for kept in new for gpu in kept.lease.gpus]

    def soon(self) -> set[str]:
        """Return the GPUs (UUIDs) that are waited for."""
        return {gpu.uuid for kept in self._leases if not kept.late for gpu in kept.lease.gpus}

    def why(self) -> dict[str, str]:
        """Return why GPUs (UUIDs) are kept back."""
        return {gpu.uuid: kept.why for kept in self._leases for gpu in kept.lease.gpus}

    def names(self) -> list[str]:
        """Return what is left under the leases that are over."""
        return [each.what for kept in self._leases for each in kept.remains if not each.gone()]
