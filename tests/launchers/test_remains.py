"""A sweep in which an engine could not be ended goes on, on the other GPUs."""

from __future__ import annotations

import threading
from collections.abc import Callable

from autotune.deploy.protocol import Order
from autotune.gpus.remains import Remains
from autotune.sweep import Sweep
from hydra_plugins.autotune_launchers._scheduler import Finished, Scheduler
from tests.launchers.flaky import FlakyDeployer
from tests.launchers.test_retries import AT_ONCE, run
from tests.shop import until

SweepOf = Callable[..., Sweep]


class Leaving(FlakyDeployer):
    """The first engine on one GPU is never gone before `gone` is set; it fails as `kind`, or is measured."""

    def __init__(self, kind: str | None = None) -> None:
        super().__init__(self._start)
        self.gone = threading.Event()
        self.kept: set[str] = set()
        self.used: list[set[str]] = []  # the GPUs of every start, in order
        self._kind = kind

    def _start(self, order: Order) -> str | None:
        self.used.append({gpu.uuid for gpu in order.lease.gpus})
        if order.plan.gpus != 1 or self.kept:
            return None
        self.kept = self.used[-1]
        order.left(Remains(what="container x", gone=self.gone.is_set))
        return self._kind


def ended(scheduler: Scheduler) -> Finished:
    """The next trial that ends."""
    found = scheduler.wait_any()
    assert found is not None
    return found


def test_its_gpu_is_given_to_nobody_until_it_is_gone(sweep_of: SweepOf) -> None:
    """What needs all GPUs waits for it; the outcome of its own trial is none of that."""
    sweep = sweep_of(*AT_ONCE, "parallel.tp=1,2,4,8")
    said: list[str] = []
    sweep.tell = said.append
    sweep.deployer = deployer = Leaving()
    narrow, *others = sweep.settings.candidates
    scheduler = Scheduler(sweep)
    with scheduler.guarded():
        scheduler.submit(narrow)
        assert ended(scheduler).outcome.status.value == "measured"
        scheduler.submit_all(others[:2])
        assert {ended(scheduler).job.plan.gpus for _ in range(2)} == {2, 4}
        scheduler.submit_all(others[2:])
        until(lambda: "container x" in "".join(sweep.pool.waits_for()))
        assert [used & deployer.kept for used in deployer.used[1:]] == [set(), set()]
        assert sweep.pool.remains() == ["container x"]
        deployer.gone.set()
        assert ended(scheduler).job.plan.gpus == 8
    assert [trial.status for trial in sweep.state.trials.values()] == ["measured"] * 4
    kept, used = [line for line in said if "container x of trial" in line]
    assert ("is kept back:" in kept, "is used again:" in used) == (True, True)


def test_another_attempt_belongs_elsewhere(sweep_of: SweepOf) -> None:
    """A start that was not heard of may have made an engine; the second attempt meets none."""
    sweep = sweep_of(*AT_ONCE, "parallel.tp=1,2,4")
    sweep.deployer = deployer = Leaving("infrastructure")
    assert run(sweep) == ["measured"] * 3
    used = list(deployer.used)
    used.remove(deployer.kept)
    assert [each & deployer.kept for each in used] == [set()] * 3


def test_trials_that_need_its_gpu_end_when_it_is_set_aside(sweep_of: SweepOf) -> None:
    """With what is in the way, instead of waiting for ever."""
    sweep = sweep_of(*AT_ONCE, "parallel.tp=1,8", "gpus.settle_timeout_s=0.1")
    sweep.deployer = Leaving()
    scheduler = Scheduler(sweep)
    with scheduler.guarded():
        scheduler.submit(sweep.settings.candidates[0])
        ended(scheduler)
        scheduler.submit_all(sweep.settings.candidates[1:])
        failure = ended(scheduler).outcome.failure
    assert failure is not None
    assert failure.kind == "no_gpus"
    assert "set aside: container x of trial 0 may still use it" in failure.message
