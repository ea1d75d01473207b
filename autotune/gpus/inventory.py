"""The inventory: detected by NVML, declared in a preset, or CPU slots."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from autotune.errors import ConfigError
from autotune.gpus.nvml import DRIVER
from autotune.gpus.visible import restrict
from autotune.records import Gpu, GpuSpec, Inventory, InventoryKind

if TYPE_CHECKING:
    from autotune.schema import GpusConfig


def take_inventory(config: GpusConfig, env: Mapping[str, str]) -> Inventory:
    """Return the GPUs that trials may use; of `env`, the variables that restrict CUDA count.

    Raises: ConfigError if there is no driver, no such GPU, or the kind is unknown. GPUs are never
    guessed where the driver cannot be asked.
    """
    if config.kind not in SOURCES:
        raise ConfigError([f"gpus.kind={config.kind}: must be one of {', '.join(SOURCES)}"])
    return SOURCES[config.kind](config, env)


def _declared(config: GpusConfig, _env: Mapping[str, str]) -> Inventory:
    if config.model is None or config.count is None or config.spec is None:
        raise ConfigError(["gpus.kind=declared: the preset must give model, count and spec"])
    if config.island is not None and config.island < 1:
        raise ConfigError(
            [f"gpus.island={config.island}: must be at least 1 (no NVLink), or null (all are joined)"]
        )
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
            island=_declared_island(index, count=config.count, size=config.island or config.count),
        )
        for index in range(config.count)
    )
    return Inventory(kind=InventoryKind.DECLARED, gpus=gpus)


def _declared_island(index: int, *, count: int, size: int) -> str | None:
    """The island of `size` GPUs in a row that one is in; one that is alone there has none."""
    first = index // size * size
    return f"declared/nvlink-{first}" if min(size, count - first) > 1 else None


def _cpu(config: GpusConfig, _env: Mapping[str, str]) -> Inventory:
    node = socket.gethostname()
    slots = range(config.count or 1)
    gpus = tuple(Gpu(uuid=f"cpu-slot-{n}", index=n, model="cpu", node=node) for n in slots)
    return Inventory(kind=InventoryKind.CPU, gpus=gpus)


def _nvml(config: GpusConfig, env: Mapping[str, str]) -> Inventory:
    chosen, notes = restrict(DRIVER.list_gpus(), env=env, ids=config.ids)
    gpus, lost = DRIVER.describe(chosen)
    if not gpus:
        raise ConfigError([f"gpus=nvml: no GPU can be leased: {note}" for note in (*notes, *lost)])
    return Inventory(kind=InventoryKind.DETECTED, gpus=gpus, notes=(*notes, *lost))


SOURCES: Mapping[str, Callable[[GpusConfig, Mapping[str, str]], Inventory]] = {
    "nvml": _nvml,
    "declared": _declared,
    "cpu": _cpu,
}
