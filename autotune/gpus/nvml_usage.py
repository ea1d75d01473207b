"""What one GPU does at a moment, asked of NVML call by call; `nvml` is the module pynvml, initialised.

Source: NVML API reference: nvmlDeviceGetTotalEnergyConsumption counts millijoules from the load of the driver
(Volta and later); nvmlDeviceGetPowerUsage is an average over a second on Ampere and later, but for GA100;
nvmlClocksEventReasons.
"""

from __future__ import annotations

from typing import Any

from autotune.gpus.nvml_facts import Asked
from autotune.records import GpuUsage

FUNCTION_NOT_FOUND = 13

THROTTLES = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""Reasons that hold a busy GPU back. Not among them: idle (1), application clocks (2), sync boost (0x10) and
display clocks (0x100), which somebody has chosen."""


def usage_now(nvml: Any, handle: Any) -> GpuUsage:
    """Return what a GPU does now; a call that fails leaves its field None and is told in `unknown`."""
    asked = Asked(nvml)
    memory = asked("memory", nvml.nvmlDeviceGetMemoryInfo, handle)
    rates = asked("utilization", nvml.nvmlDeviceGetUtilizationRates, handle)
    power_mw = asked("power", nvml.nvmlDeviceGetPowerUsage, handle)
    energy_mj = asked("energy", nvml.nvmlDeviceGetTotalEnergyConsumption, handle)
    reasons = _reasons(nvml, handle, asked)
    return GpuUsage(
        utilization=None if rates is None else rates.gpu / 100,
        memory_gib=None if memory is None else memory.used / 2**30,
        memory_fraction=memory.used / memory.total if memory is not None and memory.total else None,
        power_w=None if power_mw is None else power_mw / 1000,
        energy_j=None if energy_mj is None else energy_mj / 1000,
        sm_clock_mhz=asked("SM clock", nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
        memory_clock_mhz=asked("memory clock", nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_MEM),
        temperature_c=asked("temperature", nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
        throttles=None if reasons is None else throttles(reasons),
        unknown=tuple(asked.unknown),
    )


def throttles(reasons: int) -> frozenset[str]:
    """Return, in words, those of NVML's bits that hold a busy GPU back."""
    return frozenset(word for bit, word in THROTTLES.items() if reasons & bit)


def _reasons(nvml: Any, handle: Any, asked: Asked) -> int | None:
    """Asked by the name that drivers before 535 have, where the newer one is missing."""
    newer = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
    if newer is not None:
        value, error = asked.attempt(newer, handle)
        if error is None:
            return int(value)
        if error.value != FUNCTION_NOT_FOUND:
            asked.unknown.append(f"throttle reasons: {error}")
            return None
    older = asked("throttle reasons", nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
    return None if older is None else int(older)
