"""The packing policy over generated queues, topologies and moments."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.gpus.forecast import Expected
from autotune.gpus.packing import Policy, Running, Situation, Waiting, pack
from autotune.gpus.placement import place, straddles
from autotune.records import Gpu

KNOWN, STREAMED = Policy(known=True), Policy(known=False)


def gpus(count: int = 8, island: int = 4, *, numa: int = 8) -> list[Gpu]:
    """GPUs of one node in islands of so many; without, in pairs on PCIe switches and so many on a NUMA node."""
    return [
        Gpu(
            uuid=f"g{n}",
            index=n,
            model="m",
            node="n",
            island=f"i{n // island}" if island > 1 else None,
            switch=f"s{n // 2}",
            numa=n // numa,
        )
        for n in range(count)
    ]


def queue(*widths: int, since_s: float = 0.0) -> list[Waiting]:
    """Trials that wait, numbered in their order."""
    return [Waiting(trial=n, gpus=width, since_s=since_s) for n, width in enumerate(widths)]


def started(now: Situation, policy: Policy, room: int = 99) -> list[int]:
    """The trials that start."""
    return [trial for trial, _ in pack(now, policy, room=room)]


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    """A moment: some GPUs run, some are somebody else's, the rest is free; trials wait."""
    every = gpus(
        draw(st.integers(1, 8)), draw(st.sampled_from([1, 2, 4, 8])), numa=draw(st.sampled_from([4, 8]))
    )
    state = [draw(st.sampled_from(["free", "held", "soon", "a", "b"])) for _ in every]
    running = [
        Running(
            gpus=tuple(gpu for gpu, name in zip(every, state, strict=True) if name == trial),
            since_s=draw(st.floats(0, 99)),
            expected=draw(st.one_of(st.none(), st.builds(Expected, mean_s=st.floats(1, 9), spread=st.just(0.1)))),
        )
        for trial in ("a", "b")
        if trial in state
    ]  # fmt: skip
    waiting = [
        Waiting(
            trial=number,
            gpus=draw(st.sampled_from([0, 1, 1, 2, 2, 4, 8])),
            since_s=draw(st.floats(0, 99)),
            expected=draw(st.one_of(st.none(), st.builds(Expected, mean_s=st.floats(1, 9), spread=st.floats(0.1, 0.6)))),
        )
        for number in range(draw(st.integers(0, 6)))
    ]  # fmt: skip
    return Situation(
        queue=waiting,
        free=[gpu for gpu, name in zip(every, state, strict=True) if name == "free"],
        soon=[gpu for gpu, name in zip(every, state, strict=True) if name == "soon"],
        running=running,
        now_s=100.0,
        mean_s=draw(st.sampled_from([None, 1.0, 10.0, 1000.0])),
    )


@given(now=situations(), known=st.booleans(), room=st.integers(0, 6))
def test_no_gpu_is_given_twice(now: Situation, room: int, *, known: bool) -> None:
    """Only free GPUs, each once; every trial at most once, with as many as it needs; no more than there is room."""
    chosen = pack(now, Policy(known=known), room=room)
    widths = {item.trial: item.gpus for item in now.queue}
    given_out = [gpu for _, assigned in chosen for gpu in assigned]
    assert len(given_out) == len(set(given_out))
    assert set(given_out) <= set(now.free)
    assert len(chosen) == len({trial for trial, _ in chosen}) <= room
    assert all(len(assigned) == widths[trial] for trial, assigned in chosen)


def _held_for_a_wide_one(now: Situation) -> bool:
    """Whether one that needs more than half the node waits for nothing but memory."""
    half, count = len(now.ours) / 2, len(now.free) + len(now.soon)
    return any(half < item.gpus <= count and item.gpus > len(now.free) for item in now.queue)


@given(now=situations())
def test_a_known_grid_leaves_no_gpu_idle_that_a_trial_could_use(now: Situation) -> None:
    """What is left over is too little for each trial that waits on, or would cross islands."""
    chosen = dict(pack(now, KNOWN, room=99))
    left = [gpu for gpu in now.free if all(gpu not in assigned for assigned in chosen.values())]
    for item in now.queue:
        placed = place(left, item.gpus)
        if item.trial not in chosen and placed is not None:
            assert straddles(placed, now.ours) or _held_for_a_wide_one(now)
            assert not now.still


