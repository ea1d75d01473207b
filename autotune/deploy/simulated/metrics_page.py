"""The metrics page of the simulated engine: the names and labels of the engine that it stands for.

Source: vLLM 0.32.0's own page; SGLang 0.5.23 observability/metrics_collector.py. vLLM has a series for each
`engine`, SGLang one for each `dp_rank` if there are several. SGLang counts prompts when requests end; here
both count when they are admitted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from autotune.deploy.simulated.batching import Replica
from autotune.deploy.simulated.engine import Engine

Value = Callable[[Replica], float]

VALUES: Mapping[str, Value] = {
    "running": lambda replica: len(replica.running),
    "waiting": lambda replica: len(replica.waiting),
    "kv_cache_usage": lambda replica: replica.used_tokens / replica.limits.kv_tokens,
    "preemptions": lambda replica: replica.preemptions,
    "looked_up": lambda replica: replica.looked_up_tokens,
    "found": lambda replica: replica.found_tokens,
}
NAMES = {
    "vllm": (
        ("vllm:num_requests_running", "gauge", "running"),
        ("vllm:num_requests_waiting", "gauge", "waiting"),
        ("vllm:kv_cache_usage_perc", "gauge", "kv_cache_usage"),
        ("vllm:num_preemptions_total", "counter", "preemptions"),
        ("vllm:prefix_cache_queries_total", "counter", "looked_up"),
        ("vllm:prefix_cache_hits_total", "counter", "found"),
    ),
    "sglang": (
        ("sglang:num_running_reqs", "gauge", "running"),
        ("sglang:num_queue_reqs", "gauge", "waiting"),
        ("sglang:token_usage", "gauge", "kv_cache_usage"),
        ("sglang:num_retracted_requests_total", "counter", "preemptions"),
        ("sglang:prompt_tokens_total", "counter", "looked_up"),
        ("sglang:cached_tokens_total", "counter", "found"),
    ),
}


def metrics_page(engine: Engine) -> str:
    """Return the page as it is now, in Prometheus' text format."""
    lines = []
    for name, kind, what in NAMES[engine.engine]:
        lines.append(f"# TYPE {name} {kind}")
        for number, replica in enumerate(engine.replicas):
            labels = ",".join(f"{key}={json.dumps(value)}" for key, value in _labels(engine, number, name))
            lines.append(f"{name}{{{labels}}} {float(VALUES[what](replica))}")
    return "\n".join([*lines, ""])


def _labels(engine: Engine, number: int, name: str) -> list[tuple[str, str]]:
    model = ("model_name", engine.arguments.served_name)
    if engine.engine == "vllm":
        return [("engine", str(number)), model]
    labels = [("engine_type", "unified"), model, ("pp_rank", "0"), ("tp_rank", "0")]
    if name == "sglang:cached_tokens_total":
        labels.insert(0, ("cache_source", "device"))
    return [("dp_rank", str(number)), *labels] if len(engine.replicas) > 1 else labels
