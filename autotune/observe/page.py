"""What an engine's metrics page says, under names that all engines share.

Source of the names: vLLM 0.32.0 v1/metrics/loggers.py (executed); SGLang 0.5.23 observability/
metrics_collector.py, TensorRT-LLM main tensorrt_llm/metrics/collector.py and serve/openai_server.py (read).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

PREEMPTIONS = "preemptions_total"
LOOKED_UP, FOUND, MISSED = "prefix_looked_up", "prefix_found", "prefix_missed"
GAUGES = ("kv_cache_usage", "running", "waiting")

NAMES: Mapping[str, Mapping[str, str]] = {
    "vllm": {
        "vllm:kv_cache_usage_perc": "kv_cache_usage",
        "vllm:num_requests_running": "running",
        "vllm:num_requests_waiting": "waiting",
        "vllm:num_preemptions_total": PREEMPTIONS,
        "vllm:prefix_cache_queries_total": LOOKED_UP,
        "vllm:prefix_cache_hits_total": FOUND,
    },
    "sglang": {
        "sglang:token_usage": "kv_cache_usage",
        "sglang:num_running_reqs": "running",
        "sglang:num_queue_reqs": "waiting",
        "sglang:num_retracted_requests_total": PREEMPTIONS,
        "sglang:prompt_tokens_total": LOOKED_UP,  # of requests that have ended, as are the hits
        "sglang:cached_tokens_total": FOUND,
    },
    "tensorrt_llm": {
        "trtllm_kv_cache_utilization": "kv_cache_usage",
        "trtllm_num_requests_running": "running",
        "trtllm_num_requests_waiting": "waiting",
        "trtllm_kv_cache_reused_blocks_total": FOUND,
        "trtllm_kv_cache_missed_blocks_total": MISSED,
    },
}
"""Each engine's name for what is wanted. TensorRT-LLM counts no preemptions: it tells what is paused now."""

ALL_NAMES: Mapping[str, str] = {theirs: ours for names in NAMES.values() for theirs, ours in names.items()}

REPLICA = ("engine", "dp_rank")  # labels that tell replicas apart: vLLM's, SGLang's
PARTS = ("is_streaming", "cache_source")  # labels whose values add up to the whole

Page = Mapping[str, Mapping[str, float]]
"""Our name: replica: value."""


def warm() -> None:
    """Import the parser now: it takes a sixth of a second that a measurement should not have to share."""
    import prometheus_client.parser  # noqa: F401


def read_page(text: str) -> Page:
    """Return what is wanted of a page in Prometheus' text format; empty if there is nothing.

    Only the lines wanted are parsed: a page has hundreds. Pipeline and tensor ranks of a replica say the
    same, so the largest of them counts; SGLang's lines of single priorities are parts of another line.

    Raises: ValueError if a line is no metric.
    """
    from prometheus_client.parser import text_string_to_metric_families

    lines = [line for line in text.splitlines() if line.partition("{")[0].split(" ", 1)[0] in ALL_NAMES]
    sums: dict[tuple[str, str, tuple[tuple[str, str], ...]], float] = {}
    for family in text_string_to_metric_families("".join(f"{line}\n" for line in lines)):
        for sample in family.samples:
            if math.isfinite(sample.value) and not sample.labels.get("priority"):
                rest = {name: value for name, value in sample.labels.items() if name not in PARTS}
                replica = ",".join(rest.pop(name, "") for name in REPLICA)
                key = (ALL_NAMES[sample.name], replica, tuple(sorted(rest.items())))
                sums[key] = sums.get(key, 0.0) + sample.value
    return _by_replica((name, replica, value) for (name, replica, _), value in sums.items())


def read_iterations(rows: Any) -> Page:
    """Return what the last of TensorRT-LLM's iteration statistics says; empty if there is none.

    Source: TensorRT-LLM docs/source/commands/trtllm-serve.rst: reading them takes them away.
    """
    last = rows[-1] if isinstance(rows, list) and rows and isinstance(rows[-1], dict) else {}
    cache = last.get("kvCacheStats") or {}
    most = cache.get("maxNumBlocks")
    found = {
        "running": last.get("numActiveRequests"),
        "waiting": last.get("numQueuedRequests"),
        "kv_cache_usage": cache.get("usedNumBlocks", 0) / most if most else None,
        FOUND: cache.get("reusedBlocks"),
        MISSED: cache.get("missedBlocks"),
    }
    return {name: {"": float(value)} for name, value in found.items() if isinstance(value, int | float)}


def gauge(page: Page, name: str) -> float | None:
    """Return a gauge over all replicas: requests are summed, the share of the cache is their mean."""
    values = page.get(name)
    if not values:
        return None
    total = math.fsum(values.values())
    return total / len(values) if name == "kv_cache_usage" else total


def _by_replica(values: Iterable[tuple[str, str, float]]) -> Page:
    page: dict[str, dict[str, float]] = {}
    for name, replica, value in values:
        replicas = page.setdefault(name, {})
        replicas[replica] = max(replicas.get(replica, value), value)
    return page
