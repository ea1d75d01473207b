"""The questions to NVML, one GPU and one call at a time; `nvml` is the module pynvml, already initialised.

Source: NVML API reference; names and structs as in nvidia-ml-py 12.535.108 and later.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from autotune.gpus.topology import bits, groups, pci_folder, sysfs_cores, sysfs_numa
from autotune.gpus.visible import WHOLE_GPUS, Listed
from autotune.records import Gpu, GpuStatus

NOT_SUPPORTED = 3
GONE = frozenset({1, 9, 18})  # not initialised, driver not loaded, of another version: nothing can be asked
LOST = frozenset({15, 16})  # off the bus, or of no use before a reset
CPU_WORDS = 128  # for 8,192 cores, the most that Linux is built for
NODE_WORDS = 16  # for 1,024 NUMA nodes, likewise


class Asked:
    """What one GPU was asked: `unknown` says what the driver did not tell, `lost` that it cannot be used.

    Raises, whatever is asked: NVMLError if the driver as a whole does not answer any more.
    """

    def __init__(self, nvml: Any, unknown: Iterable[str] = ()) -> None:
        self.unknown = list(unknown)
        self.lost: str | None = None
        self._error: type[Exception] = nvml.NVMLError

    def __call__(self, what: str, function: Callable[..., Any], *args: Any) -> Any:
        """Return the answer, or None; then `unknown` has a line more."""
        value, error = self.attempt(function, *args)
        if error is not None:
            self.unknown.append(f"{what}: {error}")
        return value

    def attempt(self, function: Callable[..., Any], *args: Any) -> tuple[Any, Any]:
        """Return the answer or the error, for a question that has another answer elsewhere."""
        try:
            return function(*args), None
        except self._error as error:
            code = getattr(error, "value")  # noqa: B009 (pynvml is untyped)
            if code in GONE:
                raise
            if code in LOST:
                self.lost = str(error)
            return None, error


def listed_gpu(nvml: Any, index: int) -> tuple[Listed, Any]:
    """Return one GPU as it is listed, and its handle; without a UUID there is a reason and no handle."""
    asked = Asked(nvml)
    handle = asked("handle", nvml.nvmlDeviceGetHandleByIndex, index)
    uuid = None if handle is None else asked("UUID", nvml.nvmlDeviceGetUUID, handle)
    if uuid is None:
        untold = f"the driver does not tell its {asked.unknown[0]}"
        return Listed(index=index, reason=lost_words(asked.lost) if asked.lost else untold), None
    model = asked("name", nvml.nvmlDeviceGetName, handle)
    mig = _mig(nvml, handle, asked)
    reason = lost_words(asked.lost) if asked.lost else _mig_words(index) if mig else None
    gpu = Listed(index=index, uuid=uuid, model=model, mig=mig, reason=reason, unknown=tuple(asked.unknown))
    return gpu, handle


def _mig(nvml: Any, handle: Any, asked: Asked) -> bool | None:
    modes, error = asked.attempt(nvml.nvmlDeviceGetMigMode, handle)
    if error is None:
        return bool(modes[0] == nvml.NVML_DEVICE_MIG_ENABLE)  # the current one; a pending one needs a reset
    if error.value == NOT_SUPPORTED:
        return False  # this model has no MIG
    asked.unknown.append(f"MIG mode: {error}")
    return None


def _mig_words(index: int) -> str:
    return (
        f"it is in MIG mode: {WHOLE_GPUS}: switch MIG off (as root, with nothing running on it: "
        f"nvidia-smi -i {index} -mig 0), or use other GPUs"
    )


def lost_words(error: str) -> str:
    """Return why a lost GPU is left out, and what to do."""
    return f"the driver answers '{error}': look for Xid errors in the kernel's log, then reset it or reboot"


def facts(nvml: Any, gpu: Listed, handle: Any, sysfs: Path) -> tuple[Gpu, Asked]:
    """Return what one GPU is, but for where it is among others, and what it was asked for that."""
    asked = Asked(nvml, gpu.unknown)
    memory = asked("memory", nvml.nvmlDeviceGetMemoryInfo, handle)
    capability = asked("compute capability", nvml.nvmlDeviceGetCudaComputeCapability, handle)
    pci = asked("PCI bus", nvml.nvmlDeviceGetPciInfo_v3, handle)
    power_mw = asked("power limit", nvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    bus = None if pci is None else str(pci.busId)
    folder = None if bus is None else pci_folder(sysfs, bus)
    found = Gpu(
        uuid=gpu.uuid or "",
        index=gpu.index,
        model=gpu.model or "unknown",
        node=socket.gethostname(),
        memory_gib=None if memory is None else memory.total / 2**30,
        compute_capability=None if capability is None else float("{}.{}".format(*capability)),
        pci_bus_id=bus,
        numa=_numa(nvml, handle, asked, folder),
        cpus=_cpus(nvml, handle, asked, folder),
        power_limit_w=None if power_mw is None else power_mw / 1000,
        mig=gpu.mig,
    )
    return found, asked


def _numa(nvml: Any, handle: Any, asked: Asked, folder: Path | None) -> int | None:
    """The NUMA node that the GPU is attached to.

    nvmlDeviceGetNumaNodeId is not asked: it tells the node that the GPU's own memory is, which only some
    hosts have, and that node has no cores.
    """
    scope = nvml.NVML_AFFINITY_SCOPE_NODE
    words, error = asked.attempt(nvml.nvmlDeviceGetMemoryAffinity, handle, NODE_WORDS, scope)
    nodes = bits(words or ())
    if len(nodes) == 1:
        return nodes[0]
    node = None if folder is None else sysfs_numa(folder)
    if node is None:
        asked.unknown.append(f"NUMA node: {error or 'the host does not tell one'}")
    return node


def _cpus(nvml: Any, handle: Any, asked: Asked, folder: Path | None) -> tuple[int, ...]:
    words, error = asked.attempt(nvml.nvmlDeviceGetCpuAffinity, handle, CPU_WORDS)
    cores = bits(words or ()) or (() if folder is None else sysfs_cores(folder))
    if not cores:
        asked.unknown.append(f"CPU affinity: {error or 'the host does not tell any'}")
    return cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A GPU with its handle and what it was asked."""

    gpu: Gpu
    handle: Any
    asked: Asked


