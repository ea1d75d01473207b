"""GuideLLM itself, where it is installed."""

from __future__ import annotations

from tests.contracts.external import ExternalContract


class TestGuideLlm(ExternalContract):
    """`guidellm run` in the environment that `doctor --install guidellm` makes."""

    kind = "guidellm"
    keeps_chunks = False
    has_rates = False
