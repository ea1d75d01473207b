"""What a GPU does beside a measurement, asked of the driver call by call."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from autotune.gpus.nvml import Driver
from autotune.gpus.nvml_usage import throttles
from autotune.records import GpuUsage
from tests.standins.nvml.driver import (
    FUNCTION_NOT_FOUND,
    LOST,
    NO_PERMISSION,
    NOT_SUPPORTED,
    StandInDriver,
    StandInGpu,
    uuid_of,
)

BUSY = StandInGpu(
    free_gib=20,
    utilization_percent=87,
    power_w=500,
    sm_clock_mhz=1410,
    memory_clock_mhz=2600,
    temperature_c=81,
    reasons=0x04 | 0x20,
)
USAGE = GpuUsage(
    utilization=0.87,
    memory_gib=60.0,
    memory_fraction=0.75,
    power_w=500.0,
    sm_clock_mhz=1410,
    memory_clock_mhz=2600,
    temperature_c=81,
    throttles=frozenset({"power cap", "thermal slowdown"}),
)
CALLS: dict[str, dict[str, Any]] = {
    "nvmlDeviceGetMemoryInfo": {"memory_gib": None, "memory_fraction": None},
    "nvmlDeviceGetUtilizationRates": {"utilization": None},
    "nvmlDeviceGetPowerUsage": {"power_w": None},
    "nvmlDeviceGetTotalEnergyConsumption": {},
    "nvmlDeviceGetClockInfo": {"sm_clock_mhz": None, "memory_clock_mhz": None},
    "nvmlDeviceGetTemperature": {"temperature_c": None},
}


@pytest.fixture
def driver() -> Iterator[Driver]:
    """A connection of its own."""
    fresh = Driver()
    yield fresh
    fresh.close()


def told(usage: GpuUsage) -> GpuUsage:
    """What is known but for energy, which grows, and the words on what is not."""
    return replace(usage, energy_j=None, unknown=())


def test_all_that_is_told(nvml: StandInDriver, driver: Driver) -> None:
    """Each GPU by itself; nothing is unknown; the counter grows by the power that is drawn."""
    nvml.tell([StandInGpu(), BUSY])
    began = time.monotonic()
    first = driver.usages([uuid_of(1)])[uuid_of(1)]
    time_s = 0.2
    while time.monotonic() - began < time_s:
        second = driver.usages([uuid_of(1)])[uuid_of(1)]
    assert told(first) == USAGE
    assert first.unknown == ()
    assert first.energy_j is not None
    assert second.energy_j is not None
    assert 0 < second.energy_j - first.energy_j <= 500 * (time.monotonic() - began)


@pytest.mark.parametrize("code", [NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND, LOST])
@pytest.mark.parametrize("function", CALLS)
def test_a_call_that_fails(function: str, code: int, nvml: StandInDriver, driver: Driver) -> None:
    """Its field is unknown with the driver's reason, the rest is told, and so is all of the other GPU."""
    nvml.tell([BUSY, BUSY], errors={(function, 1): code})
    found = driver.usages([uuid_of(0), uuid_of(1)])
    assert told(found[uuid_of(0)]) == USAGE
    assert found[uuid_of(0)].unknown == ()
    assert told(found[uuid_of(1)]) == replace(USAGE, **CALLS[function])
    assert found[uuid_of(1)].unknown
    assert (found[uuid_of(1)].energy_j is None) == (function == "nvmlDeviceGetTotalEnergyConsumption")


def test_throttle_reasons_of_an_older_driver(nvml: StandInDriver, driver: Driver) -> None:
    """They are asked by the name of before 535; only where that fails too they are unknown."""
    newer, older = "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"
    nvml.tell([BUSY], errors={(newer, 0): FUNCTION_NOT_FOUND})
    assert driver.usages([uuid_of(0)])[uuid_of(0)].throttles == USAGE.throttles
    nvml.tell([BUSY], errors={(newer, 0): FUNCTION_NOT_FOUND, (older, 0): NOT_SUPPORTED})
    [usage] = driver.usages([uuid_of(0)]).values()
    assert (usage.throttles, usage.unknown) == (None, ("throttle reasons: Not Supported",))
    nvml.tell([BUSY], errors={(newer, 0): NO_PERMISSION})
    [usage] = driver.usages([uuid_of(0)]).values()
    assert (usage.throttles, usage.unknown) == (None, ("throttle reasons: Insufficient Permissions",))


def test_reasons_that_are_no_throttling() -> None:
    """An idle GPU, and clocks that somebody has chosen."""
    assert throttles(0x1 | 0x2 | 0x10 | 0x100) == frozenset()
    assert throttles(0x40 | 0x8 | 0x80) == {
        "hardware thermal slowdown",
        "hardware slowdown",
        "power brake",
    }


def test_a_lost_gpu_and_a_driver_that_goes(nvml: StandInDriver, driver: Driver) -> None:
    """Nothing is known of them, and it is asked again afterwards."""
    nvml.tell([StandInGpu(lost=True), BUSY])
    found = driver.usages([uuid_of(0), uuid_of(1)])
    assert found[uuid_of(0)] == GpuUsage()
    assert told(found[uuid_of(1)]) == USAGE
    nvml.unload()
    assert driver.usages([uuid_of(1)]) == {uuid_of(1): GpuUsage()}
    nvml.tell([StandInGpu(), BUSY])
    assert told(driver.usages([uuid_of(1)])[uuid_of(1)]) == USAGE
