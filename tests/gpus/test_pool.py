"""Leases, within one process and across two; GPUs that are busy, slow to get free, or lost."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from autotune.gpus.busy import why_busy
from autotune.gpus.locks import GpuLocks
from autotune.gpus.packing import Policy, Waiting
from autotune.gpus.pool import GpuPool
from autotune.gpus.terms import Surroundings, Terms
from autotune.records import Gpu, GpuStatus, Inventory, InventoryKind, Lease

POLICY = Policy()


def inventory(count: int) -> Inventory:
    """`count` declared GPUs on one node."""
    gpus = tuple(Gpu(uuid=f"gpu-{i}", index=i, model="m", node="n") for i in range(count))
    return Inventory(kind=InventoryKind.DECLARED, gpus=gpus)


def queue(*items: tuple[int, int]) -> list[Waiting]:
    """Trials that wait: number and GPUs."""
    return [Waiting(trial=trial, gpus=width, since_s=0.0) for trial, width in items]


def pool_of(count: int, folder: Path, terms: Terms | None = None, host: Host | None = None) -> GpuPool:
    """A pool of so many GPUs."""
    around = None if host is None else host.around()
    return GpuPool(inventory(count), locks=GpuLocks(folder), terms=terms or Terms(), around=around)


@dataclass
class Host:
    """What a pool is told of its host: GPUs without a status are free."""

    statuses: dict[str, GpuStatus] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    now_s: float = 0.0
    said: list[str] = field(default_factory=list)

    def around(self) -> Surroundings:
        """The host as a pool asks it."""
        return Surroundings(
            status=lambda uuids: {uuid: self.statuses.get(uuid, GpuStatus()) for uuid in uuids},
            busy=partial(why_busy, min_free_fraction=0.9, ours=()),
            held=lambda: self.held,
            cores=lambda gpus: (tuple(gpu.index for gpu in gpus), (99,)),
            tell=self.said.append,
            clock=lambda: self.now_s,
        )


def test_a_gpu_is_in_one_lease_only(tmp_path: Path) -> None:
    """Threads that lease and release at once never hold the same GPU."""
    pool = pool_of(4, tmp_path)
    held: set[str] = set()
    clashes: list[str] = []
    guard = threading.Lock()

    def take(trial: int) -> None:
        for _ in range(50):
            for lease in pool.grant(queue((trial, 2)), POLICY):
                mine = {gpu.uuid for gpu in lease.gpus}
                with guard:
                    clashes.extend(held & mine)
                    held.update(mine)
                with guard:
                    held.difference_update(mine)
                pool.release(lease)

    threads = [threading.Thread(target=take, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clashes == []
    assert pool.leases() == {}


def test_released_gpus_are_free_again(tmp_path: Path) -> None:
    """A trial that waited gets the GPUs of one that ended."""
    pool = pool_of(4, tmp_path)
    [first] = pool.grant(queue((0, 4)), POLICY)
    assert pool.grant(queue((1, 2)), POLICY) == []
    pool.release(first)
    [second] = pool.grant(queue((1, 2)), POLICY)
    assert _indices(second) == [0, 1]


def test_releasing_twice_does_not_free_a_later_lease(tmp_path: Path) -> None:
    """A second release of an old lease leaves the new holder alone."""
    pool = pool_of(1, tmp_path)
    [old] = pool.grant(queue((0, 1)), POLICY)
    pool.release(old)
    [new] = pool.grant(queue((1, 1)), POLICY)
    pool.release(old)
    assert pool.leases() == {1: new}


def test_max_parallel_bounds_the_leases(tmp_path: Path) -> None:
    """`launcher.max_parallel` holds even where GPUs are free."""
    pool = pool_of(8, tmp_path, Terms(max_parallel=2))
    granted = pool.grant(queue(*((n, 1) for n in range(5))), POLICY)
    assert [lease.trial for lease in granted] == [0, 1]
    assert pool.grant(queue((2, 1)), POLICY) == []


def test_a_lease_brings_its_cores(tmp_path: Path) -> None:
    """Those of the engine and those of the load client."""
    [lease] = pool_of(2, tmp_path, host=Host()).grant(queue((0, 2)), POLICY)
    assert (lease.cpus, lease.client_cpus) == ((0, 1), (99,))


def test_a_gpu_that_others_compute_on_is_set_aside(tmp_path: Path) -> None:
    """After a while, because it may be a trial of another sweep that ends; then for good, as was told."""
    host = Host(statuses={"gpu-0": GpuStatus(processes=(4711,))})
    pool = pool_of(2, tmp_path, Terms(settle_s=60), host)
    [lease] = pool.grant(queue((0, 1), (1, 1)), POLICY)
    assert _indices(lease) == [1]
    assert host.said == ["GPU 0 is in use: process 4711 computes on it"]
    host.now_s = 61.0
    assert pool.grant(queue((1, 1)), POLICY) == []
    assert host.said[1:] == ["GPU 0 is set aside: process 4711 computes on it"]
    host.statuses.clear()
    assert pool.grant(queue((1, 1)), POLICY) == []
    assert (pool.usable(), pool.set_aside()) == (1, host.said[1:])


def test_a_gpu_that_gets_free_in_time_is_used(tmp_path: Path) -> None:
    """What used it for a moment is forgotten."""
    host = Host(statuses={"gpu-0": GpuStatus(processes=(4711,))})
    pool = pool_of(1, tmp_path, Terms(settle_s=60), host)
    assert pool.grant(queue((0, 1)), POLICY) == []
    assert pool.waits_for() == ["GPU 0: process 4711 computes on it"]
    host.now_s = 59.0
    host.statuses.clear()
    assert [_indices(lease) for lease in pool.grant(queue((0, 1)), POLICY)] == [[0]]
    assert pool.waits_for() == []


def test_a_gpu_that_others_compute_on_is_waited_for_if_wanted(tmp_path: Path) -> None:
    """With `gpus.wait_for_free=true` it joins when it gets free; changing numbers are not told again."""
    host = Host(statuses={"gpu-0": GpuStatus(free_fraction=0.5)})
    pool = pool_of(1, tmp_path, Terms(wait=True, settle_s=60), host)
    for second in range(0, 200, 5):
        host.now_s, host.statuses["gpu-0"] = second, GpuStatus(free_fraction=0.5 + second / 1000)
        assert pool.grant(queue((0, 1)), POLICY) == []
    assert [line[:19] for line in host.said] == ["GPU 0 is in use: 50", "GPU 0 is waited for"]
    assert pool.usable() == 1
    host.statuses.clear()
    assert [_indices(lease) for lease in pool.grant(queue((0, 1)), POLICY)] == [[0]]


def test_after_a_trial_memory_must_be_free_again(tmp_path: Path) -> None:
    """The next trial waits for it, without a word while that takes no longer than allowed."""
    host = Host()
    pool = pool_of(1, tmp_path, Terms(settle_s=60), host)
    [lease] = pool.grant(queue((0, 1)), POLICY)
    host.statuses["gpu-0"] = GpuStatus(free_fraction=0.2)
    pool.release(lease)
    host.now_s = 59.0
    assert pool.grant(queue((1, 1)), POLICY) == []
    assert host.said == []
    host.statuses.clear()
    assert len(pool.grant(queue((1, 1)), POLICY)) == 1


def test_a_gpu_that_does_not_get_free_after_a_trial_is_set_aside(tmp_path: Path) -> None:
    """With a message that says since when."""
    host = Host()
    pool = pool_of(2, tmp_path, Terms(settle_s=60), host)
    [lease] = pool.grant(queue((0, 1)), POLICY)
    host.statuses["gpu-0"] = GpuStatus(processes=(7,))
    pool.release(lease)
    host.now_s = 61.0
    assert [_indices(lease) for lease in pool.grant(queue((1, 1)), POLICY)] == [[1]]
    assert host.said == ["GPU 0 is set aside: process 7 computes on it 61 s after its trial"]


def test_a_stranger_long_after_a_trial_is_not_called_a_remnant(tmp_path: Path) -> None:
    """Once a GPU was seen free its earlier trial is no reason any more."""
    host = Host()
    pool = pool_of(1, tmp_path, Terms(settle_s=60), host)
    [lease] = pool.grant(queue((0, 1)), POLICY)
    pool.release(lease)
    assert pool.grant(queue((1, 2)), POLICY) == []
    host.now_s, host.statuses["gpu-0"] = 1000.0, GpuStatus(processes=(7,))
    pool.grant(queue((1, 1)), POLICY)
    assert host.said == ["GPU 0 is in use: process 7 computes on it"]


@pytest.mark.parametrize("terms", [Terms(settle_s=60), Terms(wait=True, settle_s=60)])
def test_a_lost_gpu_is_set_aside_for_good(terms: Terms, tmp_path: Path) -> None:
    """Waiting for it would be in vain; a driver that did not answer once is another matter."""
    host = Host(statuses={"gpu-0": GpuStatus(lost=True)})
    pool = pool_of(1, tmp_path, terms, host)
    assert pool.grant(queue((0, 1)), POLICY) == []
    assert pool.usable() == 1
    host.now_s = 61.0
    assert pool.grant(queue((0, 1)), POLICY) == []
    assert pool.set_aside() == ["GPU 0 is set aside: it is lost"]
    assert pool.usable() == 0


def test_a_gpu_of_another_sweep_has_its_time_to_get_free(tmp_path: Path) -> None:
    """It is not set aside by those that wait for it, however slowly its memory gets free."""
    host = Host()
    ours = pool_of(1, tmp_path, Terms(settle_s=60), host)
    theirs = pool_of(1, tmp_path, Terms(settle_s=60), host)
    [lease] = theirs.grant(queue((0, 1)), POLICY)
    assert ours.grant(queue((0, 1)), POLICY) == []
    host.now_s, host.statuses["gpu-0"] = 500.0, GpuStatus(free_fraction=0.1)
    theirs.release(lease)
    assert ours.grant(queue((0, 1)), POLICY) == []
    assert ours.is_settling()
    host.now_s = 559.0
    host.statuses.clear()
    assert len(ours.grant(queue((0, 1)), POLICY)) == 1
    assert host.said == []


def test_gpus_of_a_dead_controller_have_their_time_too(tmp_path: Path) -> None:
    """A resume has just ended its engines."""
    host = Host(statuses={"gpu-0": GpuStatus(free_fraction=0.1)})
    pool = pool_of(1, tmp_path, Terms(settle_s=60), host)
    pool.settle()
    assert pool.grant(queue((0, 1)), POLICY) == []
    assert (host.said, pool.is_settling()) == ([], True)


def test_a_lock_that_stays_held_after_a_trial_is_told(tmp_path: Path) -> None:
    """With the process that holds it, once; the GPU is taken again when that has ended."""
    host = Host()
    pool = pool_of(1, tmp_path, Terms(settle_s=60), host)
    [lease] = pool.grant(queue((0, 1)), POLICY)
    program = "import sys; sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, pass_fds=lease.locks
    ) as stray:
        pool.release(lease)
        for second in (1.0, 61.0, 62.0):
            host.now_s = second
            assert pool.grant(queue((1, 1)), POLICY) == []
        assert host.said == [f"GPU 0 is waited for: its lock is held after its trial, by process {stray.pid}"]
        stray.communicate(b"")
    assert len(pool.grant(queue((1, 1)), POLICY)) == 1


def test_a_gpu_that_a_container_has_is_not_free(tmp_path: Path) -> None:
    """Until the container has gone."""
    host = Host(held={"gpu-0"})
    pool = pool_of(1, tmp_path, host=host)
    assert pool.grant(queue((0, 1)), POLICY) == []
    host.held.clear()
    assert len(pool.grant(queue((0, 1)), POLICY)) == 1


def test_an_engine_that_lives_keeps_its_gpu(tmp_path: Path) -> None:
    """It inherited the lock: neither a release nor the end of its controller frees the GPU while it runs."""
    pool = pool_of(1, tmp_path)
    [lease] = pool.grant(queue((0, 1)), POLICY)
    program = "import sys; sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, pass_fds=lease.locks
    ) as engine:
        pool.release(lease)
        assert pool.grant(queue((1, 1)), POLICY) == []
        engine.communicate(b"")
    assert len(pool.grant(queue((1, 1)), POLICY)) == 1


def test_another_process_keeps_its_gpus(tmp_path: Path) -> None:
    """A GPU that another process leased is not free here, and is when that process has ended."""
    program = (
        "import sys; from pathlib import Path\n"
        "from tests_pool_holder import POLICY, pool_of, queue\n"
        "pool = pool_of(2, Path(sys.argv[1]))\n"
        "print(len(pool.grant(queue((0, 1)), POLICY)), flush=True)\n"
        "sys.stdin.read()\n"
    )
    (tmp_path / "tests_pool_holder.py").write_text(Path(__file__).read_text())
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "locks")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"},
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"1\n"
        pool = pool_of(2, tmp_path / "locks")
        [lease] = pool.grant(queue((0, 1), (1, 1)), POLICY)
        assert _indices(lease) == [1]
        holder.communicate(b"")
    [freed] = pool.grant(queue((1, 1)), POLICY)
    assert _indices(freed) == [0]


def _indices(lease: Lease) -> list[int]:
    return [gpu.index for gpu in lease.gpus]


def test_gpus_that_are_put_aside_are_leased_no_more(tmp_path: Path) -> None:
    """One that is leased at that moment not again; it is said once, with the reason."""
    host = Host()
    pool = pool_of(3, tmp_path, host=host)
    [lease] = pool.grant(queue((0, 2)), POLICY)
    for _ in range(2):
        pool.put_aside({"gpu-0": "trials 2 and 5 failed on it (nccl)", "gone": "it fell off the bus"})
    pool.release(lease)
    [again] = pool.grant(queue((1, 2)), POLICY)
    assert _indices(again) == [1, 2]
    said = "GPU 0 is set aside for this sweep: trials 2 and 5 failed on it (nccl)"
    assert (host.said, pool.set_aside(), pool.usable()) == ([said], [said], 2)


def test_the_last_gpus_are_not_put_aside(tmp_path: Path) -> None:
    """Where all failed alike nothing tells which of them it is, and the sweep would be over."""
    host = Host()
    pool = pool_of(2, tmp_path, host=host)
    pool.put_aside({"gpu-0": "bad", "gpu-1": "bad"})
    assert (pool.usable(), host.said) == (2, [])
    pool.put_aside({"gpu-0": "bad"})
    pool.put_aside({"gpu-0": "bad", "gpu-1": "bad"})
    assert (pool.usable(), len(host.said)) == (1, 1)
