"""Which GPUs a trial gets: near to each other, and so that islands stay whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.gpus.placement import health_of, island_level, place, straddles
from autotune.records import Gpu, GpuStatus

WHOLE = {"island": 8, "switch": 2, "numa": 4}
"""Eight GPUs as in one NVSwitch node: pairs on a PCIe switch, four on each NUMA node."""


def node(count: int = 8, *, island: int = 1, switch: int = 1, numa: int = 8) -> list[Gpu]:
    """GPUs in groups of so many at each level; groups of one are none."""
    return [
        Gpu(
            uuid=f"g{n}",
            index=n,
            model="m",
            node="n",
            island=f"i{n // island}" if island > 1 else None,
            switch=f"s{n // switch}" if switch > 1 else None,
            numa=n // numa,
        )
        for n in range(count)
    ]


def indices(gpus: tuple[Gpu, ...] | None) -> list[int] | None:
    """What was placed, by index."""
    return None if gpus is None else [gpu.index for gpu in gpus]


@pytest.mark.parametrize(
    ("shape", "free", "width", "expected"),
    [
        pytest.param({"island": 4}, "01234567", 4, [0, 1, 2, 3], id="an island"),
        pytest.param({"island": 4}, "1234567", 4, [4, 5, 6, 7], id="the island that is whole"),
        pytest.param({"island": 4}, "1234567", 1, [1], id="a single one leaves the whole island alone"),
        pytest.param({"island": 4}, "2367", 4, [2, 3, 6, 7], id="two islands if nothing else is free"),
        pytest.param({"island": 4}, "1267", 3, [1, 2, 6], id="as much of one island as there is"),
        pytest.param(WHOLE, "01234567", 2, [0, 1], id="inside an island a PCIe switch"),
        pytest.param(WHOLE, "1234567", 2, [2, 3], id="the next whole switch"),
        pytest.param(WHOLE, "1357", 2, [1, 3], id="without a switch one NUMA node"),
        pytest.param(WHOLE, "01234567", 4, [0, 1, 2, 3], id="four on one NUMA node"),
        pytest.param({"numa": 4}, "1234567", 2, [1, 2], id="without NVLink the fuller NUMA node"),
        pytest.param({}, "0246", 2, [0, 2], id="nothing joins them: the first"),
        pytest.param({"island": 4}, "012", 4, None, id="too few"),
        pytest.param({"island": 4}, "012", 0, [], id="an engine of someone else"),
    ],
)
def test_place(shape: dict[str, int], free: str, width: int, expected: list[int] | None) -> None:
    """One island, then one switch, then one NUMA node, then anything; the fullest that is enough."""
    gpus = node(**shape)
    assert indices(place([gpus[int(n)] for n in free], width)) == expected


def test_among_equals_the_healthiest() -> None:
    """Memory counts for more than utilization."""
    gpus = node(3)
    health = {
        "g0": health_of(GpuStatus(free_fraction=0.9, utilization=0.0)),
        "g1": health_of(GpuStatus(free_fraction=1.0, utilization=0.1)),
        "g2": health_of(GpuStatus()),
    }
    assert health == {"g0": pytest.approx(0.94), "g1": pytest.approx(0.96), "g2": 1.0}
    assert indices(place(gpus, 1, health=health)) == [2]
    assert indices(place(gpus[:2], 1, health=health)) == [1]


def test_all_on_one_node() -> None:
    """GPUs of two nodes never make one engine."""
    gpus = [Gpu(uuid=f"{n}{i}", index=i, model="m", node=n) for n in "ab" for i in range(3)]
    assert place(gpus, 4) is None
    assert {gpu.node for gpu in place(gpus, 3) or ()} in ({"a"}, {"b"})


@pytest.mark.parametrize(
    ("shape", "placed", "among", "expected"),
    [
        pytest.param({"island": 4}, "0123", "01234567", False, id="inside one"),
        pytest.param({"island": 4}, "2345", "01234567", True, id="over two"),
        pytest.param({"island": 4}, "2345", "12345", False, id="over two, but no island has so many"),
        pytest.param({"island": 2, "numa": 8}, "12", "0124567", True, id="pairs"),
        pytest.param({"island": 4}, "01234567", "01234567", False, id="wider than any island"),
        pytest.param({"numa": 4}, "34", "01234567", True, id="NUMA nodes where there is no NVLink"),
        pytest.param({"island": 8, "numa": 4}, "34", "01234567", False, id="NVLink joins the NUMA nodes"),
        pytest.param({"island": 4}, "3", "01234567", False, id="one GPU"),
    ],
)
def test_straddles(shape: dict[str, int], placed: str, among: str, *, expected: bool) -> None:
    """Only what one island could hold can straddle."""
    gpus = node(**shape)
    assert straddles([gpus[int(n)] for n in placed], [gpus[int(n)] for n in among]) is expected


def test_nothing_is_an_island_where_nothing_is_joined() -> None:
    """Then nothing can straddle either."""
    gpus = node(4, numa=1)
    assert island_level(gpus) is None
    assert not straddles(gpus, gpus)


@given(
    shape=st.sampled_from([{"island": 4}, WHOLE, {"numa": 4}, {}, {"switch": 2, "numa": 4}]),
    free=st.sets(st.integers(0, 7)),
    width=st.integers(1, 8),
)
def test_as_many_as_asked_and_only_free_ones(shape: dict[str, int], free: set[int], width: int) -> None:
    """Whenever enough are free; in one island whenever one has enough free."""
    gpus = [gpu for gpu in node(**shape) if gpu.index in free]
    placed = place(gpus, width)
    if len(gpus) < width:
        assert placed is None
        return
    assert placed is not None
    assert len(set(placed)) == width
    assert set(placed) <= set(gpus)
    level = island_level(gpus)
    if level is not None and max(sum(level(a) == level(b) for b in gpus) for a in gpus) >= width:
        assert len({level(gpu) for gpu in placed}) == 1


@given(
    shape=st.sampled_from([{"island": 4}, {"switch": 2, "numa": 4}, WHOLE, {"island": 2, "numa": 4}]),
    free=st.sets(st.integers(0, 7)),
    width=st.integers(1, 8),
    health=st.dictionaries(st.sampled_from([f"g{n}" for n in range(8)]), st.floats(0.5, 1.0)),
)
def test_nothing_straddles_what_is_free(
    shape: dict[str, int], free: set[int], width: int, health: dict[str, float]
) -> None:
    """If one island that is free can hold a trial, it gets that, whatever the health of others."""
    gpus = [gpu for gpu in node(**shape) if gpu.index in free]
    placed = place(gpus, width, health=health)
    assert placed is None or not straddles(placed, gpus)


def test_one_bridged_pair_is_not_worth_waiting_for() -> None:
    """Islands that are less than half of the GPUs would make the others idle."""
    gpus = [
        Gpu(uuid=f"g{n}", index=n, model="m", node="n", island="pair" if n < 2 else None) for n in range(8)
    ]
    assert not straddles(gpus[2:4], gpus)
    assert place(gpus, 2) == tuple(gpus[:2])