@given(now=situations())
def test_a_known_grid_crosses_no_island(now: Situation) -> None:
    """As long as one that could hold the trial may get free."""
    crossing = any(straddles(assigned, now.ours) for _, assigned in pack(now, KNOWN, room=99))
    assert now.still or not crossing


@given(now=situations())
def test_a_stream_leaves_no_gpu_idle_without_a_reason(now: Situation) -> None:
    """The reasons: a reservation of one that waits, or an island that is worth waiting for."""
    chosen = dict(pack(now, STREAMED, room=99))
    left = [gpu for gpu in now.free if all(gpu not in assigned for assigned in chosen.values())]
    mean_s = now.mean_s or 0.0
    waits = [item for item in now.queue if item.trial not in chosen]
    reserved = now.mean_s is not None and any(
        item.gpus <= len(now.ours) for item in waits if item.gpus > len(left)
    )
    for item in waits:
        placed = place(left, item.gpus)
        if placed is not None and not reserved:
            assert straddles(placed, now.ours)
            assert not now.still
            assert now.now_s - item.since_s < STREAMED.island_wait * mean_s


@given(now=situations(), known=st.booleans())
def test_the_same_moment_gives_the_same_answer(now: Situation, *, known: bool) -> None:
    """Draws are seeded; nothing is remembered from call to call."""
    policy = Policy(known=known)
    assert pack(now, policy, room=9) == pack(now, policy, room=9)


@pytest.mark.parametrize(
    ("waiting", "expected"),
    [
        pytest.param([1, 4, 8, 2, 8], [2], id="those wider than half the node first, alone"),
        pytest.param([4, 2, 1, 2, 1], [2, 4, 1, 3], id="without expectations the narrow ones first"),
        pytest.param([4, 4, 4], [0, 1], id="both islands"),
        pytest.param([0, 8], [0, 1], id="an engine of someone else needs no GPU"),
    ],
)
def test_the_order_of_a_known_grid(waiting: list[int], expected: list[int]) -> None:
    """Of equal ones the first."""
    now = Situation(queue=queue(*waiting), free=gpus(), running=[], now_s=0.0)
    assert sorted(started(now, KNOWN)) == sorted(expected)


def test_expected_gpu_seconds_order_a_known_grid() -> None:
    """The trial with most GPU-seconds starts first where durations are known."""
    waiting = [
        dataclasses.replace(item, expected=Expected(mean_s=seconds, spread=0.1))
        for item, seconds in zip(queue(*[1] * 30), range(1, 31), strict=True)
    ]
    now = Situation(queue=waiting, free=gpus(), running=[], now_s=0.0)
    assert sorted(started(now, KNOWN)) == list(range(22, 30))


def test_the_widest_that_fits_goes_first_in_a_stream() -> None:
    """The head of the queue is passed over by what fits."""
    now = Situation(queue=queue(8, 1, 2, 4), free=gpus()[:4], running=[], now_s=0.0)
    assert started(now, STREAMED) == [3]


@pytest.mark.parametrize(
    ("waited_s", "expected"),
    [
        pytest.param(1.0, [1, 2], id="overtaken for a while"),
        pytest.param(29.0, [1, 2], id="almost too long"),
        pytest.param(31.0, [], id="not any longer"),
    ],
)
def test_how_long_a_wide_trial_is_overtaken(waited_s: float, expected: list[int]) -> None:
    """Three mean durations; then GPUs are kept free for it."""
    every = gpus()
    running = [
        Running(gpus=tuple(every[:6]), since_s=100.0 + waited_s, expected=Expected(mean_s=500.0, spread=0.1))
    ]
    waiting = [Waiting(trial=0, gpus=8, since_s=100.0), *queue(8, 1, 1, since_s=100.0 + waited_s)[1:]]
    now = Situation(
        queue=[dataclasses.replace(item, expected=Expected(mean_s=900.0, spread=0.1)) for item in waiting],
        free=every[6:],
        running=running,
        now_s=100.0 + waited_s,
        mean_s=10.0,
    )
    assert started(now, STREAMED) == expected


