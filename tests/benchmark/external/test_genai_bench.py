"""GenAI-Bench itself, where it is installed."""

from __future__ import annotations

from tests.contracts.external import ExternalContract


class TestGenAiBench(ExternalContract):
    """`genai-bench benchmark` in the environment that `doctor --install genai_bench` makes."""

    kind = "genai_bench"
    endpoint = "chat"
    endpoints = frozenset({"chat"})
    keeps_chunks = False
    has_rates = False
