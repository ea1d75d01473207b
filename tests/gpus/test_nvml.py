"""The connection to the driver: how busy GPUs are now, and a driver that goes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from autotune.gpus.inventory import take_inventory
from autotune.gpus.nvml import Driver, read_statuses
from autotune.records import GpuStatus
from autotune.schema import GpusConfig
from tests.standins.nvml.driver import (
    FUNCTION_NOT_FOUND,
    LOST,
    NO_PERMISSION,
    NOT_SUPPORTED,
    StandInDriver,
    StandInGpu,
    uuid_of,
)

STATUS: dict[str, dict[str, Any]] = {
    "nvmlDeviceGetMemoryInfo": {"free_fraction": None},
    "nvmlDeviceGetUtilizationRates": {"utilization": None},
    "nvmlDeviceGetComputeRunningProcesses_v3": {"processes": None},
    "nvmlDeviceGetPowerUsage": {"power_w": None},
}
BUSY = StandInGpu(free_gib=20, processes=(4711, 4712), utilization_percent=87, power_w=612.5)
BUSY_STATUS = GpuStatus(free_fraction=0.25, utilization=0.87, processes=(4711, 4712), power_w=612.5)
IDLE_STATUS = GpuStatus(free_fraction=1.0, utilization=0.0, processes=(), power_w=70.0)


@pytest.fixture
def driver() -> Iterator[Driver]:
    """A connection of its own, which has not asked anything yet."""
    fresh = Driver()
    yield fresh
    fresh.close()


def test_a_gpu_that_is_lost_after_it_was_listed(nvml: StandInDriver, driver: Driver) -> None:
    """It is left out by the next question, and so is one whose driver was given back meanwhile."""
    nvml.tell([StandInGpu()] * 2)
    listed = driver.list_gpus()
    nvml.tell([StandInGpu(), StandInGpu(lost=True)])
    gpus, notes = driver.describe(listed)
    assert [gpu.index for gpu in gpus] == [0]
    assert [note.partition(":")[0] for note in notes] == [f"GPU 1 ({uuid_of(1)}) is left out"]
    driver.close()
    assert driver.describe(listed[:1]) == ((), (f"GPU {listed[0]} is left out: the driver does not list it any more",))  # fmt: skip


def test_statuses(nvml: StandInDriver, driver: Driver) -> None:
    """What each GPU does now; the driver is asked again each time, and initialised by the first question."""
    nvml.tell([StandInGpu()] * 2)
    assert driver.statuses([uuid_of(0), uuid_of(1)]) == {uuid_of(0): IDLE_STATUS, uuid_of(1): IDLE_STATUS}
    nvml.tell([StandInGpu(), BUSY])
    assert driver.statuses([uuid_of(1)]) == {uuid_of(1): BUSY_STATUS}


def test_nvml_stays_initialised(nvml: StandInDriver, driver: Driver) -> None:
    """After the first question no GPU is searched for, so one that is lost is in nobody's way."""
    nvml.tell([StandInGpu()])
    driver.statuses([])
    start = [
        "nvmlInitWithFlags",
        "nvmlDeviceGetCount_v2",
        "nvmlDeviceGetHandleByIndex_v2",
        "nvmlDeviceGetUUID",
    ]
    nvml.tell([BUSY], errors={(function, "*"): LOST for function in start})
    assert driver.statuses([uuid_of(0)]) == {uuid_of(0): BUSY_STATUS}


@pytest.mark.parametrize("code", [NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND, LOST])
@pytest.mark.parametrize("function", STATUS)
def test_a_status_call_that_fails(function: str, code: int, nvml: StandInDriver, driver: Driver) -> None:
    """The rest of that GPU is told, and all of the others; one answer that it is lost is enough."""
    nvml.tell([BUSY, BUSY], errors={(function, 1): code})
    expected = replace(BUSY_STATUS, **STATUS[function], lost=code == LOST)
    assert driver.statuses([uuid_of(0), uuid_of(1)]) == {uuid_of(0): BUSY_STATUS, uuid_of(1): expected}


def test_a_gpu_that_falls_off_the_bus_later(nvml: StandInDriver) -> None:
    """Of an inventory that was taken, the other GPUs can still be asked."""
    nvml.tell([StandInGpu()] * 2)
    uuids = [gpu.uuid for gpu in take_inventory(GpusConfig(kind="nvml"), {}).gpus]
    nvml.tell([StandInGpu(lost=True), BUSY])
    assert read_statuses(uuids) == {uuid_of(0): GpuStatus(lost=True), uuid_of(1): BUSY_STATUS}


def test_a_gpu_that_was_lost_when_the_driver_was_first_asked(nvml: StandInDriver, driver: Driver) -> None:
    """A GPU without a handle is lost; the others are not."""
    nvml.tell([StandInGpu(lost=True), BUSY])
    assert driver.statuses([uuid_of(0), uuid_of(1)]) == {
        uuid_of(0): GpuStatus(lost=True),
        uuid_of(1): BUSY_STATUS,
    }


def test_a_driver_that_goes_and_comes_back(nvml: StandInDriver, driver: Driver) -> None:
    """Every GPU is lost meanwhile, and told again afterwards."""
    nvml.tell([StandInGpu()])
    assert driver.statuses([uuid_of(0)])[uuid_of(0)] == IDLE_STATUS
    nvml.unload()
    assert driver.statuses([uuid_of(0)]) == {uuid_of(0): GpuStatus(lost=True)}
    assert driver.statuses([uuid_of(0)]) == {uuid_of(0): GpuStatus(lost=True)}
    nvml.tell([BUSY])
    assert driver.statuses([uuid_of(0)]) == {uuid_of(0): BUSY_STATUS}


def test_several_threads_ask(nvml: StandInDriver, driver: Driver) -> None:
    """None of them sees a driver that another one is just initialising or giving back."""
    nvml.tell([BUSY] * 8)
    uuids = [uuid_of(index) for index in range(8)]

    def ask(number: int) -> set[GpuStatus]:
        if number % 5 == 0:
            driver.list_gpus()
        if number % 7 == 0:
            driver.close()
        return set(driver.statuses(uuids).values())

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(64)))
    assert answers == [{BUSY_STATUS}] * 64
