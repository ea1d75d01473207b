"""How long the phases of an engine's start took, where its log tells.

Ranks start side by side, so of one text the longest counts; texts of different parts (the graphs for
prefill and those for decode) come one after the other and are added. `init_engine_s` is vLLM's own sum
of profiling, KV cache, compilation, graphs and warm-up; the others are parts of it, or come before it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

Pattern = re.Pattern[str]


def _texts(**patterns: str) -> Mapping[str, Pattern]:
    return {name: re.compile(pattern) for name, pattern in patterns.items()}


SECONDS = r"(?P<seconds>\d+(?:\.\d+)?)"

PHASES: Mapping[str, Mapping[str, Pattern]] = {
    # Source: vllm 0.32.0, run on a CPU (weights_s, init_engine_s) and read (the others):
    # default_loader.py:502, v1/engine/core.py:403, compilation/monitor.py:20, compilation/decorators.py:708,
    # v1/worker/gpu_model_runner.py:6582. `takes` is from older versions (vllm issue 20264). Of 0.33.0 no text
    # was seen.
    "vllm": _texts(
        weights_s=rf"Loading weights took {SECONDS} s",
        compile_s=rf"torch\.compile (?P<part>and initial profiling/warmup run together )?"
        rf"(?:took|takes) {SECONDS} s in total",
        graphs_s=rf"(?P<part>Encoder graph|Graph) capturing finished in {SECONDS} s",
        init_engine_s=rf"init engine \(profile, create kv cache, warmup model\) took {SECONDS} s",
    ),
    # Source: sglang 0.5.23, read, not run: distributed/bootstrap.py:190, model_executor/model_runner.py:1374,
    # and cuda_graph_setup.py:697 and 790 in model_executor/model_runner_components.
    "sglang": _texts(
        distributed_s=rf"Init parallel ends\. elapsed={SECONDS} s",
        weights_s=rf"Load weight end\. elapsed={SECONDS} s",
        graphs_s=rf"Capture (?P<part>.+?) end\. .*elapsed={SECONDS} s",
    ),
    # Source: TensorRT-LLM, read and not run: `timing` in _torch/models/modeling_utils.py around all of
    # ModelLoader.load; in logs that users of 1.2 published. No other phase's duration is logged.
    "tensorrt_llm": _texts(weights_s=rf"Model init total -- {SECONDS}s"),
}
"""For each runtime, by phase: a text with its `seconds`, and with the `part` that is timed by itself."""


def phases_of(log: str, runtime: str) -> dict[str, float]:
    """Return the seconds of each phase that the log of a start tells; empty where it tells nothing."""
    lines = log.splitlines()
    found = {name: _seconds(pattern, lines) for name, pattern in PHASES.get(runtime, {}).items()}
    return {name: seconds for name, seconds in found.items() if seconds is not None}


def _seconds(pattern: Pattern, lines: Sequence[str]) -> float | None:
    parts: dict[str, float] = {}
    for match in filter(None, map(pattern.search, lines)):
        part = match.groupdict().get("part") or ""
        parts[part] = max(parts.get(part, 0.0), float(match["seconds"]))
    return round(sum(parts.values()), 3) if parts else None
