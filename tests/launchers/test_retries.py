"""Attempts: a trial that fails by chance runs again, holds nothing meanwhile, and blocks nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from autotune.deploy.protocol import Order
from autotune.session import _finish
from autotune.sweep import Sweep
from autotune.track.journal import read
from hydra_plugins.autotune_launchers._scheduler import Scheduler
from tests.launchers.flaky import FlakyDeployer, at_first
from tests.shop import until

SweepOf = Callable[..., Sweep]
AT_ONCE = ["retry.backoff_s=0", "deploy.time_scale=0", "measure.repeats=1"]


def run(sweep: Sweep) -> list[str]:
    """Run the whole grid; how each ended, in the order of the trials."""
    scheduler = Scheduler(sweep)
    with scheduler.guarded():
        scheduler.submit_all(sweep.settings.candidates)
        while scheduler.wait_any() is not None:
            pass
    return [trial.status for trial in sweep.state.trials.values()]


def steps(sweep: Sweep, trial: int) -> list[dict[str, Any]]:
    """The beginnings and ends of one trial."""
    wanted = {"trial_started", "attempt_failed", "trial_finished"}
    return [e for e in read(sweep.journal.path) if e["event"] in wanted and e.get("trial") == trial]


def test_what_fails_by_chance_runs_again(sweep_of: SweepOf) -> None:
    """The same trial, another attempt: counted, noted, and paid for."""
    sweep = sweep_of(*AT_ONCE)
    sweep.deployer = FlakyDeployer(at_first("port_in_use", 2, gpus=2))
    assert run(sweep) == ["measured"] * 4
    [number] = [n for n, trial in sweep.state.trials.items() if trial.attempts]
    told = [(event["event"], event.get("attempt")) for event in steps(sweep, number)]
    begun, failed = "trial_started", "attempt_failed"
    assert told == [(begun, 1), (failed, 1), (begun, 2), (failed, 2), (begun, 3), ("trial_finished", None)]
    _, first, _, second, _, end = steps(sweep, number)
    assert (first["again_in_s"], first["failure"]["kind"]) == (0, "port_in_use")
    assert f"trial {number}: attempt 3; attempt 1 failed: port_in_use: because of" in end["notes"][-1]
    assert end["gpu_seconds"] == pytest.approx(
        first["gpu_seconds"] + second["gpu_seconds"] + 2 * end["trial_s"]
    )
    logs = sorted(path.name for path in (sweep.settings.folder / f"trial-{number}").glob("engine*"))
    assert logs == ["engine.attempt-1.log", "engine.attempt-2.log"]


@pytest.mark.parametrize(
    ("kind", "attempts"),
    [("cuda_oom", 1), ("bad_arguments", 1), ("nccl", 2), ("port_in_use", 3)],
)
def test_no_more_attempts_than_the_table_allows(kind: str, attempts: int, sweep_of: SweepOf) -> None:
    """The last failure is the trial's."""
    sweep = sweep_of(*AT_ONCE)
    sweep.deployer = FlakyDeployer(at_first(kind, 99, gpus=2))
    assert sorted(run(sweep)) == ["failed", "measured", "measured", "measured"]
    [failed] = [trial for trial in sweep.state.trials.values() if trial.status == "failed"]
    assert len(failed.attempts) + 1 == attempts
    assert failed.finished is not None
    assert failed.finished["failure"]["kind"] == kind


def test_what_was_recorded_is_not_tried_again(sweep_of: SweepOf) -> None:
    """A table says the same every time."""
    sweep = sweep_of(*AT_ONCE)
    deployer = FlakyDeployer(at_first("port_in_use", 1, gpus=2))
    deployer.recorded = True
    sweep.deployer = deployer
    assert sorted(run(sweep)) == ["failed", "measured", "measured", "measured"]


