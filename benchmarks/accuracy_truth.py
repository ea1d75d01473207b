"""What the server of known timing did with the very requests that a client measured."""

from __future__ import annotations

import json
import math
import statistics
import urllib.request
import zlib
from typing import Any

from autotune.benchmark.protocol import MeasureRequest
from autotune.benchmark.traffic import conversations, first, measured_count


def truth_of(url: str, request: MeasureRequest) -> dict[str, Any]:
    """Return what the server knows about the requests that were measured."""
    traffic, load = request.traffic, request.load
    drawn = conversations(traffic, load, repeat=request.repeat, phase="measure")
    plans = [plan for turns in first(measured_count(traffic, load), drawn) for plan in turns]
    wanted = {str(zlib.crc32(plan.text.encode())) for plan in plans}
    told = get(f"{url}/requests")
    ended = [times for checksum, times in told["ended"].items() if checksum in wanted]
    firsts_ms = sorted(first_ms for first_ms, _, _ in ended)
    gaps = sum(chunks - 1 for _, _, chunks in ended)
    kinds = {"http_500": told["refused"], "truncated": told["cut"]}
    counts = {kind: sum(str(checksum) in wanted for checksum in found) for kind, found in kinds.items()}
    return {
        "ttft_ms_mean": statistics.fmean(firsts_ms),
        "ttft_ms_p99": firsts_ms[math.ceil(0.99 * len(firsts_ms)) - 1],
        "itl_ms_mean": sum(last_ms - first_ms for first_ms, last_ms, _ in ended) / gaps if gaps else 0.0,
        "tokens": statistics.fmean(plan.output_tokens for plan in plans),
        "errors": {kind: count for kind, count in counts.items() if count},
        "first_s": told["first_s"],
    }


def get(url: str) -> dict[str, Any]:
    """Return what the server says."""
    with urllib.request.urlopen(url, timeout=60) as reply:  # noqa: S310  (our own server)
        content: dict[str, Any] = json.load(reply)
    return content
