"""What the driver tells of GPUs and of the paths between them, call by call, and what it does not."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotune.gpus.inventory import take_inventory
from autotune.gpus.nvml import Driver
from autotune.records import Gpu, Inventory
from autotune.schema import GpusConfig
from tests.standins.nvml.driver import (
    FUNCTION_NOT_FOUND,
    HOST_BRIDGE,
    LOST,
    NO_PERMISSION,
    NOT_SUPPORTED,
    NUMA_NODE,
    SWITCH,
    WORDS,
    StandInDriver,
    StandInGpu,
    all_pairs,
    uuid_of,
)

NODE = socket.gethostname()
THREE: dict[str, Any] = {"gpus": [StandInGpu()] * 3, "links": all_pairs([0, 1, 2]), "levels": {(0, 1): SWITCH, (0, 2): SWITCH, (1, 2): SWITCH}}  # fmt: skip
REFUSALS = [NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND]

FACTS: dict[str, tuple[str, dict[str, Any]]] = {
    "nvmlDeviceGetName": ("name", {"model": "unknown"}),
    "nvmlDeviceGetMigMode": ("MIG mode", {"mig": None}),
    "nvmlDeviceGetMemoryInfo": ("memory", {"memory_gib": None}),
    "nvmlDeviceGetCudaComputeCapability": ("compute capability", {"compute_capability": None}),
    "nvmlDeviceGetPciInfo_v3": ("PCI bus", {"pci_bus_id": None}),
    "nvmlDeviceGetMemoryAffinity": ("NUMA node", {"numa": None}),
    "nvmlDeviceGetCpuAffinity": ("CPU affinity", {"cpus": ()}),
    "nvmlDeviceGetEnforcedPowerLimit": ("power limit", {"power_limit_w": None}),
}
PAIRS = {"nvmlDeviceGetP2PStatus": "NVLink", "nvmlDeviceGetTopologyCommonAncestor": "PCIe level"}


def detected() -> Inventory:
    """What this process finds, with nothing hidden."""
    return take_inventory(GpusConfig(kind="nvml"), {})


def three(index: int, **changed: Any) -> Gpu:
    """One GPU of THREE."""
    gpu = Gpu(
        uuid=uuid_of(index),
        index=index,
        model="NVIDIA H100 80GB HBM3",
        node=NODE,
        memory_gib=80.0,
        compute_capability=9.0,
        pci_bus_id=f"0000FFFF:{index + 16:02X}:00.0",
        island=f"{NODE}/nvlink-0",
        switch=f"{NODE}/pcie-0",
        numa=0,
        cpus=tuple(range(16)),
        power_limit_w=700.0,
        mig=False,
    )
    return replace(gpu, **changed)


def test_every_fact(nvml: StandInDriver) -> None:
    """All that the driver tells of each GPU."""
    nvml.tell(**THREE)
    assert detected().gpus == (three(0), three(1), three(2))
    assert detected().notes == ()


@pytest.mark.parametrize("code", REFUSALS)
@pytest.mark.parametrize("function", FACTS)
def test_a_call_that_fails_hides_one_fact(function: str, code: int, nvml: StandInDriver) -> None:
    """Of that GPU; the rest is told, and what is unknown has its reason."""
    nvml.tell(**THREE, errors={(function, 1): code})
    words, changed = FACTS[function]
    unknown: tuple[str, ...] = (f"{words}: {WORDS[code]}",)
    if (function, code) == ("nvmlDeviceGetMigMode", NOT_SUPPORTED):
        changed, unknown = {"mig": False}, ()  # NVML's answer for a model that has no MIG
    assert detected().gpus == (three(0), three(1, **changed, unknown=unknown), three(2))
    assert detected().notes == ()


@pytest.mark.parametrize("code", [*REFUSALS, LOST])
@pytest.mark.parametrize("function", PAIRS)
def test_a_path_that_is_not_told(function: str, code: int, nvml: StandInDriver) -> None:
    """GPUs are joined by the paths that are told; both ends know of the one that is not."""
    nvml.tell(**THREE, errors={(function, 0): code})
    unknown = (f"{PAIRS[function]}: {WORDS.get(code, 'GPU is lost')}",)
    kind = "island" if function == "nvmlDeviceGetP2PStatus" else "switch"
    name = f"{NODE}/nvlink-1" if kind == "island" else f"{NODE}/pcie-1"
    first, *others = detected().gpus
    assert first == three(0, **{kind: None}, unknown=unknown)
    assert others == [three(index, **{kind: name}, unknown=unknown) for index in (1, 2)]


@pytest.mark.parametrize("function", [*FACTS, "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetUUID"])
def test_a_gpu_that_is_lost_at_the_start(function: str, nvml: StandInDriver) -> None:
    """Whichever call says so: it is left out with a note, and the others are told in full."""
    nvml.tell(**THREE, errors={(function, 1): LOST})
    inventory = detected()
    assert inventory.gpus == (three(0), three(2))
    [note] = inventory.notes
    assert note.startswith("GPU 1")
    assert "is left out: the driver answers 'GPU is lost': look for Xid errors" in note


@pytest.mark.parametrize("code", REFUSALS)
@pytest.mark.parametrize(
    ("function", "words"), [("nvmlDeviceGetHandleByIndex_v2", "handle"), ("nvmlDeviceGetUUID", "UUID")]
)
def test_a_gpu_that_cannot_be_named(function: str, words: str, code: int, nvml: StandInDriver) -> None:
    """Without a handle or a UUID it cannot be leased; the note says what the driver answered."""
    nvml.tell(**THREE, errors={(function, 2): code})
    inventory = detected()
    assert inventory.gpus == (three(0), three(1))
    assert inventory.notes == (f"GPU 2 is left out: the driver does not tell its {words}: {WORDS[code]}",)


def test_mig_mode(nvml: StandInDriver) -> None:
    """A GPU in MIG mode is left out, and the note says what to do."""
    nvml.tell([StandInGpu(), StandInGpu(mig=True)])
    inventory = detected()
    assert [gpu.index for gpu in inventory.gpus] == [0]
    [note] = inventory.notes
    assert note.startswith(f"GPU 1 ({uuid_of(1)}) is left out: it is in MIG mode: a lease is a whole GPU")
    assert "nvidia-smi -i 1 -mig 0" in note


def test_no_nvlink(nvml: StandInDriver) -> None:
    """GPUs that only PCIe joins have no island, and that is known."""
    nvml.tell([StandInGpu(name="NVIDIA L40S", mig=None)] * 4, levels={(0, 1): SWITCH, (2, 3): HOST_BRIDGE})
    gpus = detected().gpus
    assert [gpu.island for gpu in gpus] == [None] * 4
    assert [gpu.switch for gpu in gpus] == [f"{NODE}/pcie-0"] * 2 + [None] * 2
    assert {(gpu.unknown, gpu.mig) for gpu in gpus} == {((), False)}


def test_two_islands_of_four_on_two_numa_nodes(nvml: StandInDriver) -> None:
    """A host of eight GPUs: a switch for each two, NVLink among four, two sockets with 32 cores and threads."""
    cores = ["0-31,64-95", "32-63,96-127"]
    nvml.tell(
        [StandInGpu(numa=index // 4, cpus=cores[index // 4]) for index in range(8)],
        links=all_pairs([0, 1, 2, 3], [4, 5, 6, 7]),
        levels={**dict.fromkeys(all_pairs([0, 1, 2, 3], [4, 5, 6, 7]), NUMA_NODE), **dict.fromkeys([(0, 1), (2, 3), (4, 5), (6, 7)], SWITCH)},
    )  # fmt: skip
    gpus = detected().gpus
    assert [gpu.island for gpu in gpus] == [f"{NODE}/nvlink-0"] * 4 + [f"{NODE}/nvlink-4"] * 4
    assert [gpu.switch for gpu in gpus] == [f"{NODE}/pcie-{index // 2 * 2}" for index in range(8)]
    assert [gpu.numa for gpu in gpus] == [0] * 4 + [1] * 4
    assert gpus[0].cpus == (*range(32), *range(64, 96))
    assert gpus[7].cpus == (*range(32, 64), *range(96, 128))


@pytest.mark.parametrize(
    ("kernel_says", "numa", "cpus", "unknown"),
    [
        pytest.param("1", 1, (8, 9), (), id="sysfs tells"),
        pytest.param("-1", None, (8, 9), ("NUMA node: Not Supported",), id="sysfs does not know either"),
    ],
)
def test_sysfs_where_the_driver_does_not_tell(
    kernel_says: str,
    numa: int | None,
    cpus: tuple[int, ...],
    unknown: tuple[str, ...],
    nvml: StandInDriver,
    tmp_path: Path,
) -> None:
    """The kernel knows where a PCI device is."""
    device = tmp_path / "bus/pci/devices/ffff:10:00.0"
    device.mkdir(parents=True)
    (device / "numa_node").write_text(f"{kernel_says}\n")
    (device / "local_cpulist").write_text("8-9\n")
    nvml.tell([StandInGpu(numa=None, cpus=None)])
    driver = Driver(sysfs=tmp_path)
    [gpu], notes = driver.describe(driver.list_gpus())
    driver.close()
    assert (gpu.numa, gpu.cpus, gpu.unknown, notes) == (numa, cpus, unknown, ())
