"""What NVML says of a trial's GPUs in a measured window, as series over the trial, and of throttling."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from autotune.observe.sampler import Reading
from autotune.observe.windows import Points, Window, at, integral
from autotune.records import Gpu, GpuUsage

Usages = Mapping[str, GpuUsage]  # by UUID
Looks = Sequence[Reading[Usages]]

SERIES = {
    "utilization_percentage": ("utilization", 100.0),
    "memory_usage_percentage": ("memory_fraction", 100.0),
    "memory_usage_megabytes": ("memory_gib", 2**30 / 1e6),
    "power_usage_watts": ("power_w", 1.0),
    "sm_clock_mhz": ("sm_clock_mhz", 1.0),
    "memory_clock_mhz": ("memory_clock_mhz", 1.0),
    "temperature_celsius": ("temperature_c", 1.0),
}
"""The ends of names in MLflow's System metrics section: field, factor. Source: MLflow 3.17
system_metrics/metrics/gpu_monitor.py for the first four; the others follow its manner."""


def summarize_gpus(looks: Looks, window: Window) -> dict[str, float]:
    """Return the `gpu/…` metrics and the energy of a window; what the driver does not tell is left out."""
    inside = [reading.value for reading in window.inside(looks)]
    metrics = {
        "gpu/utilization_mean": _mean(_values(inside, "utilization")),
        "gpu/memory_gib_max": max(_values(inside, "memory_gib"), default=None),
        "gpu/power_w_mean": _mean([watts for usages in inside if (watts := _together(usages)) is not None]),
        "gpu/sm_clock_mhz_mean": _mean(_values(inside, "sm_clock_mhz")),
        "gpu/memory_clock_mhz_mean": _mean(_values(inside, "memory_clock_mhz")),
        "gpu/temperature_c_max": max(_values(inside, "temperature_c"), default=None),
        "gpu/throttled_fraction": _throttled_fraction(inside),
        "energy_j": energy_j(looks, window),
    }
    return {name: value for name, value in metrics.items() if value is not None}


def energy_per_token(metrics: Mapping[str, float], duration_s: float) -> dict[str, float]:
    """Return the energy of each token made in the same window, from its `energy_j` and throughputs."""
    energy = metrics.get("energy_j")
    if energy is None:
        return {}
    tokens = {
        "energy_j_per_output_token": metrics.get("output_tokens_per_s", 0.0) * duration_s,
        "energy_j_per_total_token": metrics.get("total_tokens_per_s", 0.0) * duration_s,
    }
    return {name: energy / count for name, count in tokens.items() if count > 0}


def energy_j(looks: Looks, window: Window) -> float | None:
    """Return the energy of all GPUs together in a window; None if one of them does not tell."""
    uuids = dict.fromkeys(uuid for reading in looks for uuid in reading.value)
    parts = [_energy_of_one(looks, uuid, window) for uuid in uuids]
    if not parts or any(part is None for part in parts):
        return None
    return math.fsum(part for part in parts if part is not None)


def _energy_of_one(looks: Looks, uuid: str, window: Window) -> float | None:
    """By the GPU's own counter; where it has none, or it began anew, by its power."""
    counter = _points(looks, uuid, "energy_j")
    begin, end = at(counter, window.begin_s), at(counter, window.end_s)
    if begin is not None and end is not None and end >= begin:
        return end - begin
    return integral(_points(looks, uuid, "power_w"), window.begin_s, window.end_s)


def _points(looks: Looks, uuid: str, field: str) -> Points:
    values = ((reading.at_s, getattr(reading.value.get(uuid), field, None)) for reading in looks)
    return [(at_s, value) for at_s, value in values if value is not None]


def gpu_series(looks: Looks, gpus: Sequence[Gpu]) -> Iterator[tuple[float, dict[str, float]]]:
    """Yield the time and the values of each reading, under the names of MLflow's system metrics."""
    indices = {gpu.uuid: gpu.index for gpu in gpus}
    for reading in looks:
        values: dict[str, float] = {}
        for uuid, usage in reading.value.items():
            for end, (field, factor) in SERIES.items():
                value = getattr(usage, field)
                if value is not None:
                    values[f"system/gpu_{indices[uuid]}_{end}"] = round(value * factor, 3)
        yield reading.at_s, values


@dataclass(slots=True)
class Throttling:
    """Which GPUs were held back, for what, in how many samples of all measured windows."""

    samples: Counter[str]
    held: Counter[tuple[str, str]]

    def take(self, looks: Looks, window: Window) -> None:
        """Count the samples of one more window."""
        for reading in window.inside(looks):
            for uuid, usage in reading.value.items():
                if usage.throttles is not None:
                    self.samples[uuid] += 1
                    self.held.update((uuid, reason) for reason in usage.throttles)

    def note(self, gpus: Sequence[Gpu]) -> str | None:
        """Return one sentence for the trial; None if nothing was held back."""
        told = [
            f"GPU {gpu.index}: {reason} in {self.held[gpu.uuid, reason] / self.samples[gpu.uuid]:.0%} of "
            f"{self.samples[gpu.uuid]} samples"
            for gpu in gpus
            for reason in sorted({why for uuid, why in self.held if uuid == gpu.uuid})
        ]
        return f"throttled while measured: {'; '.join(told)}" if told else None


def unknown_notes(looks: Looks, gpus: Sequence[Gpu]) -> list[str]:
    """Return what the driver did not tell of each GPU, once."""
    notes = []
    for gpu in gpus:
        seen = [reading.value[gpu.uuid] for reading in looks if gpu.uuid in reading.value]
        lines = dict.fromkeys(line for usage in seen for line in usage.unknown)
        if lines:
            notes.append(f"GPU {gpu.index}: the driver does not always tell {'; '.join(lines)}")
        elif seen and all(usage == GpuUsage() for usage in seen):
            notes.append(f"GPU {gpu.index}: the driver did not answer while it was measured")
    return notes


def _values(inside: Iterable[Usages], field: str) -> list[float]:
    values = (getattr(usage, field) for usages in inside for usage in usages.values())
    return [value for value in values if value is not None]


def _together(usages: Usages) -> float | None:
    """The power of all GPUs; None if one does not tell."""
    watts = [usage.power_w for usage in usages.values()]
    known = [value for value in watts if value is not None]
    return math.fsum(known) if known and len(known) == len(watts) else None


def _throttled_fraction(inside: Iterable[Usages]) -> float | None:
    """The share of samples in which at least one GPU was held back; None if none tells."""
    told = [[u.throttles for u in usages.values() if u.throttles is not None] for usages in inside]
    return _mean([float(any(reasons)) for reasons in told if reasons])


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
