"""What people do today: policies that `packing.py` runs beside the one that ships."""

from __future__ import annotations

from dataclasses import dataclass, field

from autotune.gpus.packing import Assignment, Situation


def in_turn(situation: Situation, *, backfill: bool) -> list[Assignment]:
    """First come, first served, on the first free GPUs."""
    chosen, free = [], list(situation.free)
    for item in situation.queue:
        if item.gpus <= len(free):
            chosen.append((item.trial, tuple(free[: item.gpus])))
            free = free[item.gpus :]
        elif not backfill:
            break
    return chosen


def one_at_a_time(situation: Situation) -> list[Assignment]:
    """The shell loop."""
    return [] if situation.running else in_turn(situation, backfill=False)[:1]


@dataclass
class Batches:
    """Starts `size` trials (in turn, with backfill among them) and waits until all have ended."""

    size: int
    batch: set[int] = field(default_factory=set)

    def __call__(self, situation: Situation) -> list[Assignment]:
        """Start what fits of the batch in progress, or of the next one."""
        waiting = [item for item in situation.queue if item.trial in self.batch]
        if not waiting and not situation.running:
            waiting = list(situation.queue[: self.size])
            self.batch = {item.trial for item in waiting}
        inner = Situation(
            queue=waiting, free=situation.free, running=situation.running, now_s=situation.now_s
        )
        return in_turn(inner, backfill=True)
