"""vLLM's own load client, where vLLM is."""

from __future__ import annotations

from tests.contracts.external import ExternalContract


class TestVllmBench(ExternalContract):
    """`vllm bench serve` in the environment of the engine."""

    kind = "vllm_bench"
