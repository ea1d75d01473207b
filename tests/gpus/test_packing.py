"""The packing policy, over generated queues."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.gpus.packing import pack
from autotune.records import Gpu


def gpus(counts: list[int]) -> list[Gpu]:
    """As many GPUs as `counts` says on each node."""
    return [
        Gpu(uuid=f"{node}-{i}", index=i, model="m", node=str(node))
        for node, count in enumerate(counts)
        for i in range(count)
    ]


@given(
    waiting=st.lists(st.integers(0, 10), max_size=12),
    counts=st.lists(st.integers(0, 8), min_size=1, max_size=3),
    room=st.integers(0, 12),
)
def test_every_assignment_is_sound(waiting: list[int], counts: list[int], room: int) -> None:
    """No GPU is given twice, widths are met, a trial stays on one node, and room is respected."""
    chosen = pack(waiting, gpus(counts), room)
    given_out = [gpu.uuid for _, assigned in chosen for gpu in assigned]
    assert len(given_out) == len(set(given_out))
    assert len(chosen) <= room
    assert [len(assigned) for _, assigned in chosen] == [waiting[position] for position, _ in chosen]
    assert all(len({gpu.node for gpu in assigned}) <= 1 for _, assigned in chosen)


@given(waiting=st.lists(st.integers(1, 8), max_size=12), free=st.integers(0, 8))
def test_no_gpu_idles_while_a_waiting_trial_fits(waiting: list[int], free: int) -> None:
    """What is left over is too little for every trial that was passed over."""
    chosen = pack(waiting, gpus([free]), len(waiting))
    left = free - sum(len(assigned) for _, assigned in chosen)
    started = {position for position, _ in chosen}
    assert all(width > left for position, width in enumerate(waiting) if position not in started)


@pytest.mark.parametrize(
    ("waiting", "expected"),
    [
        pytest.param([4, 8, 2, 2], [0, 2, 3], id="a wide one is passed over by those that fit"),
        pytest.param([2, 2, 2, 2], [0, 1, 2, 3], id="first come first served"),
        pytest.param([0, 8], [0, 1], id="an engine of someone else needs no GPU"),
    ],
)
def test_order(waiting: list[int], expected: list[int]) -> None:
    """Trials start in their order, and later ones fill what is left."""
    assert [position for position, _ in pack(waiting, gpus([8]), 9)] == expected
