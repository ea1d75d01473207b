"""From a preset to what a load client gets."""

from __future__ import annotations

import pytest

from autotune.benchmark.workload import timeout_of
from autotune.schema import BenchmarkConfig, Config, WorkloadConfig


@pytest.mark.parametrize(
    ("given", "output_tokens", "spread", "wanted"),
    [
        pytest.param(None, 64, 0.0, 300.0, id="short answers"),
        pytest.param(None, 8192, 0.5, 5120.0, id="a chain of thought"),
        pytest.param(7.0, 8192, 0.5, 7.0, id="what is given"),
        pytest.param(None, None, 0.0, 300.0, id="lengths unknown"),
    ],
)
def test_long_answers_have_longer(
    given: float | None, output_tokens: int | None, spread: float, wanted: float
) -> None:
    """Else only the fast ones of a slow engine would be in its latencies."""
    workload = WorkloadConfig(loads=[1], output_tokens=output_tokens, output_spread=spread)
    config = Config(workload=workload, benchmark=BenchmarkConfig(request_timeout_s=given))
    assert timeout_of(config) == wanted
