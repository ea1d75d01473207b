"""What is said of GPUs on a stand-in driver; looking at a lock disturbs nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autotune.doctor.finding import Finding, State
from autotune.doctor.gpus import gpu_findings
from autotune.gpus.inventory import take_inventory
from autotune.gpus.locks import GpuLocks
from autotune.schema import GpusConfig
from tests.standins.nvml.driver import (
    NO_PERMISSION,
    SWITCH,
    StandInDriver,
    StandInGpu,
    all_pairs,
    uuid_of,
)

H100 = "NVIDIA H100 80GB HBM3, 80 GiB, compute capability 9.0"
HOLD = (
    "import sys; from pathlib import Path; from autotune.gpus.locks import GpuLocks\n"
    "GpuLocks(Path(sys.argv[1])).take(sys.argv[2])\n"
    "print('held', flush=True); sys.stdin.read()\n"
)


def found(locks: Path) -> dict[str, Finding]:
    """What is said of each thing; of several about one, the last."""
    inventory = take_inventory(GpusConfig(kind="nvml"), {})
    findings = gpu_findings(inventory, GpuLocks(locks), min_free_fraction=0.9)
    return {finding.about: finding for finding in findings}


@contextmanager
def held_by_another(folder: Path, uuid: str) -> Iterator[int]:
    """Another process has the lock of a GPU meanwhile."""
    argv = [sys.executable, "-c", HOLD, str(folder), uuid]
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        yield other.pid
        other.communicate()


def test_gpus_that_are_free_busy_and_leased(nvml: StandInDriver, tmp_path: Path) -> None:
    """Each with what it is, where it is, and who has it."""
    gpus = [StandInGpu(), StandInGpu(processes=(4711,)), StandInGpu(), StandInGpu(free_gib=8, numa=1)]
    nvml.tell(gpus, links=all_pairs((0, 1, 2)), levels={(0, 1): SWITCH})
    with held_by_another(tmp_path, uuid_of(2)) as pid:
        now, again = found(tmp_path), found(tmp_path)
    assert now["driver"].text == "NVIDIA 555.42.00-standin"
    assert now["GPU 0"] == Finding(about="GPU 0", text=f"{H100}, nvlink-0, pcie-0, NUMA node 0: free")
    assert now["GPU 1"].text == f"{H100}, nvlink-0, pcie-0, NUMA node 0: process 4711 computes on it"
    assert now["GPU 2"].text.startswith(f"{H100}, nvlink-0, NUMA node 0: leased to process {pid} (")
    little = "10 % of its memory is free; gpus.min_free_fraction is 0.9"
    assert now["GPU 3"].text == f"{H100}, NUMA node 1: {little}"
    assert [now[f"GPU {n}"].state for n in range(4)] == [State.GOOD, State.NOTE, State.NOTE, State.NOTE]
    assert again == now
    assert found(tmp_path)["GPU 2"].text.endswith(": free")


def test_looking_takes_no_lock_and_makes_none(nvml: StandInDriver, tmp_path: Path) -> None:
    """A sweep that starts right after gets every GPU."""
    nvml.tell([StandInGpu()] * 2)
    folder = tmp_path / "locks"
    assert found(folder)["GPU 0"].text.endswith(": free")
    assert not folder.exists()
    locks = GpuLocks(folder)
    for _ in range(2):
        descriptor = locks.take(uuid_of(0))
        assert descriptor is not None
        assert locks.is_held(uuid_of(0))
        assert locks.holders(uuid_of(0)) == (os.getpid(),)
        os.close(descriptor)
        assert not locks.is_held(uuid_of(0))


def test_what_the_driver_does_not_tell(nvml: StandInDriver, tmp_path: Path) -> None:
    """Unknown facts are said, with the driver's word on why; what cannot be judged counts as free."""
    errors: dict[tuple[str, int | str], int] = {("nvmlDeviceGetComputeRunningProcesses_v3", 0): NO_PERMISSION}
    nvml.tell([StandInGpu(total_gib=None, capability=None)], errors=errors)
    said = found(tmp_path)["GPU 0"]
    assert "memory unknown, compute capability unknown, NUMA node 0: free" in said.text
    assert said.fix.startswith(
        "the driver does not tell: memory: Not Supported; compute capability: Not Supported; "
        "which processes compute on it (counts as free)"
    )


def test_gpus_that_are_left_out(nvml: StandInDriver, tmp_path: Path) -> None:
    """The inventory's notes say why."""
    nvml.tell([StandInGpu(), StandInGpu(mig=True)])
    said = found(tmp_path)
    assert said["GPUs"].text.startswith(f"GPU 1 ({uuid_of(1)}) is left out: it is in MIG mode")
    assert "GPU 1" not in said


def test_a_gpu_that_is_lost_while_it_is_looked_at(nvml: StandInDriver, tmp_path: Path) -> None:
    """It is missing, and nothing else is said to be unknown of it."""
    nvml.tell([StandInGpu()])
    inventory = take_inventory(GpusConfig(kind="nvml"), {})
    nvml.tell([StandInGpu(lost=True)])
    said = gpu_findings(inventory, GpuLocks(tmp_path), min_free_fraction=0.9)[-1]
    assert (said.text, said.state, said.fix) == (f"{H100}, NUMA node 0: it is lost", State.MISSING, "")
