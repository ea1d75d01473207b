"""An out-of-memory outcome teaches: the search is told, and later candidates are noted."""

from __future__ import annotations

from collections.abc import Callable

from autotune.sweep import Sweep
from autotune.track.journal import read
from hydra_plugins.autotune_launchers._scheduler import Finished, Scheduler
from tests.launchers.flaky import FlakyDeployer

SweepOf = Callable[..., Sweep]


def ended(scheduler: Scheduler) -> list[Finished]:
    """The trials as they end, without more candidates."""
    return list(iter(scheduler.wait_any, None))


def test_later_candidates_are_noted_also_those_that_waited(sweep_of: SweepOf) -> None:
    """In the plan of one that comes after the failure, in the outcome of one that was admitted before."""
    words = ["deploy.time_scale=0", "measure.repeats=1", "launcher.max_parallel=1"]
    sweep = sweep_of(*words, deploy="simulated")  # replays need no estimates
    sweep.deployer = FlakyDeployer(lambda order: "cuda_oom" if order.plan.gpus == 8 else None)
    widest, one, two, _ = sweep.settings.candidates
    scheduler = Scheduler(sweep)
    scheduler.submit_all([widest, one])
    first, second = ended(scheduler)
    assert (first.infeasible, second.infeasible) == (True, False)
    assert first.job.plan.memory is not None
    scheduler.submit_all([two])
    [third] = ended(scheduler)
    needed = (
        f"trial 0 (tp=8) ran out of memory (cuda_oom) at an estimated {first.job.plan.memory.per_gpu_gib:.1f}"
    )
    for trial in (second, third):
        assert [note for note in trial.outcome.notes if note.startswith(needed)]
    noted = [any("ran out of memory" in note for note in job.plan.notes) for job in (second.job, third.job)]
    assert noted == [False, True]
    events = list(read(sweep.journal.path))
    queued = {event["trial"]: event["plan"] for event in events if event["event"] == "trial_queued"}
    assert any("ran out of memory" in note for note in queued[2]["notes"])
    told = [event["infeasible"] for event in events if event["event"] == "trial_finished"]
    assert told == [True, False, False]
