"""Where another attempt is made: on other GPUs than those that may be to blame, if there are enough."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.gpus.packing import Policy, Running, Situation, pack
from autotune.gpus.placement import place
from tests.gpus.test_packing import KNOWN, STREAMED, gpus, queue, situations, started


def avoiding(now: Situation, uuids: frozenset[str]) -> Situation:
    """The same moment, in which the first trial that waits has failed on these GPUs."""
    first, *others = now.queue
    return dataclasses.replace(now, queue=[dataclasses.replace(first, avoid=uuids), *others])


@given(
    now=situations(), known=st.booleans(), uuids=st.frozensets(st.sampled_from([f"g{n}" for n in range(8)]))
)
def test_gpus_that_may_be_to_blame_are_the_last_resort(
    now: Situation, uuids: frozenset[str], *, known: bool
) -> None:
    """A trial gets one only if the others are too few, now where waiting is in vain, and later."""
    if not now.queue:
        return
    now = avoiding(now, uuids)
    item = now.queue[0]
    assigned = dict(pack(dataclasses.replace(now, mean_s=None), Policy(known=known), room=99)).get(item.trial)
    if assigned is None or not any(gpu.uuid in uuids for gpu in assigned):
        return
    others = [gpu for gpu in now.ours if gpu.uuid not in uuids]
    assert now.still or place(others, item.gpus) is None


@given(
    now=situations(), known=st.booleans(), uuids=st.frozensets(st.sampled_from([f"g{n}" for n in range(8)]))
)
def test_nothing_waits_for_other_gpus_in_vain(now: Situation, uuids: frozenset[str], *, known: bool) -> None:
    """Where nothing of ours runs, a trial alone starts on what there is."""
    alone = dataclasses.replace(now, queue=now.queue[:1], running=[], soon=[])
    if not alone.queue:
        return
    policy = Policy(known=known)
    assert started(avoiding(alone, uuids), policy) == started(alone, policy)


@pytest.mark.parametrize("policy", [KNOWN, STREAMED])
@pytest.mark.parametrize(
    ("width", "runs", "avoid", "expected"),
    [
        pytest.param(2, [], [0, 1], [2, 3], id="others of the same island"),
        pytest.param(4, [], [0, 1, 2, 3], [4, 5, 6, 7], id="the other island"),
        pytest.param(2, [2, 3, 4, 5, 6, 7], [0, 1], None, id="waits for others"),
        pytest.param(8, [], [0], [0, 1, 2, 3, 4, 5, 6, 7], id="needs all"),
    ],
)
def test_where_another_attempt_is_made(
    width: int, runs: list[int], avoid: list[int], expected: list[int] | None, policy: Policy
) -> None:
    """On other GPUs, if they are enough for it."""
    every = gpus()
    running = [Running(gpus=tuple(every[n] for n in runs), since_s=0.0)] if runs else []
    free = [gpu for gpu in every if gpu.index not in runs]
    now = Situation(queue=queue(width), free=free, running=running, now_s=0.0)
    chosen = pack(avoiding(now, frozenset(f"g{n}" for n in avoid)), policy, room=9)
    assert [[gpu.index for gpu in assigned] for _, assigned in chosen] == (
        [] if expected is None else [expected]
    )


def test_one_that_waits_for_other_gpus_keeps_nobody_from_these() -> None:
    """An equal trial takes what it leaves."""
    every = gpus()
    running = [Running(gpus=tuple(every[2:]), since_s=0.0)]
    now = Situation(queue=queue(2, 2), free=every[:2], running=running, now_s=0.0)
    assert started(avoiding(now, frozenset({"g0"})), KNOWN) == [1]
