"""Every runtime against the shared suite."""

from __future__ import annotations

import pytest

from autotune.plan.runtimes import RUNTIMES
from autotune.plan.runtimes.protocol import Runtime
from tests.contracts.runtime import RuntimeContract


class TestVllm(RuntimeContract):
    """vLLM."""

    engine = "vllm"

    @pytest.fixture
    def runtime(self) -> Runtime:
        """The adapter."""
        return RUNTIMES["vllm"]


class TestSglang(RuntimeContract):
    """SGLang."""

    engine = "sglang"
    not_layout = frozenset({"cp_strategy", "attention_backend"})

    @pytest.fixture
    def runtime(self) -> Runtime:
        """The adapter."""
        return RUNTIMES["sglang"]
