"""A request in the OpenAI protocol."""

from __future__ import annotations

import json

from autotune.benchmark.traffic import RequestPlan
from autotune.records import Traffic

PATHS = {"completions": "/v1/completions", "chat": "/v1/chat/completions"}


def body_of(plan: RequestPlan, traffic: Traffic, model: str) -> bytes:
    """Return the body of a request: streamed, with usage in its last chunk."""
    content: dict[str, object] = {
        "model": model,
        "max_tokens": plan.output_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if traffic.endpoint == "chat":
        content["messages"] = [{"role": "user", "content": plan.prompt}]
    else:
        content["prompt"] = plan.prompt
    if traffic.ignore_eos:
        content["ignore_eos"] = True
    return json.dumps(content).encode()
