"""Which GPUs a trial gets: close together, and so that what is left stays close together too. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from autotune.records import Gpu, GpuStatus

Level = Callable[[Gpu], Hashable]

LEVELS: tuple[Level, ...] = (
    lambda gpu: gpu.island and (gpu.node, gpu.island),
    lambda gpu: gpu.switch and (gpu.node, gpu.switch),
    lambda gpu: None if gpu.numa is None else (gpu.node, gpu.numa),
)
"""From near to far: one NVLink island, one PCIe switch, one NUMA node. None: in none of them."""

ISLAND, NUMA = LEVELS[0], LEVELS[2]


def place(
    free: Sequence[Gpu], width: int, *, health: Mapping[str, float] | None = None
) -> tuple[Gpu, ...] | None:
    """Return `width` GPUs of one node, as near to each other as can be; None if no node has so many.

    Among groups that hold them all the fullest is taken, so that islands stay whole for wide trials;
    among equals the healthiest (see `health_of`), then the first.
    """
    if width == 0:
        return ()
    nodes = [group for group in _groups(free, lambda gpu: gpu.node) if len(group) >= width]
    if not nodes:
        return None
    chosen = _near(_fullest(nodes, width, health or {}), width, LEVELS, health or {})
    return tuple(sorted(chosen, key=lambda gpu: gpu.index))


def health_of(status: GpuStatus) -> float:
    """Return 0.6 × free-memory fraction + 0.4 × (1 - utilization), unknown counting as idle; 0-1."""
    free = 1.0 if status.free_fraction is None else status.free_fraction
    return 0.6 * free + 0.4 * (1.0 - (status.utilization or 0.0))


def straddles(gpus: Sequence[Gpu], among: Sequence[Gpu]) -> bool:
    """Whether `gpus` cross islands although `among` is made of islands that could hold as many.

    Where no GPUs are joined by NVLink, NUMA nodes are the islands. If such islands are less than half of the
    GPUs (one bridged pair among eight), they are not worth waiting for.
    """
    if len(gpus) < 2:
        return False
    level = island_level(among)
    if level is None or len({_name(gpu, level) for gpu in gpus}) == 1:
        return False
    holding = sum(len(group) for group in _groups(among, level) if len(group) >= len(gpus))
    return 2 * holding >= len(among)


def island_level(gpus: Sequence[Gpu]) -> Level | None:
    """Return by what these GPUs form islands; None if by nothing that joins two of them."""
    joining = (level for level in (ISLAND, NUMA) if _joins(gpus, level))
    return next(joining, None)


def _near(
    free: Sequence[Gpu], width: int, levels: Sequence[Level], health: Mapping[str, float]
) -> Sequence[Gpu]:
    """Choose `width` of `free`, which are enough, by the nearest level that joins any of them."""
    if width == len(free):
        return free
    joining = [level for level in levels if _joins(free, level)]
    for level in joining:
        whole = [group for group in _groups(free, level) if len(group) >= width]
        if whole:
            others = [other for other in joining if other is not level]
            return _near(_fullest(whole, width, health), width, others, health)
    if not joining:
        return sorted(free, key=lambda gpu: (-health.get(gpu.uuid, 1.0), gpu.index))[:width]
    # no group is enough: the largest one, and what is missing
    largest = max(_groups(free, joining[-1]), key=len)
    rest = [gpu for gpu in free if gpu not in largest]
    return [*largest, *_near(rest, width - len(largest), levels, health)]


def _fullest(groups: Iterable[Sequence[Gpu]], width: int, health: Mapping[str, float]) -> Sequence[Gpu]:
    """The group that has the fewest free GPUs, then the healthiest."""

    def rank(group: Sequence[Gpu]) -> tuple[int, float, int]:
        best = sorted((health.get(gpu.uuid, 1.0) for gpu in group), reverse=True)[:width]
        return len(group), -sum(best), min(gpu.index for gpu in group)

    return min(groups, key=rank)


def _joins(gpus: Sequence[Gpu], level: Level) -> bool:
    names = [name for name in map(level, gpus) if name]
    return len(set(names)) < len(names)


def _groups(gpus: Iterable[Gpu], level: Level) -> list[list[Gpu]]:
    """The GPUs by their group at a level; one that is in none is a group of its own."""
    groups: dict[Hashable, list[Gpu]] = {}
    for gpu in gpus:
        groups.setdefault(_name(gpu, level), []).append(gpu)
    return list(groups.values())


def _name(gpu: Gpu, level: Level) -> Hashable:
    return level(gpu) or gpu.uuid