def test_a_trial_that_backs_off_blocks_nobody(sweep_of: SweepOf) -> None:
    """Its GPUs are free: the others end before it is due, although it needs all GPUs and goes first."""
    sweep = sweep_of("retry.backoff_s=2", "deploy.time_scale=0", "measure.repeats=1")
    sweep.deployer = FlakyDeployer(at_first("port_in_use", 1, gpus=8))
    assert run(sweep) == ["measured"] * 4
    order = [e["trial"] for e in read(sweep.journal.path) if e["event"] == "trial_started"]
    assert order[0] == order[-1]
    assert len(order) == 5


def test_a_search_is_asked_while_trials_back_off(sweep_of: SweepOf) -> None:
    """They do not count as waiting for GPUs."""
    sweep = sweep_of("retry.backoff_s=60", "deploy.time_scale=0", "launcher.lookahead=1")
    sweep.deployer = FlakyDeployer(at_first("port_in_use", 1, gpus=8))
    scheduler = Scheduler(sweep)
    scheduler.submit(sweep.settings.candidates[0])
    until(lambda: any(trial.backs_off for trial in sweep.state.trials.values()))
    until(lambda: sweep.pool.leases() == {})
    assert scheduler.has_room()
    sweep.stop.set()
    assert scheduler.wait_any() is None


def test_an_interruption_drops_what_backs_off(sweep_of: SweepOf) -> None:
    """It ends as interrupted, is run again by a resume, and what it has cost is known."""
    sweep = sweep_of("retry.backoff_s=60", "deploy.time_scale=0", "measure.repeats=1")
    sweep.deployer = FlakyDeployer(at_first("port_in_use", 1, gpus=8))
    scheduler = Scheduler(sweep)
    scheduler.submit_all(sweep.settings.candidates[:1])
    until(lambda: any(trial.backs_off for trial in sweep.state.trials.values()))
    sweep.stop.set()
    assert scheduler.wait_any() is None
    _finish(sweep)
    end = sweep.state.trials[0].finished
    assert end is not None
    assert (end["status"], end["gpu_seconds"] > 0) == ("interrupted", True)
    assert end["notes"] == [
        "trial 0: waited for attempt 2; attempt 1 failed: port_in_use: because of port_in_use"
    ]
    assert not sweep.state.trials[0].is_done(None)


def test_a_crash_while_one_backs_off_forgets_no_attempt(sweep_of: SweepOf) -> None:
    """The resumed sweep goes on with the same trial and the next attempt."""
    sweep = sweep_of("retry.backoff_s=60", "deploy.time_scale=0", "measure.repeats=1")
    sweep.deployer = FlakyDeployer(at_first("port_in_use", 1, gpus=8))
    scheduler = Scheduler(sweep)
    scheduler.submit_all(sweep.settings.candidates)
    until(lambda: sum(trial.status == "measured" for trial in sweep.state.trials.values()) == 3)
    until(lambda: sweep.pool.leases() == {})
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("trial-")]
    for thread in threads:
        thread.join()
    resumed = sweep_of(*AT_ONCE, "sweep.name=s", "sweep.resume=true")
    resumed.deployer = FlakyDeployer(lambda _order: None)
    assert run(resumed) == ["measured"] * 4
    [number] = [n for n, trial in resumed.state.trials.items() if trial.attempts]
    assert [e.get("attempt") for e in steps(resumed, number)] == [1, 1, 2, None]
    queued = [e["trial"] for e in read(resumed.journal.path) if e["event"] == "trial_queued"]
    assert queued == [0, 1, 2, 3]


def test_another_attempt_is_made_on_other_gpus(sweep_of: SweepOf) -> None:
    """Where the GPU may be to blame, and there are others."""
    sweep = sweep_of(*AT_ONCE)
    used: list[set[int]] = []

    def fails(order: Order) -> str | None:
        if order.plan.gpus != 4:
            return None
        used.append({gpu.index for gpu in order.lease.gpus})
        return "nccl" if len(used) == 1 else None

    sweep.deployer = FlakyDeployer(fails)
    assert run(sweep) == ["measured"] * 4
    assert len(used) == 2
    assert used[0] & used[1] == set()
