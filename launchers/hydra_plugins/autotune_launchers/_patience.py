"""Which trials wait in vain: for GPUs that were set aside, or for too long for GPUs that others hold."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from autotune.gpus.packing import Waiting
from autotune.sweep import Sweep
from autotune.trial import Job


class Patience:
    """Counts how long trials could have started, if others did not hold the GPUs, and says so once.

    `least_s` are seconds of waiting that are no news.
    """

    def __init__(self, sweep: Sweep, *, least_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._sweep = sweep
        self._least_s = least_s
        self._clock = clock
        self._idle_since: float | None = None
        self._told = False

    def in_vain(self, jobs: Sequence[Job], ready: Sequence[Waiting], *, running: bool) -> dict[int, str]:
        """Return why trials of `jobs` will get no GPUs, by trial; those in `ready` wait for nothing else."""
        pool = self._sweep.pool
        usable, aside = pool.usable(), "; ".join(pool.set_aside())
        reasons = {
            job.number: f"needs {job.width} GPUs, {usable} can be used: {aside}"
            for job in jobs
            if job.width > usable
        }
        limit_s = self._sweep.settings.config.launcher.acquire_timeout_s
        idle_s = self._idle_s(waiting=bool(ready), running=running)
        if limit_s is not None and idle_s > limit_s:
            told = f"waited longer than launcher.acquire_timeout_s={limit_s:g}: {self._holders()}"
            return {item.trial: told for item in ready} | reasons
        if idle_s > self._least_s and not self._told and any(item.trial not in reasons for item in ready):
            self._told = True
            self._sweep.tell(f"waiting for GPUs: {self._holders()}")
        return reasons

    def _holders(self) -> str:
        return "; ".join(self._sweep.pool.waits_for()) or "none is free"

    def _idle_s(self, *, waiting: bool, running: bool) -> float:
        """Seconds for which trials have waited while none of ours was running, or giving its memory back."""
        now_s = self._clock()
        if running or not waiting or self._sweep.pool.is_settling():
            self._idle_since = None
            return 0.0
        self._idle_since = now_s if self._idle_since is None else self._idle_since
        return now_s - self._idle_since
