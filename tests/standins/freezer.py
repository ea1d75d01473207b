"""A process that SIGKILL does not end, as one that waits in a driver: frozen by the kernel (cgroup v1)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.shop import until

FREEZER = Path("/sys/fs/cgroup/freezer")


def why_not() -> str | None:
    """Return why nothing can be frozen here."""
    if not os.access(FREEZER / "cgroup.procs", os.W_OK):
        return f"needs {FREEZER} (cgroup v1), and the right to write there"
    return None


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Keep a process from ending while this is open."""
    group = FREEZER / f"autotune-test-{pid}"
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(pid))
        (group / "freezer.state").write_text("FROZEN")
        until(lambda: (group / "freezer.state").read_text().strip() == "FROZEN")
        yield
    finally:
        (group / "freezer.state").write_text("THAWED")
        with contextlib.suppress(ProcessLookupError):
            (FREEZER / "cgroup.procs").write_text(str(pid))
        until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()
