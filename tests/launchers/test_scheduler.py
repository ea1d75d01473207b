"""The scheduler on real sweeps: side by side, ends as they come, stops."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from autotune.gpus.locks import GpuLocks
from autotune.records import Candidate
from autotune.sweep import Sweep
from autotune.track.journal import read
from hydra_plugins.autotune_launchers._scheduler import Finished, Scheduler
from hydra_plugins.autotune_launchers._search import run_search


def test_trials_run_side_by_side_and_end_as_they_come(sweep: Sweep) -> None:
    """The 8-wide one first; then 1, 2 and 4 together, of which the shortest ends first."""
    scheduler = Scheduler(sweep)
    scheduler.submit_all(sweep.settings.candidates)
    ended = []
    while (finished := scheduler.wait_any()) is not None:
        ended.append(finished.job.plan.gpus)
    assert ended == [8, 2, 4, 1]
    assert sweep.pool.leases() == {}


def test_no_gpu_is_in_two_trials_at_once(sweep: Sweep) -> None:
    """Read from the journal: between start and end a GPU belongs to one trial."""
    scheduler = Scheduler(sweep)
    for candidate in sweep.settings.candidates:
        scheduler.submit(candidate)
    while scheduler.wait_any() is not None:
        pass
    held: dict[int, set[str]] = {}
    most = 0
    for event in read(sweep.journal.path):
        if event["event"] == "trial_started":
            gpus = set(event["lease"]["gpus"])
            assert not any(gpus & other for other in held.values())
            held[event["trial"]] = gpus
            most = max(most, len(held))
        elif event["event"] == "trial_finished":
            del held[event["trial"]]
    assert most == 3


def test_a_stop_drops_what_waits_and_ends_what_runs(sweep: Sweep) -> None:
    """Nothing starts after a stop; the running trial ends as interrupted."""
    scheduler = Scheduler(sweep)
    first, *others = sweep.settings.candidates
    scheduler.submit(first)
    sweep.stop.set()
    for candidate in others:
        scheduler.submit(candidate)
    ended = []
    while (finished := scheduler.wait_any()) is not None:
        ended.append(finished.outcome.status.value)
    assert ended == ["interrupted"]
    assert sweep.pool.leases() == {}


def test_a_duplicate_is_told_the_trial_that_stands_for_it(sweep: Sweep) -> None:
    """The same engine under the same traffic is measured once."""
    scheduler = Scheduler(sweep)
    first, second = (scheduler.submit(sweep.settings.candidates[1]) for _ in range(2))
    while scheduler.wait_any() is not None:
        pass
    assert first.job is not None
    assert (second.job, second.trial) == (None, first.job.number)


def test_an_error_while_submitting_leaves_no_trial_running(sweep: Sweep) -> None:
    """Whoever leaves the scheduler by an error has stopped and awaited every trial."""
    scheduler = Scheduler(sweep)

    def submit_and_fail() -> None:
        with scheduler.guarded():
            scheduler.submit(sweep.settings.candidates[0])
            raise RuntimeError("submitting went wrong")

    with pytest.raises(RuntimeError, match="submitting went wrong"):
        submit_and_fail()
    assert sweep.pool.leases() == {}
    assert [event["status"] for event in read(sweep.journal.path) if event["event"] == "trial_finished"] == [
        "interrupted"
    ]


def test_of_a_known_grid_the_widest_starts_first(sweep: Sweep) -> None:
    """Whatever place it has in the grid: everything is queued before anything starts."""
    scheduler = Scheduler(sweep)
    scheduler.submit_all(sorted(sweep.settings.candidates, key=lambda item: str(item.overrides)))
    while scheduler.wait_any() is not None:
        pass
    widths = {
        event["trial"]: event["plan"]["gpus"]
        for event in read(sweep.journal.path)
        if event["event"] == "trial_queued"
    }
    begun = [
        widths[event["trial"]] for event in read(sweep.journal.path) if event["event"] == "trial_started"
    ]
    assert list(widths.values()) != begun
    assert (begun[0], sorted(begun)) == (8, [1, 2, 4, 8])


class Watched:
    """A search that notes how many trials waited whenever it was asked."""

    known = False

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._left = list(sweep.settings.candidates)
        self.waiting: list[int] = []
        self.told: list[int] = []

    def ask(self) -> Candidate | None:
        """The next candidate of the grid."""
        trials = self._sweep.state.trials
        begun = set(self._sweep.pool.leases())  # first: a trial is finished before its lease is back
        begun |= {number for number, trial in trials.items() if trial.finished}
        self.waiting.append(len(trials.keys() - begun))
        return self._left.pop(0) if self._left else None

    def tell(self, finished: Finished) -> None:
        """Remember the order of ends."""
        self.told.append(finished.job.plan.gpus)


def test_a_search_is_asked_no_earlier_than_needed(sweep: Sweep) -> None:
    """With a look-ahead of one there is never more than one that waits; every end is told."""
    sweep.settings.config.launcher.lookahead = 1
    search = Watched(sweep)
    launcher = Launcher(Scheduler(sweep))
    run_search(search, launcher)
    assert set(search.waiting) == {0}
    assert sorted(search.told) == [1, 2, 4, 8]


class Launcher:
    """What `run_search` needs of Hydra's launcher: the scheduler's own."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.submit, self.submit_all = scheduler.submit, scheduler.submit_all
        self.has_room, self.wait_any = scheduler.has_room, scheduler.wait_any


def test_gpus_that_others_hold_are_not_waited_for_longer_than_allowed(sweep: Sweep) -> None:
    """The trials fail as `no_gpus`, with what to do; those that fit into the rest are measured."""
    sweep.settings.config.launcher.acquire_timeout_s = 0.5
    said: list[str] = []
    sweep.tell = said.append
    held = GpuLocks(sweep.settings.folder / "locks").take("declared-H100-SXM-80GB-7")
    assert held is not None
    scheduler = Scheduler(sweep)
    scheduler.submit_all(sweep.settings.candidates)
    ends = {}
    while (finished := scheduler.wait_any()) is not None:
        failure = finished.outcome.failure
        ends[finished.job.plan.gpus] = None if failure is None else failure.kind
    os.close(held)
    assert ends == {8: "no_gpus", 1: None, 2: None, 4: None}
    assert said == ["waiting for GPUs: GPU 7: its lock is held"]
    [refused] = [trial for trial in sweep.state.trials.values() if trial.status == "failed"]
    assert refused.finished is not None
    assert "launcher.acquire_timeout_s=0.5" in refused.finished["failure"]["message"]
    assert refused.is_done(None)
    assert not refused.is_done("no_gpus")


def test_exclusive_means_one_at_a_time(sweep_of: Callable[..., Sweep]) -> None:
    """No trial has company, on however many GPUs."""
    sweep = sweep_of("launcher.exclusive=true")
    scheduler = Scheduler(sweep)
    scheduler.submit_all(sweep.settings.candidates)
    while scheduler.wait_any() is not None:
        pass
    steps = [
        e["event"] for e in read(sweep.journal.path) if e["event"] in {"trial_started", "trial_finished"}
    ]
    assert steps == ["trial_started", "trial_finished"] * 4
