"""The inventory: detected by NVML, declared in a preset, or CPU slots."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from autotune.errors import ConfigError
from autotune.records import Gpu, GpuSpec, Inventory, InventoryKind

if TYPE_CHECKING:
    from autotune.schema import GpusConfig

NO_GPU_ADVICE = (
    "choose gpus=cpu for engines on a CPU, or a declared inventory such as gpus=h100_8x with deploy=simulated"
)


def take_inventory(config: GpusConfig) -> Inventory:
    """Return the GPUs that trials may use.

    Raises: ConfigError if there is no driver, no such GPU, or the kind is unknown. GPUs are never
    guessed where the driver cannot be asked.
    """
    if config.kind not in SOURCES:
        raise ConfigError([f"gpus.kind={config.kind}: must be one of {', '.join(SOURCES)}"])
    return SOURCES[config.kind](config)


def _declared(config: GpusConfig) -> Inventory:
    if config.model is None or config.count is None or config.spec is None:
        raise ConfigError(["gpus.kind=declared: the preset must give model, count and spec"])
    spec = GpuSpec(
        tflops_16bit=config.spec.tflops_16bit,
        tflops_8bit=config.spec.tflops_8bit,
        memory_gib=config.spec.memory_gib,
        memory_gb_per_s=config.spec.memory_gb_per_s,
        link_gb_per_s=config.spec.link_gb_per_s,
        compute_capability=config.spec.compute_capability,
    )
    gpus = tuple(
        Gpu(
            uuid=f"declared-{config.model}-{index}",
            index=index,
            model=config.model,
            node=socket.gethostname(),
            memory_gib=spec.memory_gib,
            compute_capability=spec.compute_capability,
            spec=spec,
        )
        for index in range(config.count)
    )
    return Inventory(kind=InventoryKind.DECLARED, gpus=gpus)


def _cpu(config: GpusConfig) -> Inventory:
    node = socket.gethostname()
    slots = range(config.count or 1)
    gpus = tuple(Gpu(uuid=f"cpu-slot-{n}", index=n, model="cpu", node=node) for n in slots)
    return Inventory(kind=InventoryKind.CPU, gpus=gpus)


def _nvml(config: GpusConfig) -> Inventory:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise ConfigError([f"gpus=nvml: no NVIDIA driver answers ({error}): {NO_GPU_ADVICE}"]) from error
    try:
        found = [_nvml_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        raise ConfigError([f"gpus=nvml: the NVIDIA driver failed while listing GPUs ({error})"]) from error
    finally:
        pynvml.nvmlShutdown()
    if not found:
        raise ConfigError([f"gpus=nvml: the NVIDIA driver lists no GPU: {NO_GPU_ADVICE}"])
    return Inventory(kind=InventoryKind.DETECTED, gpus=_selected(tuple(found), config.ids))


def _nvml_gpu(pynvml: Any, index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    return Gpu(
        uuid=pynvml.nvmlDeviceGetUUID(handle),
        index=index,
        model=pynvml.nvmlDeviceGetName(handle),
        node=socket.gethostname(),
        memory_gib=_memory_gib(pynvml, handle),
        compute_capability=_compute_capability(pynvml, handle),
    )


def _memory_gib(pynvml: Any, handle: Any) -> float | None:
    """Memory in GiB; None on parts whose driver does not tell (error NotSupported)."""
    try:
        total = pynvml.nvmlDeviceGetMemoryInfo(handle).total
    except pynvml.NVMLError_NotSupported:
        return None
    return float(total) / 2**30


def _compute_capability(pynvml: Any, handle: Any) -> float | None:
    """Compute capability, such as 9.0; None where the driver does not tell, which only skips a check."""
    try:
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    except pynvml.NVMLError:
        return None
    return float(f"{major}.{minor}")


def _selected(gpus: tuple[Gpu, ...], ids: list[str] | None) -> tuple[Gpu, ...]:
    if ids is None:
        return gpus
    by_id = {str(gpu.index): gpu for gpu in gpus} | {gpu.uuid: gpu for gpu in gpus}
    unknown = [wanted for wanted in ids if str(wanted) not in by_id]
    if unknown:
        raise ConfigError([f"gpus.ids: no GPU {', '.join(map(str, unknown))}; found {', '.join(by_id)}"])
    return tuple(dict.fromkeys(by_id[str(wanted)] for wanted in ids))


SOURCES: Mapping[str, Callable[[GpusConfig], Inventory]] = {
    "nvml": _nvml,
    "declared": _declared,
    "cpu": _cpu,
}
