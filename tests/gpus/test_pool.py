"""Leases, within one process and across two."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from autotune.gpus.pool import GpuPool
from autotune.records import Gpu, Inventory, InventoryKind, Lease


def inventory(count: int) -> Inventory:
    """`count` declared GPUs on one node."""
    gpus = tuple(Gpu(uuid=f"gpu-{i}", index=i, model="m", node="n") for i in range(count))
    return Inventory(kind=InventoryKind.DECLARED, gpus=gpus)


def test_a_gpu_is_in_one_lease_only(tmp_path: Path) -> None:
    """Threads that lease and release at once never hold the same GPU."""
    pool = GpuPool(inventory(4), lock_dir=tmp_path, max_parallel=None)
    held: set[str] = set()
    clashes: list[str] = []
    guard = threading.Lock()

    def take(trial: int) -> None:
        for _ in range(50):
            for lease in pool.grant([(trial, 2)]):
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
    pool = GpuPool(inventory(4), lock_dir=tmp_path, max_parallel=None)
    [first] = pool.grant([(0, 4)])
    assert pool.grant([(1, 2)]) == []
    pool.release(first)
    [second] = pool.grant([(1, 2)])
    assert [gpu.index for gpu in second.gpus] == [0, 1]


def test_releasing_twice_does_not_free_a_later_lease(tmp_path: Path) -> None:
    """A second release of an old lease leaves the new holder alone."""
    pool = GpuPool(inventory(1), lock_dir=tmp_path, max_parallel=None)
    [old] = pool.grant([(0, 1)])
    pool.release(old)
    [new] = pool.grant([(1, 1)])
    pool.release(old)
    assert pool.leases() == {1: new}


def test_max_parallel_bounds_the_leases(tmp_path: Path) -> None:
    """`launcher.max_parallel` holds even where GPUs are free."""
    pool = GpuPool(inventory(8), lock_dir=tmp_path, max_parallel=2)
    granted = pool.grant([(n, 1) for n in range(5)])
    assert [lease.trial for lease in granted] == [0, 1]
    assert pool.grant([(2, 1)]) == []


def test_another_process_keeps_its_gpus(tmp_path: Path) -> None:
    """A GPU that another process leased is not free here, and is when that process has ended."""
    program = (
        "import sys; from pathlib import Path\n"
        "from tests_pool_holder import inventory; from autotune.gpus.pool import GpuPool\n"
        "pool = GpuPool(inventory(2), lock_dir=Path(sys.argv[1]), max_parallel=None)\n"
        "print(len(pool.grant([(0, 1)])), flush=True)\n"
        "sys.stdin.read()\n"
    )
    (tmp_path / "tests_pool_holder.py").write_text(Path(__file__).read_text())
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "locks")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"},
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"1\n"
        pool = GpuPool(inventory(2), lock_dir=tmp_path / "locks", max_parallel=None)
        [lease] = pool.grant([(0, 1), (1, 1)])
        assert _indices(lease) == [1]
        holder.communicate(b"")
    [freed] = pool.grant([(1, 1)])
    assert _indices(freed) == [0]


def _indices(lease: Lease) -> list[int]:
    return [gpu.index for gpu in lease.gpus]
