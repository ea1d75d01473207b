"""The registry of runtimes: `runtime.kind` names a key."""

from __future__ import annotations

from collections.abc import Mapping

from autotune.plan.runtimes.protocol import Runtime
from autotune.plan.runtimes.sglang import Sglang
from autotune.plan.runtimes.tensorrt_llm import TensorrtLlm
from autotune.plan.runtimes.vllm import Vllm

RUNTIMES: Mapping[str, Runtime] = {"vllm": Vllm(), "sglang": Sglang(), "tensorrt_llm": TensorrtLlm()}
