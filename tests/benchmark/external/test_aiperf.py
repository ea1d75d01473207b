"""AIPerf itself, where it is installed."""

from __future__ import annotations

from tests.contracts.external import ExternalContract


class TestAiPerf(ExternalContract):
    """`aiperf profile` in the environment that `doctor --install aiperf` makes."""

    kind = "aiperf"
