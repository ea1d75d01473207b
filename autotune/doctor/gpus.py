"""The GPUs: what each is, and whether it is free or who has it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autotune.doctor.finding import Finding, State
from autotune.errors import InfrastructureError
from autotune.gpus.busy import why_busy
from autotune.gpus.containers import ContainerGpus
from autotune.gpus.locks import GpuLocks
from autotune.gpus.nvml import DRIVER, read_statuses
from autotune.records import Gpu, GpuStatus, Inventory, InventoryKind

WITHOUT_GPU = (
    "works without: plan with any gpus=PRESET, deploy=simulated gpus=h100_8x, gpus=cpu for engines on a CPU, "
    "deploy.url=URL for an engine that runs elsewhere"
)


def gpu_findings(inventory: Inventory, locks: GpuLocks, *, min_free_fraction: float) -> list[Finding]:
    """Return what each GPU is, and for those that a driver has whether it is free now or who has it."""
    notes = [Finding(about="GPUs", text=note, state=State.NOTE) for note in inventory.notes]
    if inventory.kind is not InventoryKind.DETECTED:
        return [*(_assumed(gpu, inventory.kind) for gpu in inventory.gpus), *notes]
    driver = Finding(about="driver", text=f"NVIDIA {DRIVER.version() or 'does not tell its version'}")
    return [driver, *_detected(inventory, locks, min_free_fraction=min_free_fraction), *notes]


def without_gpus(why: Sequence[str]) -> list[Finding]:
    """Return why there are no GPUs, and what works without."""
    missing = [Finding(about="GPUs", text=text, state=State.MISSING) for text in why]
    return [*missing, Finding(about="GPUs", text=WITHOUT_GPU, state=State.NOTE)]


def _assumed(gpu: Gpu, kind: InventoryKind) -> Finding:
    """A GPU or slot that the configuration says is there."""
    if kind is InventoryKind.CPU:
        return Finding(about=f"CPU slot {gpu.index}", text="an engine on the CPU can run here")
    return Finding(about=f"GPU {gpu.index}", text=f"{_described(gpu)}: {kind.value}, not looked for")


def _detected(inventory: Inventory, locks: GpuLocks, *, min_free_fraction: float) -> list[Finding]:
    """A finding for each GPU that the driver has."""
    statuses = read_statuses(gpu.uuid for gpu in inventory.gpus)
    said: list[str] = []
    containers = ContainerGpus(tell=said.append)()
    found = [Finding(about="containers", text=text, state=State.NOTE) for text in said]
    for gpu in inventory.gpus:
        status = statuses[gpu.uuid]
        held = "a container holds it" if gpu.uuid in containers else None
        busy = [_lock_words(gpu, locks), held, why_busy(status, min_free_fraction=min_free_fraction, ours=())]
        why = "; ".join(filter(None, busy))
        unknown = [*gpu.unknown, *_untold(status)]
        found.append(
            Finding(
                about=f"GPU {gpu.index}",
                text=f"{_described(gpu)}: {why or 'free'}",
                state=State.MISSING if status.lost else State.NOTE if why else State.GOOD,
                fix=f"the driver does not tell: {'; '.join(unknown)}" if unknown else "",
            )
        )
    return found


def _described(gpu: Gpu) -> str:
    """What a GPU is in a line: model, memory, compute capability, and where it is among others."""
    facts = [
        gpu.model,
        "memory unknown" if gpu.memory_gib is None else f"{gpu.memory_gib:.0f} GiB",
        "compute capability unknown"
        if gpu.compute_capability is None
        else f"compute capability {gpu.compute_capability}",
        *(name.rpartition("/")[2] for name in (gpu.island, gpu.switch) if name),
        "" if gpu.numa is None else f"NUMA node {gpu.numa}",
    ]
    return ", ".join(filter(None, facts))


def _lock_words(gpu: Gpu, locks: GpuLocks) -> str | None:
    """Who holds a GPU for autotune: a sweep, or an engine that a killed one left."""
    try:
        if not locks.is_held(gpu.uuid):
            return None
    except InfrastructureError as error:
        return str(error)
    holders = [f"{pid} ({_command(pid)})" for pid in locks.holders(gpu.uuid)]
    who = f"process {', '.join(holders)}" if holders else "a process that this user may not see"
    return f"leased to {who}"


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "gone"


def _untold(status: GpuStatus) -> list[str]:
    """What cannot be judged: a GPU without these counts as free."""
    told = {
        "which processes compute on it": status.processes,
        "how much memory is free": status.free_fraction,
    }
    return (
        [] if status.lost else [f"{what} (counts as free)" for what, value in told.items() if value is None]
    )
