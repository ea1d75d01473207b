"""From a workload preset to the loads and the traffic that every load client gets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from autotune.plan.loads import fixed_loads
from autotune.records import Load, Mode, Traffic, Wording
from autotune.schema import Config, WorkloadConfig
from autotune.workload.slots import slot_of

APPROXIMATE = Wording()


LEAST_TIMEOUT_S = 300.0
SLOWEST_TOKEN_S = 0.25  # an engine that is slower for a whole answer serves nobody
FAR = 3.0  # standard deviations: an answer so much longer than the mean may still end


def timeout_of(config: Config) -> float:
    """Return how long a request may take: what is configured, else by the longest answers.

    What makes slow engines fail must not make their latencies look good.
    """
    if config.benchmark.request_timeout_s is not None:
        return config.benchmark.request_timeout_s
    workload = config.workload
    longest = (workload.output_tokens or 0) * (1 + FAR * workload.output_spread)
    return max(LEAST_TIMEOUT_S, SLOWEST_TOKEN_S * longest)


def loads_of(workload: WorkloadConfig) -> list[Load]:
    """Return the loads that a workload gives, in their order, each once; none where they are searched."""
    mode = Mode(workload.mode.value)
    return [Load(mode=mode, value=float(value)) for value in fixed_loads(workload)]


def taken_by(measured: Iterable[Load], traffic: Traffic) -> int:
    """Return how many conversations of a file the measurements at these loads have had."""
    return sum(slot_of(load.value, traffic, rate=load.mode is Mode.RATE).size for load in measured)


def traffic_of(workload: WorkloadConfig, wording: Wording = APPROXIMATE) -> Traffic:
    """Return the requests of a workload in the words that its plan found."""
    sampling = {name: value for name, value in asdict(workload.sampling).items() if value is not None}
    return Traffic(
        endpoint=workload.endpoint.value,
        input_tokens=workload.input_tokens or 0,
        output_tokens=workload.output_tokens or 0,
        input_spread=workload.input_spread,
        output_spread=workload.output_spread,
        requests_per_load=workload.requests_per_load,
        min_requests=workload.min_requests,
        warmup_requests=workload.warmup_requests,
        ignore_eos=workload.ignore_eos,
        seed=workload.seed,
        prefix_tokens=workload.prefix_tokens,
        prefixes=workload.prefixes,
        turns=workload.turns,
        turns_spread=workload.turns_spread,
        sampling=sampling,
        extra_body=dict(workload.extra_body),
        words=wording.words,
        overhead_tokens=wording.overhead_tokens,
        turn_overhead_tokens=wording.turn_overhead_tokens,
        pool=wording.pool,
        loads=tuple(load.value for load in loads_of(workload)),
        arrival=workload.arrival.value,
        burstiness=workload.burstiness,
        ramp_s=workload.ramp_s,
        seconds_per_load=workload.seconds_per_load,
        warmup_max_s=workload.warmup_max_s,
    )
