"""Every runtime against the shared suite."""

from __future__ import annotations

import pytest
from tests.contracts.runtime import RuntimeContract

from autotune.plan.runtimes import RUNTIMES
from autotune.plan.runtimes.protocol import Runtime


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

    @pytest.fixture
    def runtime(self) -> Runtime:
        """The adapter."""
        return RUNTIMES["sglang"]
