"""What NVML's samples say of a window: means, energy, throttling."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from autotune.observe.gpu import (
    Throttling,
    Usages,
    energy_j,
    energy_per_token,
    gpu_series,
    summarize_gpus,
    unknown_notes,
)
from autotune.observe.sampler import Reading
from autotune.observe.windows import Window
from autotune.records import Gpu, GpuUsage

WINDOW = Window(begin_s=1.0, end_s=3.0, slack_s=1.0)
GPUS = tuple(Gpu(uuid=f"GPU-{index}", index=index + 4, model="H100", node="n") for index in range(2))
BUSY = GpuUsage(
    utilization=0.9,
    memory_gib=70.0,
    memory_fraction=0.875,
    power_w=500.0,
    energy_j=1000.0,
    sm_clock_mhz=1500,
    memory_clock_mhz=2600,
    temperature_c=70,
    throttles=frozenset(),
)


def looks(*usages: tuple[GpuUsage, ...]) -> list[Reading[Usages]]:
    """Samples at 0, 1, 2 … s, with one usage for each GPU."""
    return [
        Reading(at_s=float(second), value={gpu.uuid: use for gpu, use in zip(GPUS, both, strict=False)})
        for second, both in enumerate(usages)
    ]


def test_a_window_on_two_gpus() -> None:
    """Means over GPUs and samples, the fullest and the hottest, power and energy of both together."""
    first = [replace(BUSY, energy_j=500.0 * second) for second in range(5)]
    second = [replace(BUSY, utilization=0.5, memory_gib=60.0, power_w=300.0, temperature_c=80, energy_j=300.0 * s, sm_clock_mhz=1700) for s in range(5)]  # fmt: skip
    assert summarize_gpus(looks(*zip(first, second, strict=True)), WINDOW) == {
        "gpu/utilization_mean": pytest.approx(0.7),
        "gpu/memory_gib_max": 70.0,
        "gpu/power_w_mean": 800.0,
        "gpu/sm_clock_mhz_mean": 1600.0,
        "gpu/memory_clock_mhz_mean": 2600.0,
        "gpu/temperature_c_max": 80,
        "gpu/throttled_fraction": 0.0,
        "energy_j": pytest.approx(1600.0),
    }


def test_energy_is_interpolated_at_both_ends() -> None:
    """100 W in the first two seconds, 300 W in the others."""
    counter = [0.0, 100.0, 200.0, 500.0, 800.0]
    seen = looks(*((replace(BUSY, energy_j=value),) for value in counter))
    assert energy_j(seen, Window(begin_s=1.5, end_s=2.5, slack_s=1.0)) == pytest.approx(50 + 150)


@pytest.mark.parametrize(
    "counter", [[None] * 5, [9e9, 9e9, 0.0, 1.0, 2.0]], ids=["no counter", "driver loaded anew"]
)
def test_power_is_integrated_where_the_counter_is_of_no_use(counter: list[float | None]) -> None:
    """Trapezoids over the samples of power."""
    watts = [100.0, 100.0, 300.0, 300.0, 300.0]
    seen = looks(*((replace(BUSY, energy_j=j, power_w=w),) for j, w in zip(counter, watts, strict=True)))
    assert energy_j(seen, WINDOW) == pytest.approx(200 + 300)


def test_energy_is_of_all_gpus_or_unknown() -> None:
    """One that tells neither energy nor power makes the sum unknown; so do samples that do not cover it."""
    mute = replace(BUSY, energy_j=None, power_w=None)
    steady = [(replace(BUSY, energy_j=500.0 * second), mute) for second in range(5)]
    found = summarize_gpus(looks(*steady), WINDOW)
    assert "energy_j" not in found
    assert "gpu/power_w_mean" not in found
    assert found["gpu/utilization_mean"] == pytest.approx(0.9)
    assert energy_j(looks((BUSY,), (BUSY,)), WINDOW) is None
    assert energy_j([], WINDOW) is None


def test_energy_of_a_token() -> None:
    """1,200 J for 400 output tokens and 1,200 in all; nothing without energy or tokens."""
    metrics = {"energy_j": 1200.0, "output_tokens_per_s": 200.0, "total_tokens_per_s": 600.0}
    assert energy_per_token(metrics, 2.0) == {
        "energy_j_per_output_token": 3.0,
        "energy_j_per_total_token": 1.0,
    }
    assert energy_per_token({"output_tokens_per_s": 200.0}, 2.0) == {}
    assert energy_per_token({"energy_j": 1.0}, 2.0) == {}


def test_throttling_is_counted_by_gpu_and_reason() -> None:
    """In measured windows only; the share is of samples in which any GPU was held back."""
    capped = replace(BUSY, throttles=frozenset({"power cap"}))
    hot = replace(BUSY, throttles=frozenset({"power cap", "thermal slowdown"}))
    mute = replace(BUSY, throttles=None)
    seen = looks((hot, hot), (capped, BUSY), (BUSY, mute), (hot, BUSY), (hot, hot))
    assert summarize_gpus(seen, WINDOW)["gpu/throttled_fraction"] == pytest.approx(2 / 3)
    throttling = Throttling(Counter(), Counter())
    throttling.take(seen, WINDOW)
    assert throttling.note(GPUS) == (
        "throttled while measured: GPU 4: power cap in 67% of 3 samples; "
        "GPU 4: thermal slowdown in 33% of 3 samples"
    )


def test_without_throttling_there_is_no_note() -> None:
    """Nor a share where no driver tells."""
    throttling = Throttling(Counter(), Counter())
    throttling.take(looks(*[(BUSY, BUSY)] * 5), WINDOW)
    assert throttling.note(GPUS) is None
    mute = replace(BUSY, throttles=None)
    assert "gpu/throttled_fraction" not in summarize_gpus(looks(*[(mute,)] * 5), WINDOW)


def test_series_are_named_as_mlflow_names_system_metrics() -> None:
    """By the index of the driver, with what is told."""
    known = GpuUsage(utilization=0.5, memory_gib=1.0, memory_fraction=0.25, power_w=70.0)
    [(at_s, values)] = gpu_series(looks((known, GpuUsage())), GPUS)
    assert at_s == 0.0
    assert values == {
        "system/gpu_4_utilization_percentage": 50.0,
        "system/gpu_4_memory_usage_percentage": 25.0,
        "system/gpu_4_memory_usage_megabytes": pytest.approx(1073.742),
        "system/gpu_4_power_usage_watts": 70.0,
    }


def test_what_the_driver_does_not_tell_is_noted_once() -> None:
    """For each GPU, with the driver's own reason."""
    partly = replace(BUSY, unknown=("energy: Not Supported",))
    assert unknown_notes(looks((partly, GpuUsage()), (partly, GpuUsage())), GPUS) == [
        "GPU 4: the driver does not always tell energy: Not Supported",
        "GPU 5: the driver did not answer while it was measured",
    ]
    assert unknown_notes(looks((BUSY, BUSY)), GPUS) == []
