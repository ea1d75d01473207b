"""Whole schedules through the pool, in simulated time: generated queues, nodes and failures."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autotune.gpus.busy import why_busy
from autotune.gpus.forecast import Expected
from autotune.gpus.locks import GpuLocks
from autotune.gpus.packing import Policy, Waiting
from autotune.gpus.placement import straddles
from autotune.gpus.pool import GpuPool
from autotune.gpus.terms import Surroundings, Terms
from autotune.records import Gpu, GpuStatus, Inventory, InventoryKind, Lease

SETTLE_S = 1.0
OVERTAKE = 3.0


@dataclass(frozen=True)
class Fate:
    """What a trial turns out to be: how long it takes, and how long its GPUs then stay full."""

    gpus: int
    seconds: float
    clings_s: float = 0.0


@dataclass
class Node:
    """A node in simulated time, with a pool on it."""

    pool: GpuPool
    clock: list[float]
    full_until: dict[str, float]
    fates: list[Fate]
    policy: Policy
    look_ahead: int
    foreseen: bool = False  # durations are known
    leases: list[tuple[float, float, Lease]] = field(default_factory=list)  # from, to
    waited: dict[int, float] = field(default_factory=dict)
    ended: list[float] = field(default_factory=list)

    def run(self) -> set[int]:
        """Play to the end; return the trials that never started."""
        queue: list[Waiting] = []
        coming = iter(enumerate(self.fates))
        running: list[tuple[float, int, Lease]] = []
        upcoming = next(coming, None)
        while True:
            while upcoming is not None and len(queue) < self.look_ahead:
                queue.append(self._waits(*upcoming))
                upcoming = next(coming, None)
            mean_s = sum(self.ended) / len(self.ended) if self.ended else None
            granted = self.pool.grant(queue, self.policy, mean_s=mean_s)
            for lease in granted:
                fate = self.fates[lease.trial]
                item = next(item for item in queue if item.trial == lease.trial)
                queue.remove(item)
                self.waited[item.trial] = self.clock[0] - item.since_s
                self.leases.append((self.clock[0], self.clock[0] + fate.seconds, lease))
                heapq.heappush(running, (self.clock[0] + fate.seconds, lease.trial, lease))
            if granted:
                continue
            waits = [until for until in self.full_until.values() if until > self.clock[0]]
            if running:
                self._end(heapq.heappop(running))
            elif queue and waits:
                self.clock[0] = min(waits)
            else:
                return (
                    {item.trial for item in queue}
                    | ({upcoming[0]} if upcoming else set())
                    | {number for number, _ in coming}
                )

    def _waits(self, trial: int, fate: Fate) -> Waiting:
        expected = Expected(mean_s=fate.seconds, spread=0.1) if self.foreseen else None
        return Waiting(trial=trial, gpus=fate.gpus, since_s=self.clock[0], expected=expected)

    def _end(self, item: tuple[float, int, Lease]) -> None:
        self.clock[0], trial, lease = item
        for gpu in lease.gpus:
            self.full_until[gpu.uuid] = self.clock[0] + self.fates[trial].clings_s
        self.ended.append(self.fates[trial].seconds)
        self.pool.release(lease)


@st.composite
def fates(draw: st.DrawFn) -> list[Fate]:
    """Trials, some of which die early, and some of whose GPUs are slow to get free, or never do."""
    one = st.builds(
        Fate,
        gpus=st.sampled_from([1, 1, 2, 2, 4, 8]),
        seconds=st.one_of(st.floats(0.5, 4.0), st.just(0.01)),
        clings_s=st.sampled_from([0.0] * 8 + [0.5, 1e9]),
    )
    return draw(st.lists(one, min_size=1, max_size=24))


def node(folder: Path, trials: list[Fate], policy: Policy, *, island: int, look_ahead: int) -> Node:
    """Eight GPUs whose state the test decides."""
    gpus = tuple(
        Gpu(uuid=f"g{n}", index=n, model="m", node="n", island=f"i{n // island}" if island > 1 else None)
        for n in range(8)
    )
    clock, full_until = [0.0], dict[str, float]()

    def status(uuids: object) -> dict[str, GpuStatus]:
        del uuids
        full = {uuid for uuid, until in full_until.items() if until > clock[0]}
        return {gpu.uuid: GpuStatus(free_fraction=0.1 if gpu.uuid in full else 1.0) for gpu in gpus}

    around = Surroundings(
        status=lambda uuids: {uuid: status(uuids)[uuid] for uuid in uuids},
        busy=partial(why_busy, min_free_fraction=0.9, ours=()),
        clock=lambda: clock[0],
    )
    inventory = Inventory(kind=InventoryKind.DETECTED, gpus=gpus)
    pool = GpuPool(inventory, locks=GpuLocks(folder), terms=Terms(settle_s=SETTLE_S), around=around)
    return Node(pool, clock, full_until, trials, policy, look_ahead)


def clashes(leases: list[tuple[float, float, Lease]]) -> Iterator[str]:
    """GPUs that two leases hold at the same time."""
    for number, (begin, end, lease) in enumerate(leases):
        for other_begin, other_end, other in leases[number + 1 :]:
            both = {g.uuid for g in lease.gpus} & {g.uuid for g in other.gpus}
            if both and begin < other_end and other_begin < end:
                yield f"{both}: trials {lease.trial} and {other.trial}"


KNOWN_OR_STREAMED = st.sampled_from([(True, 10**6), (False, 3), (False, 1)])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(trials=fates(), island=st.sampled_from([1, 2, 4, 8]), how=KNOWN_OR_STREAMED)
def test_everything_runs_once_and_no_gpu_is_in_two_leases(
    trials: list[Fate], island: int, how: tuple[bool, int], tmp_path: Path
) -> None:
    """Only what needs more GPUs than are left does not start; GPUs that do not get free are used no more."""
    known, look_ahead = how
    played = node(
        tmp_path, trials, Policy(known=known, overtake=OVERTAKE), island=island, look_ahead=look_ahead
    )
    left = played.run()
    assert list(clashes(played.leases)) == []
    begun = [lease.trial for _, _, lease in played.leases]
    assert len(begun) == len(set(begun))
    assert set(begun) | left == set(range(len(trials)))
    usable = played.pool.usable()
    waiting = {number for number in left if trials[number].gpus <= usable}
    # one that needs more than is left stays at the head of a short queue and keeps the rest from being asked for
    assert not waiting or (not known and sum(trials[n].gpus > usable for n in left) >= look_ahead)
    for begin, _, lease in played.leases:
        assert all(
            played.full_until.get(g.uuid, 0) <= begin or _later(played, g.uuid, begin) for g in lease.gpus
        )


def _later(played: Node, uuid: str, begin: float) -> bool:
    """Whether a GPU was filled only by trials that ended after `begin`."""
    ends = [
        end + played.fates[lease.trial].clings_s
        for _, end, lease in played.leases
        if end <= begin and uuid in {gpu.uuid for gpu in lease.gpus}
    ]
    return max(ends, default=0.0) <= begin


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(trials=fates(), island=st.sampled_from([2, 4]))
def test_a_known_grid_respects_islands(trials: list[Fate], island: int, tmp_path: Path) -> None:
    """No trial that an island could hold is spread over two while all GPUs can be used."""
    whole = [Fate(trial.gpus, trial.seconds) for trial in trials]
    played = node(tmp_path, whole, Policy(known=True), island=island, look_ahead=10**6)
    assert played.run() == set()
    assert not any(straddles(lease.gpus, played.pool.inventory.gpus) for _, _, lease in played.leases)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(trials=st.lists(st.sampled_from([1, 1, 2, 2, 4, 8]), min_size=30, max_size=60))
def test_overtaking_is_bounded(trials: list[int], tmp_path: Path) -> None:
    """With trials of one length a wide one waits for the bound, one that runs, and those as wide before it."""
    played = node(
        tmp_path,
        [Fate(width, 1.0) for width in trials],
        Policy(known=False, overtake=OVERTAKE),
        island=8,
        look_ahead=3,
    )
    assert played.run() == set()
    wide = [waited for trial, waited in played.waited.items() if trials[trial] == 8]
    narrow = [waited for trial, waited in played.waited.items() if trials[trial] < 8]
    assert max(wide, default=0.0) <= OVERTAKE + 1 + 2
    assert max(narrow, default=0.0) <= 2 * OVERTAKE + 1 + 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15)
@given(
    narrow=st.lists(st.floats(0.8, 1.6), min_size=150, max_size=200),
    wide=st.sampled_from([2, 4]),
    foreseen=st.booleans(),
)
def test_one_long_trial_is_no_leave_to_overtake(
    narrow: list[float], wide: int, tmp_path: Path, *, foreseen: bool
) -> None:
    """While it runs on one GPU, a trial that needs several waits for some of the seven others, not for it."""
    first, *rest = (Fate(1, seconds) for seconds in narrow)
    trials = [Fate(1, 1000.0), first, *rest[:10], Fate(wide, 1.0), *rest[10:]]
    played = node(tmp_path, trials, Policy(known=False, overtake=OVERTAKE), island=8, look_ahead=3)
    played.foreseen = foreseen
    assert played.run() == set()
    assert played.waited[12] <= 2 * OVERTAKE * 1.6 + 2 * 1.6
