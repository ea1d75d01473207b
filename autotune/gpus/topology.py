"""How GPUs hang together: groups of joined pairs, bit masks, and what sysfs says of a PCI device. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

WORD_BITS = 64  # NVML's masks are words of this size


def groups(count: int, pairs: Iterable[tuple[int, int]]) -> list[int | None]:
    """Return for each of `count` positions the lowest one of its connected component.

    A position that is in no pair is in no group: None.
    """
    lowest = list(range(count))
    joined = list(pairs)
    for _ in range(count):  # the longest chain has `count` members
        for a, b in joined:
            lowest[a] = lowest[b] = min(lowest[a], lowest[b])
    return [low if lowest.count(low) > 1 else None for low in lowest]


def bits(words: Iterable[int]) -> tuple[int, ...]:
    """Return the positions of the bits that are set, lowest word first."""
    return tuple(
        number * WORD_BITS + bit
        for number, word in enumerate(words)
        for bit in range(WORD_BITS)
        if word >> bit & 1
    )


def core_list(text: str) -> tuple[int, ...]:
    """Return the numbers of a kernel list such as `0-3,8`; none for an empty one.

    Raises: ValueError if it is no such list.
    """
    ranges = [part.partition("-") for part in text.strip().split(",") if part]
    return tuple(n for first, _, last in ranges for n in range(int(first), int(last or first) + 1))


def pci_folder(sysfs: Path, bus_id: str) -> Path:
    """Return the folder of a PCI device by NVML's bus id, whose domain has more digits."""
    domain, _, rest = bus_id.partition(":")
    return sysfs / "bus/pci/devices" / f"{int(domain, 16):04x}:{rest.lower()}"


def sysfs_numa(folder: Path) -> int | None:
    """Return the NUMA node of a PCI device; None if the kernel does not tell (it then says -1)."""
    text = _read(folder / "numa_node")
    node = int(text) if text.lstrip("-").isdecimal() else -1
    return node if node >= 0 else None


def sysfs_cores(folder: Path) -> tuple[int, ...]:
    """Return the cores next to a PCI device; none if the kernel does not tell."""
    return core_list(_read(folder / "local_cpulist"))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