def test_a_trial_that_ends_in_time_starts_beside_a_reservation() -> None:
    """Backfill that is expected to end before the reserved trial can start delays nobody."""
    every = gpus()
    running = [Running(gpus=tuple(every[:6]), since_s=200.0, expected=Expected(mean_s=50.0, spread=0.1))]
    short, long = Expected(mean_s=40.0, spread=0.1), Expected(mean_s=60.0, spread=0.1)
    now = Situation(
        queue=[
            Waiting(trial=0, gpus=8, since_s=0.0),
            Waiting(trial=1, gpus=1, since_s=200.0, expected=long),
            Waiting(trial=2, gpus=1, since_s=200.0, expected=short),
        ],
        free=every[6:],
        running=running,
        now_s=200.0,
        mean_s=10.0,
    )
    assert started(now, STREAMED) == [2]


def test_a_reservation_needs_gpus_that_are_ours() -> None:
    """What others hold may never be free: nobody waits behind a trial that waits for that."""
    now = Situation(
        queue=[Waiting(trial=0, gpus=8, since_s=0.0), Waiting(trial=1, gpus=1, since_s=99.0)],
        free=gpus()[:7],
        running=[],
        now_s=100.0,
        mean_s=1.0,
    )
    assert started(now, STREAMED) == [1]


@pytest.mark.parametrize(("waited_s", "expected"), [(4.0, []), (6.0, [0])])
def test_a_stream_waits_for_an_island_for_a_bounded_time(waited_s: float, expected: list[int]) -> None:
    """Half a mean duration; then over two islands rather than not at all."""
    every = gpus()
    running = [Running(gpus=(every[0], every[4]), since_s=0.0)]
    free = [gpu for gpu in every if gpu not in running[0].gpus]
    waiting = [Waiting(trial=0, gpus=4, since_s=100.0 - waited_s)]
    now = Situation(queue=waiting, free=free, running=running, now_s=100.0, mean_s=10.0)
    assert started(now, STREAMED) == expected


def test_nobody_takes_gpus_from_a_wide_one_that_waits_for_memory_only() -> None:
    """The GPUs of the wide trial before it get free one by one."""
    every = gpus()
    now = Situation(queue=queue(8, 1, 1), free=every[:6], soon=every[6:], running=[], now_s=0.0)
    assert started(now, KNOWN) == []
    assert started(dataclasses.replace(now, free=every, soon=[]), KNOWN) == [0]


def test_an_island_whose_memory_gets_free_is_worth_waiting_for() -> None:
    """It is as good as one on which a trial runs."""
    every = gpus()
    running = [Running(gpus=(every[6], every[7]), since_s=0.0)]
    free = [every[0], every[1], every[4], every[5]]
    now = Situation(queue=queue(4), free=free, soon=every[2:4], running=running, now_s=0.0)
    assert started(now, KNOWN) == []


def test_a_reservation_counts_from_when_the_trial_could_start() -> None:
    """One long trial on another GPU is no leave to overtake until it ends."""
    every = gpus(island=8)
    long, mid = Expected(mean_s=500.0, spread=0.1), Expected(mean_s=30.0, spread=0.1)
    running = [
        Running(gpus=tuple(every[:4]), since_s=200.0, expected=long),
        Running(gpus=tuple(every[4:7]), since_s=200.0, expected=Expected(mean_s=20.0, spread=0.1)),
    ]
    waiting = [Waiting(trial=0, gpus=4, since_s=0.0), Waiting(trial=1, gpus=1, since_s=199.0, expected=mid)]
    now = Situation(queue=waiting, free=every[7:], running=running, now_s=200.0, mean_s=10.0)
    assert started(now, STREAMED) == []


def test_no_nvlink_and_one_gpu_almost_full() -> None:
    """The healthier GPUs of two NUMA nodes are not taken for an island; a grid must never stand still."""
    every = gpus(island=1, numa=4)
    now = Situation(queue=queue(4), free=every, running=[], now_s=0.0, health={"g2": 0.99})
    [(_, assigned)] = pack(now, KNOWN, room=9)
    assert {gpu.numa for gpu in assigned} == {1}
