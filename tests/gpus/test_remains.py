"""GPUs on which something of a trial may still run are given to nobody, until that is known to be gone."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from autotune.gpus.locks import GpuLocks
from autotune.gpus.pool import GpuPool
from autotune.gpus.remains import Remains
from autotune.gpus.terms import Terms
from autotune.records import Lease
from tests.gpus.test_pool import POLICY, Host, pool_of, queue

WHY = "container x of trial 0 may still use it"


class Left:
    """A trial on the first of the GPUs that ends, with something left of it."""

    def __init__(self, pool: GpuPool) -> None:
        [self.lease] = pool.grant(queue((0, 1)), POLICY)
        self.ended = threading.Event()
        pool.left(self.lease, Remains(what="container x", gone=self.ended.is_set))
        pool.release(self.lease)


def granted(pool: GpuPool, trial: int = 1) -> list[int]:
    """The GPUs that a trial gets, which then ends well."""
    leases = pool.grant(queue((trial, 1)), POLICY)
    for lease in leases:
        pool.release(lease)
    return [gpu.index for lease in leases for gpu in lease.gpus]


def test_it_is_kept_back_and_used_again(tmp_path: Path) -> None:
    """Others are used meanwhile; both is said, once; what is left has a name."""
    host = Host()
    pool = pool_of(2, tmp_path, host=host)
    left = Left(pool)
    assert [granted(pool), granted(pool)] == [[1], [1]]
    assert (pool.waits_for(), pool.remains()) == ([f"GPU 0: {WHY}"], ["container x"])
    left.ended.set()
    assert granted(pool) == [0]
    assert (pool.waits_for(), pool.remains()) == ([], [])
    assert host.said == [f"GPU 0 is kept back: {WHY}", "GPU 0 is used again: container x of trial 0 is gone"]


def test_what_is_gone_before_the_release_keeps_nothing_back(tmp_path: Path) -> None:
    """The second attempt at ending it may have done it."""
    host = Host()
    pool = pool_of(1, tmp_path, host=host)
    [lease] = pool.grant(queue((0, 1)), POLICY)
    pool.left(lease, Remains(what="container x", gone=lambda: True))
    pool.release(lease)
    assert granted(pool) == [0]
    assert host.said == []


def test_every_thing_that_is_left_counts(tmp_path: Path) -> None:
    """Of two of one trial, both must be gone."""
    pool = pool_of(1, tmp_path)
    [lease] = pool.grant(queue((0, 1)), POLICY)
    first, second = threading.Event(), threading.Event()
    for event in (first, second):
        pool.left(lease, Remains(what="process", gone=event.is_set))
    pool.release(lease)
    first.set()
    assert granted(pool) == []
    second.set()
    assert granted(pool) == [0]


def test_it_is_kept_from_other_sweeps_too(tmp_path: Path) -> None:
    """Its lock is held until then."""
    locks = GpuLocks(tmp_path)
    pool = pool_of(1, tmp_path)
    left = Left(pool)
    assert locks.take("gpu-0") is None
    left.ended.set()
    assert granted(pool) == [0]
    descriptor = locks.take("gpu-0")
    assert descriptor is not None
    os.close(descriptor)


def test_the_next_attempt_at_the_trial_is_no_different(tmp_path: Path) -> None:
    """It has the same number, and a lease of its own, which it gives back as ever."""
    pool = pool_of(2, tmp_path)
    Left(pool)
    assert granted(pool, trial=0) == [1]
    assert granted(pool, trial=0) == [1]
    assert granted(pool, trial=1) == [1]


@pytest.mark.parametrize("wait", [False, True])
def test_after_the_time_for_memory_it_is_set_aside(tmp_path: Path, *, wait: bool) -> None:
    """Until it is gone after all; where GPUs are waited for, it is that, and the waiting counts."""
    host = Host()
    pool = pool_of(2, tmp_path, Terms(settle_s=60, wait=wait), host)
    left = Left(pool)
    granted(pool)
    assert granted(pool) == [1]
    assert (pool.usable(), pool.is_settling()) == (2, True)
    host.now_s = 61.0
    assert granted(pool) == [1]
    host.now_s = 122.0
    assert granted(pool) == [1]
    assert pool.usable() == (2 if wait else 1)
    assert pool.set_aside() == ([] if wait else [f"GPU 0 is set aside: {WHY}"])
    assert host.said.count(f"GPU 0 is set aside: {WHY}") == (0 if wait else 1)
    left.ended.set()
    assert granted(pool) == [0]
    assert (pool.usable(), pool.set_aside()) == (2, [])


def test_a_gpu_that_is_aside_for_another_reason_stays_aside(tmp_path: Path) -> None:
    """What is gone there was not the only thing against it."""
    pool = pool_of(2, tmp_path, host=Host())
    left = Left(pool)
    pool.put_aside({"gpu-0": "trials 2 and 5 failed on it (nccl)"})
    left.ended.set()
    assert granted(pool) == [1]
    assert pool.usable() == 1


def test_a_trial_without_gpus_keeps_nothing_back(tmp_path: Path) -> None:
    """Nor does a lease that is not out."""
    pool = pool_of(1, tmp_path)
    [lease] = pool.grant(queue((0, 0)), POLICY)
    pool.left(lease, Remains(what="container x", gone=lambda: False))
    pool.release(lease)
    pool.left(Lease(trial=9, kind=lease.kind, node="n", gpus=()), Remains(what="y", gone=lambda: False))
    assert granted(pool) == [0]
    assert pool.remains() == ["container x"]
