"""Compute capabilities: what number formats need, against the oldest GPU of the inventory."""

from __future__ import annotations

from collections.abc import Mapping

from autotune.plan.runtimes.protocol import Setup
from autotune.records import Gpu, InventoryKind

UNKNOWN = "compute capability unknown: not checked"

# Where the hardware computes in a format. Below these floors vLLM and SGLang refuse, or unpack the weights
# and compute in 16 bits (Marlin), which measures something else than what was asked for.
# Source: vLLM 0.32.0 and SGLang 0.5.23, get_min_capability of each quantization method; FP8, MXFP8 and
# NVFP4 are those of the tensor cores (8.9, 10.0, 10.0).
WEIGHT_FLOORS: Mapping[str, float] = {
    "bf16": 8.0,
    "fp8": 8.9,
    "int8": 7.5,
    "w4a16": 7.5,
    "w4afp8": 9.0,
    "mxfp4": 8.0,
    "mxfp8": 10.0,
    "nvfp4": 10.0,
}


def oldest(setup: Setup) -> Gpu | None:
    """Return the GPU of the lowest known compute capability; None where none is known."""
    known = [gpu for gpu in setup.inventory.gpus if gpu.compute_capability is not None]
    return min(known, key=lambda gpu: gpu.compute_capability or 0, default=None)


def capability_of(setup: Setup) -> float | None:
    """Return the lowest compute capability, None where it is unknown."""
    gpu = oldest(setup)
    return gpu.compute_capability if gpu is not None else None


def too_old(setup: Setup, floor: float | None) -> str | None:
    """Return why the oldest GPU does not reach `floor`; None if it does, or is unknown."""
    gpu = oldest(setup)
    if floor is None or gpu is None or not checked(setup):
        return None
    have = gpu.compute_capability or 0
    if have >= floor:
        return None
    return f"needs compute capability {floor:.1f} or newer; {gpu.model} has {have:.1f}"


def nearest(setup: Setup, field: str, *names: str) -> str:
    """Return the setting of `field` (`quant.gemm_dtype`) that works on these GPUs: the first such format."""
    name = next((name for name in names if too_old(setup, WEIGHT_FLOORS.get(name)) is None), "auto")
    return f"choose {field}={name}"


def checked(setup: Setup) -> bool:
    """Whether hardware counts: not on a CPU, nor for what was measured elsewhere."""
    return setup.inventory.kind is not InventoryKind.CPU and setup.config.deploy.kind != "replay"


def unknown(setup: Setup) -> bool:
    """Whether hardware counts and some of it is unknown."""
    gpus = setup.inventory.gpus
    return checked(setup) and (not gpus or any(gpu.compute_capability is None for gpu in gpus))
