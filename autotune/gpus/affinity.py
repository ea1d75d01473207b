"""Which cores an engine and its load client run on. A pure function, and what the host says of its cores."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from autotune.records import Gpu, Inventory, InventoryKind

LEAST_CORES = 2
"""Cores that an engine gets for each GPU, at least: one of its processes answers HTTP, one feeds the GPU."""

NOWHERE: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
CPUS = Path("/sys/devices/system/cpu")


def cores_for(
    gpus: Sequence[Gpu],
    inventory: Inventory,
    allowed: Collection[int],
    *,
    client_cores: int,
    core_of: Mapping[int, int] | None = None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the CPUs of an engine on `gpus`, and those of its load client; empty: not pinned.

    Of each NUMA node's CPUs in `allowed`, the first `client_cores` cores are kept for the load clients of
    all trials there. The GPUs of the inventory on that node share the rest in equal parts, in the order of
    their indices, whoever holds them; cores that cannot be divided go to the clients. With `client_cores`
    0 load clients are not pinned, and such cores stay unused.

    `core_of` names the physical core of each CPU (see `physical_cores`): a core then goes with all its
    hardware threads. Without it, every CPU is taken for a core, in the order of the ids; on most hosts the
    second threads have the upper half of the ids, so that an engine may get the sibling of a client's.

    Nothing is pinned where that could do harm: the inventory is not detected; a GPU's cores are unknown, or
    overlap those of another node in part; a node has less than `client_cores` and 2 cores for each GPU. GPUs
    outside the inventory (`gpus.ids`) have no share: two sweeps on one node do not know of each other.
    """
    if inventory.kind is not InventoryKind.DETECTED or not gpus:
        return NOWHERE
    engine: list[int] = []
    client: list[int] = []
    for there in _nodes(gpus).values():
        sharing = _sharing(there[0], inventory.gpus)
        cores = _cores(set(there[0].cpus) & set(allowed), core_of or {})
        share = (len(cores) - client_cores) // max(len(sharing), 1)
        if not sharing or share < LEAST_CORES:
            return NOWHERE
        engines = cores[client_cores : client_cores + share * len(sharing)]
        for gpu in there:
            place = sharing.index(gpu)
            engine += _flat(engines[place * share : (place + 1) * share])
        if client_cores:
            client += _flat(cores[:client_cores] + cores[client_cores + len(engines) :])
    return tuple(sorted(engine)), tuple(sorted(client))


def physical_cores(cpus: Collection[int], root: Path = CPUS) -> dict[int, int]:
    """Return the physical core of each CPU, named by its first thread, where the kernel tells it."""
    told = {cpu: _first_thread(root / f"cpu{cpu}" / "topology" / "thread_siblings_list") for cpu in cpus}
    return {cpu: first for cpu, first in told.items() if first is not None}


def _first_thread(siblings: Path) -> int | None:
    """Of a list such as `3,59` or `6-7`."""
    try:
        return int(siblings.read_text().replace("-", ",").split(",")[0])
    except (OSError, ValueError):
        return None


def _nodes(gpus: Sequence[Gpu]) -> dict[tuple[str, int | None, tuple[int, ...]], list[Gpu]]:
    """GPUs by their NUMA node; a host without NUMA is one node."""
    nodes: dict[tuple[str, int | None, tuple[int, ...]], list[Gpu]] = {}
    for gpu in gpus:
        nodes.setdefault(_node(gpu), []).append(gpu)
    return nodes


def _node(gpu: Gpu) -> tuple[str, int | None, tuple[int, ...]]:
    return gpu.node, gpu.numa, tuple(sorted(set(gpu.cpus)))


def _sharing(gpu: Gpu, every: Sequence[Gpu]) -> list[Gpu]:
    """The GPUs that share the node of one; none where it is not clear which cores are whose."""
    near = [other for other in every if other.node == gpu.node]
    mine = [other for other in near if _node(other) == _node(gpu)]
    others = [other for other in near if _node(other) != _node(gpu)]
    unclear = any(
        set(other.cpus) & set(gpu.cpus) or (other.numa == gpu.numa and not other.cpus) for other in others
    )
    return [] if unclear or not gpu.cpus else sorted(mine, key=lambda other: (other.index, other.uuid))


def _cores(cpus: Collection[int], core_of: Mapping[int, int]) -> list[list[int]]:
    """CPUs by physical core, in order."""
    cores: dict[int, list[int]] = {}
    for cpu in sorted(cpus, key=lambda cpu: (core_of.get(cpu, cpu), cpu)):
        cores.setdefault(core_of.get(cpu, cpu), []).append(cpu)
    return list(cores.values())


def _flat(cores: Sequence[Sequence[int]]) -> list[int]:
    return [cpu for core in cores for cpu in core]
