"""What the server of known timing did with the very requests that a client measured."""

from __future__ import annotations

import json
import math
import statistics
import urllib.request
import zlib
from typing import Any

from autotune.benchmark.protocol import MeasureRequest
from autotune.benchmark.traffic import RequestPlan, conversations, first, measured_count


def truth_of(url: str, request: MeasureRequest) -> dict[str, Any]:
    """Return what the server knows about the requests that were measured."""
    plans, wanted, told = measured_plans(request), _checksums(request), get(f"{url}/requests")
    ended = [chunks_ms for checksum, chunks_ms in told["ended"].items() if checksum in wanted]
    firsts_ms = sorted(chunks_ms[0] for chunks_ms in ended)
    gaps = sum(len(chunks_ms) - 1 for chunks_ms in ended)
    kinds = {"http_500": told["refused"], "truncated": told["cut"]}
    counts = {kind: sum(str(checksum) in wanted for checksum in found) for kind, found in kinds.items()}
    return {
        "ttft_ms_mean": statistics.fmean(firsts_ms),
        "ttft_ms_p99": firsts_ms[math.ceil(0.99 * len(firsts_ms)) - 1],
        "itl_ms_mean": sum(chunks_ms[-1] - chunks_ms[0] for chunks_ms in ended) / gaps if gaps else 0.0,
        "tokens": statistics.fmean(plan.output_tokens for plan in plans),
        "errors": {kind: count for kind, count in counts.items() if count},
        "first_s": told["first_s"],
    }


def written_ms(url: str, request: MeasureRequest) -> list[list[float]]:
    """Return when each chunk of the measured requests that ended was written, from its receipt."""
    wanted = _checksums(request)
    return [
        chunks_ms for checksum, chunks_ms in get(f"{url}/requests")["ended"].items() if checksum in wanted
    ]


def measured_plans(request: MeasureRequest) -> list[RequestPlan]:
    """Return the requests that are measured."""
    traffic, load = request.traffic, request.load
    drawn = conversations(traffic, load, repeat=request.repeat, phase="measure")
    return [plan for turns in first(measured_count(traffic, load), drawn) for plan in turns]


def _checksums(request: MeasureRequest) -> set[str]:
    return {str(zlib.crc32(plan.text.encode())) for plan in measured_plans(request)}


def get(url: str) -> dict[str, Any]:
    """Return what the server says."""
    with urllib.request.urlopen(url, timeout=60) as reply:  # noqa: S310  (our own server)
        content: dict[str, Any] = json.load(reply)
    return content
