"""The trials that wait: for GPUs, or for the moment of their next attempt."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from autotune.attempts import avoided
from autotune.gpus.packing import Waiting
from autotune.sweep import Sweep
from autotune.track.durations import Alike, alike
from autotune.trial import Job


@dataclass(slots=True)
class _Waits:
    """A job that waits, or may once `item.since_s` has come; what it is like tells how long it may take."""

    job: Job
    alike: Alike
    item: Waiting


class Line:
    """What waits, by trial. Whoever uses it holds the scheduler's guard."""

    def __init__(self, sweep: Sweep, clock: Callable[[], float] = time.monotonic) -> None:
        self._sweep = sweep
        self._clock = clock
        self._waits: dict[int, _Waits] = {}
        self._changes = 0  # of durations, when what waits was last looked at

    def __len__(self) -> int:
        return len(self._waits)

    def jobs(self) -> list[Job]:
        """Return everything that waits."""
        return [waits.job for waits in self._waits.values()]

    def add(self, job: Job, *, in_s: float = 0.0) -> None:
        """Let a job wait; it may start in so many seconds."""
        trial = self._sweep.trial(job.number)
        kind = alike(trial.queued)
        item = Waiting(
            trial=job.number,
            gpus=job.width,
            since_s=self._clock() + in_s,
            expected=self._sweep.durations.expected(kind),
            avoid=avoided(trial),
            draw=self._draw(job),
        )
        self._waits[job.number] = _Waits(job, kind, item)

    def _draw(self, job: Job) -> float:
        """Where a trial stands among those that are alike: by the seed and what it is, also on resume."""
        config = self._sweep.settings.config
        if not config.measure.shuffle:
            return 0.0
        return random.Random(f"{config.seed}/order/{job.plan.signature}").random()  # noqa: S311  (no secret)

    def take(self, trial: int) -> Job:
        """Return a job that waits no longer."""
        return self._waits.pop(trial).job

    def clear(self) -> None:
        """Forget everything that waits."""
        self._waits.clear()

    def ready(self) -> list[Waiting]:
        """Return what may start now; what has avoided GPUs for too long takes any."""
        self._look()
        now_s, patience_s = self._clock(), self._sweep.settings.config.retry.within_s
        due = [waits.item for waits in self._waits.values() if waits.item.since_s <= now_s]
        return [
            replace(item, avoid=frozenset()) if item.avoid and now_s - item.since_s > patience_s else item
            for item in due
        ]

    def _look(self) -> None:
        """Expect of what waits what can be expected by now, if that has changed: it may be thousands."""
        durations = self._sweep.durations
        if durations.changes == self._changes:
            return
        self._changes = durations.changes
        for waits in self._waits.values():
            expected = durations.expected(waits.alike)
            if expected is not waits.item.expected:
                waits.item = replace(waits.item, expected=expected)