def placed(nvml: Any, described: Sequence[Described]) -> tuple[Gpu, ...]:
    """Return the GPUs with their NVLink islands and PCIe switches, and all that is unknown of them.

    An island is named after its first GPU. Only paths between these GPUs count.
    """
    links: list[tuple[int, int]] = []
    switches: list[tuple[int, int]] = []
    for pair in combinations(range(len(described)), 2):
        a, b = (described[position] for position in pair)
        linked = _of_pair("NVLink", nvml.nvmlDeviceGetP2PStatus, a, b, nvml.NVML_P2P_CAPS_INDEX_NVLINK)
        level = _of_pair("PCIe level", nvml.nvmlDeviceGetTopologyCommonAncestor, a, b)
        links += [pair] if linked == nvml.NVML_P2P_STATUS_OK else []
        switches += [pair] if level is not None and level <= nvml.NVML_TOPOLOGY_MULTIPLE else []
    islands, below = groups(len(described), links), groups(len(described), switches)
    return tuple(
        replace(
            one.gpu,
            island=_name("nvlink", described, island),
            switch=_name("pcie", described, switch),
            unknown=tuple(dict.fromkeys(one.asked.unknown)),
        )
        for one, island, switch in zip(described, islands, below, strict=True)
    )


def _of_pair(what: str, function: Callable[..., Any], a: Described, b: Described, *args: Any) -> Any:
    answer = a.asked(what, function, a.handle, b.handle, *args)
    if answer is None:
        b.asked.unknown.append(a.asked.unknown[-1])
    return answer


def _name(kind: str, described: Sequence[Described], first: int | None) -> str | None:
    return None if first is None else f"{described[first].gpu.node}/{kind}-{described[first].gpu.index}"


def status_now(nvml: Any, handle: Any) -> GpuStatus:
    """Return how busy one GPU is."""
    asked = Asked(nvml)
    memory = asked("memory", nvml.nvmlDeviceGetMemoryInfo, handle)
    rates = asked("utilization", nvml.nvmlDeviceGetUtilizationRates, handle)
    # by its version: the name without one raises an error of another family where a driver has no _v3
    running = asked("processes", nvml.nvmlDeviceGetComputeRunningProcesses_v3, handle)
    power_mw = asked("power", nvml.nvmlDeviceGetPowerUsage, handle)
    return GpuStatus(
        free_fraction=memory.free / memory.total if memory is not None and memory.total else None,
        utilization=None if rates is None else rates.gpu / 100,
        processes=None if running is None else tuple(process.pid for process in running),
        power_w=None if power_mw is None else power_mw / 1000,
        lost=asked.lost is not None,
    )
