"""How much of the machine a client of others needs while it measures."""

from __future__ import annotations

import os
import time
from pathlib import Path

from autotune import process_table

CLOCK_TICK = os.sysconf("SC_CLK_TCK")


class Usage:
    """CPU seconds of all processes of a group, between the first and the last look at the measured phase."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self._last: tuple[float, float] | None = None

    def look(self, group: int, *, measuring: bool) -> None:
        """Take notice of what it has used by now."""
        if not measuring:
            return
        now = (time.monotonic(), cpu_s(group))
        self._first = self._first or now
        self._last = now

    def metrics(self) -> dict[str, float]:
        """Return `client_cpu_fraction`, of one core; nothing of a measurement that was over too soon."""
        if self._first is None or self._last is None or self._last[0] <= self._first[0]:
            return {}
        used_s = max(0.0, self._last[1] - self._first[1])
        return {"client_cpu_fraction": used_s / (self._last[0] - self._first[0])}


def cpu_s(group: int) -> float:
    """Return the CPU seconds that the living processes of a group have used, and their ended children."""
    total = 0
    for entry in Path("/proc").glob("[0-9]*"):
        stat = process_table.stat_of(int(entry.name))
        if stat is None or stat.group != group:
            continue
        try:
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(field) for field in fields[11:15])
    return total / CLOCK_TICK
