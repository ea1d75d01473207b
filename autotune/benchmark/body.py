"""A request in the OpenAI protocol."""

from __future__ import annotations

import json

from autotune.benchmark.traffic import RequestPlan
from autotune.records import Traffic

PATHS = {"completions": "/v1/completions", "chat": "/v1/chat/completions"}


def body_of(plan: RequestPlan, traffic: Traffic, model: str) -> bytes:
    """Return the body of a request: streamed, with usage in its last chunk.

    What the configuration adds comes first: it cannot change what is measured.
    """
    content: dict[str, object] = {
        **traffic.extra_body,
        **traffic.sampling,
        "model": model,
        "max_tokens": plan.output_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if traffic.endpoint == "chat":
        said = (*plan.history, ("user", plan.prompt))
        content["messages"] = [{"role": role, "content": text} for role, text in said]
    else:
        content["prompt"] = plan.text
    if traffic.ignore_eos:
        content["ignore_eos"] = True
    return json.dumps(content).encode()
