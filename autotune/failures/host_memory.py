"""Whether the kernel killed for want of memory: what Docker says of a container, for processes of the host."""

from __future__ import annotations

from pathlib import Path

VMSTAT = Path("/proc/vmstat")


def oom_kills(vmstat: Path = VMSTAT) -> int:
    """Return how many processes of the host the kernel has killed for want of memory since it was booted.

    Those of every control group count. A kernel before 4.13 does not say: 0.
    """
    try:
        lines = vmstat.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
