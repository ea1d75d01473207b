"""The least values that numbers in a configuration may have."""

from __future__ import annotations

from autotune.schema import Config

Bound = tuple[str, float | None, float]
"""A key, its value and the least that it may be; a value of None is not judged."""


def bounds(config: Config) -> list[Bound]:
    """Return every number of a configuration that has a least value."""
    return [*_running(config), *_measuring(config)]


def _running(config: Config) -> list[Bound]:
    """What is served, where and how often it is tried."""
    serving = config.serving
    return [
        ("serving.max_running_requests", serving.max_running_requests, 1),
        ("serving.max_batched_tokens", serving.max_batched_tokens, 1),
        ("serving.max_model_len", serving.max_model_len, 1),
        ("launcher.max_parallel", config.launcher.max_parallel, 1),
        ("launcher.acquire_timeout_s", config.launcher.acquire_timeout_s, 0),
        ("launcher.lookahead", config.launcher.lookahead, 1),
        ("launcher.overtake", config.launcher.overtake, 0),
        ("launcher.island_wait", config.launcher.island_wait, 0),
        ("launcher.client_cores", config.launcher.client_cores, 0),
        ("sweep.max_failures", config.sweep.max_failures, 1),
        ("retry.attempts", config.retry.attempts, 1),
        ("retry.backoff_s", config.retry.backoff_s, 0),
        ("retry.within_s", config.retry.within_s, 0),
        ("search.budget.trials", config.search.budget.trials, 1),
        ("gpus.count", config.gpus.count, 1),
        ("gpus.usd_per_hour", config.gpus.usd_per_hour, 0),
        ("gpus.min_free_fraction", config.gpus.min_free_fraction, 0),
        ("gpus.settle_timeout_s", config.gpus.settle_timeout_s, 0),
        ("gpus.island", config.gpus.island, 1),
        ("deploy.startup_timeout_s", config.deploy.startup_timeout_s, 0.001),
        ("deploy.stop_timeout_s", config.deploy.stop_timeout_s, 0),
        ("deploy.daemon_timeout_s", config.deploy.daemon_timeout_s, 0.1),
        ("deploy.startup_s", config.deploy.startup_s, 0),
        ("deploy.time_scale", config.deploy.time_scale, 0),
        ("deploy.port", config.deploy.port, 1),
    ]


def _measuring(config: Config) -> list[Bound]:
    """The requests, the client and the repeats."""
    workload = config.workload
    return [
        ("workload.input_tokens", workload.input_tokens, 1),
        ("workload.output_tokens", workload.output_tokens, 1),
        ("workload.input_spread", workload.input_spread, 0),
        ("workload.output_spread", workload.output_spread, 0),
        ("workload.turns_spread", workload.turns_spread, 0),
        ("workload.prefix_tokens", workload.prefix_tokens, 0),
        ("workload.prefixes", workload.prefixes, 1),
        ("workload.turns", workload.turns, 1),
        ("workload.max_tokens", workload.max_tokens, 2),
        ("workload.sampling.temperature", workload.sampling.temperature, 0),
        ("workload.sampling.top_p", workload.sampling.top_p, 0),
        ("workload.sampling.top_k", workload.sampling.top_k, 1),
        ("workload.sampling.min_p", workload.sampling.min_p, 0),
        ("workload.sampling.repetition_penalty", workload.sampling.repetition_penalty, 0),
        ("workload.requests_per_load", workload.requests_per_load, 0),
        ("workload.min_requests", workload.min_requests, 1),
        ("workload.warmup_requests", workload.warmup_requests, 0),
        ("workload.seconds_per_load", workload.seconds_per_load, 0.1),
        ("workload.warmup_max_s", workload.warmup_max_s, 0),
        ("workload.ramp_s", workload.ramp_s, 0),
        ("workload.burstiness", workload.burstiness, 0.01),
        ("benchmark.processes", config.benchmark.processes, 1),
        ("measure.repeats", config.measure.repeats, 1),
        ("measure.sample_s", config.measure.sample_s, 0.1),
        ("measure.until", config.measure.until, 0.001),
        ("measure.max_points", config.measure.max_points, 1),
        ("measure.max_repeats", config.measure.max_repeats, 1),
        ("measure.stall_timeout_s", config.measure.stall_timeout_s, 2),  # clients report once a second
        ("measure.trial_timeout_s", config.measure.trial_timeout_s, 0.001),
        ("benchmark.request_timeout_s", config.benchmark.request_timeout_s, 0.001),
    ]
