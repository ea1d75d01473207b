"""What a process used of its core while it measured, and how late it was."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

SCHEDSTAT = Path("/proc/self/schedstat")  # of the main thread: ns on a core, ns waiting for one, slices


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """Of one process, over `wall_s`: CPU seconds, seconds of waiting for a core, and how late timers ran."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    wait_s: float = 0.0
    lags_s: tuple[float, ...] = ()


class Meter:
    """Measures from `begin` to `end`."""

    def __init__(self) -> None:
        self._began: tuple[float, float, float] | None = None
        self._lags_s: list[float] = []

    def begin(self) -> None:
        """Begin; what came before does not count."""
        self._began = _now()

    def late(self, lag_s: float) -> None:
        """Take how late a due timer ran."""
        if self._began is not None:
            self._lags_s.append(max(0.0, lag_s))

    def end(self) -> Used:
        """Return what was used since `begin`."""
        now = _now()
        wall_s, cpu_s, wait_s = (
            after - before for after, before in zip(now, self._began or now, strict=True)
        )
        return Used(wall_s=wall_s, cpu_s=cpu_s, wait_s=wait_s, lags_s=tuple(self._lags_s))


def _now() -> tuple[float, float, float]:
    waited_s = 0.0
    with suppress(OSError, ValueError, IndexError):  # kernels without it do not tell
        waited_s = int(SCHEDSTAT.read_text().split()[1]) / 1e9
    return perf_counter(), process_time(), waited_s
