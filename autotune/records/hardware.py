"""GPUs: what they are, how busy they are, and who has them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class InventoryKind(str, Enum):
    """Where an inventory comes from."""

    DETECTED = "detected"
    DECLARED = "declared"
    CPU = "cpu"
    FOREIGN = "foreign"
    UNKNOWN = "unknown"  # no driver to ask: only planned for


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSpec:
    """What a GPU model can do, from its data sheet; dense figures, without sparsity.

    `tflops_16bit` and `tflops_8bit` are 10^12 FLOP/s, `memory_gib` is GiB, `memory_gb_per_s` and
    `link_gb_per_s` (one direction, between two GPUs) are 10^9 bytes/s.
    """

    tflops_16bit: float
    tflops_8bit: float | None
    memory_gib: float
    memory_gb_per_s: float
    link_gb_per_s: float
    compute_capability: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU, or one slot of a CPU inventory (`uuid` then names the slot).

    GPUs with the same `island` are joined by NVLink, with the same `switch` by one PCIe switch, with the
    same `numa` by one NUMA node, whose cores are `cpus`; None is unknown, or has none. `unknown` says
    what the driver did not tell and why.
    """

    uuid: str
    index: int
    model: str
    node: str
    memory_gib: float | None = None
    compute_capability: float | None = None
    spec: GpuSpec | None = None
    pci_bus_id: str | None = None
    island: str | None = None
    switch: str | None = None
    numa: int | None = None
    cpus: tuple[int, ...] = ()
    power_limit_w: float | None = None
    mig: bool | None = None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuStatus:
    """How busy a GPU is at one moment; None is what the driver does not tell.

    Fractions are 0-1 of all memory and of the last sample period; `processes` are the ids of those that
    compute on it. `lost` is a GPU that has fallen off the bus.
    """

    free_fraction: float | None = None
    utilization: float | None = None
    processes: tuple[int, ...] | None = None
    power_w: float | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuUsage:
    """What a GPU does at one moment, as it is sampled beside a measurement; None is what is not told.

    Fractions are 0-1. `energy_j` counts from the load of the driver. `throttles` are the reasons that hold
    its clocks down, empty for none. `unknown` says what the driver did not tell and why.
    """

    utilization: float | None = None
    memory_gib: float | None = None
    memory_fraction: float | None = None
    power_w: float | None = None
    energy_j: float | None = None
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    temperature_c: float | None = None
    throttles: frozenset[str] | None = None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The GPUs that trials may use, in the driver's order; `notes` say which were left out and why."""

    kind: InventoryKind
    gpus: tuple[Gpu, ...]
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        """The GPU models present, joined by `+`; `none` for an empty inventory."""
        return "+".join(dict.fromkeys(gpu.model for gpu in self.gpus)) or "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The GPUs a trial holds, all on one node, until nobody has any of `locks` open any more.

    `locks` are the descriptors of their locks, which the engine inherits. `cpus` are the cores of the
    engine, `client_cpus` those of the load client; empty: any.
    """

    trial: int
    kind: InventoryKind
    node: str
    gpus: tuple[Gpu, ...]
    locks: tuple[int, ...] = ()
    cpus: tuple[int, ...] = ()
    client_cpus: tuple[int, ...] = ()
