"""From a workload preset to the loads and the traffic that every load client gets."""

from __future__ import annotations

from autotune.records import Load, Mode, Traffic
from autotune.schema import WorkloadConfig


def loads_of(workload: WorkloadConfig) -> list[Load]:
    """Return the loads of a workload, in their order, each once."""
    mode = Mode(workload.mode.value)
    return [Load(mode=mode, value=float(value)) for value in dict.fromkeys(workload.loads)]


def traffic_of(workload: WorkloadConfig) -> Traffic:
    """Return the requests of a workload."""
    return Traffic(
        endpoint=workload.endpoint.value,
        input_tokens=workload.input_tokens,
        output_tokens=workload.output_tokens,
        input_spread=workload.input_spread,
        output_spread=workload.output_spread,
        requests_per_load=workload.requests_per_load,
        min_requests=workload.min_requests,
        warmup_requests=workload.warmup_requests,
        ignore_eos=workload.ignore_eos,
        seed=workload.seed,
        arrival=workload.arrival.value,
        burstiness=workload.burstiness,
        ramp_s=workload.ramp_s,
        seconds_per_load=workload.seconds_per_load,
        warmup_max_s=workload.warmup_max_s,
    )
