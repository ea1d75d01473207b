"""When a GPU is free."""

from __future__ import annotations

import pytest

from autotune.gpus.busy import why_busy
from autotune.records import GpuStatus


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        pytest.param(GpuStatus(free_fraction=0.99, utilization=0.0, processes=()), None, id="idle"),
        pytest.param(GpuStatus(), None, id="nothing is told"),
        pytest.param(GpuStatus(free_fraction=0.9, processes=None), None, id="just enough memory"),
        pytest.param(GpuStatus(utilization=1.0, processes=()), None, id="utilization lags and is no sign"),
        pytest.param(GpuStatus(processes=(10, 11)), None, id="ours"),
        pytest.param(GpuStatus(processes=(10, 4711)), "process 4711 computes on it", id="a stranger"),
        pytest.param(GpuStatus(free_fraction=0.1, processes=(7, 8)), "processes 7, 8 compute on it", id="two strangers"),
        pytest.param(GpuStatus(free_fraction=0.52, processes=()), "52 % of its memory is free; gpus.min_free_fraction is 0.9", id="memory"),
        pytest.param(GpuStatus(free_fraction=0.8999), "89.9 % of its memory is free; gpus.min_free_fraction is 0.9", id="never rounded up"),
        pytest.param(GpuStatus(free_fraction=0.57), "57 % of its memory is free; gpus.min_free_fraction is 0.9", id="no dust of floats"),
        pytest.param(GpuStatus(free_fraction=0.5, processes=(10,)), "50 % of its memory is free; gpus.min_free_fraction is 0.9", id="our memory counts"),
        pytest.param(GpuStatus(free_fraction=1.0, processes=(), lost=True), "it is lost", id="lost"),
    ],
)  # fmt: skip
def test_why_busy(status: GpuStatus, reason: str | None) -> None:
    """A process of others or too little free memory; what is unknown never counts."""
    assert why_busy(status, min_free_fraction=0.9, ours={10, 11}) == reason
