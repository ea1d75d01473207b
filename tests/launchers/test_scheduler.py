"""The scheduler on real sweeps: side by side, ends as they come, stops."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from autotune import compose
from autotune.active import activate
from autotune.prepare import prepare
from autotune.sweep import Settings, Sweep
from autotune.track.journal import read
from hydra_plugins.autotune_launchers._scheduler import Scheduler

TABLE = (
    "parallel.tp,workload.concurrency,startup_s,duration_s,total_tokens_per_s\n"
    "1,1,0.9,0.0,1\n2,1,0.1,0.0,1\n4,1,0.5,0.0,1\n8,1,0.3,0.0,1\n"
)


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sweep]:
    """An open sweep of four replayed candidates on 8 GPUs, in real time."""
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "t.csv"
    table.write_text(TABLE)
    words = ["deploy=replay", f"deploy.table={table}", "deploy.time_scale=1", "gpus=h100_8x", "workload=demo"]
    words += ["parallel=tp1", "parallel.tp=8,1,2,4", "workload.loads=[1]"]
    with compose.hydra_on(None) as hydra:
        prepared = prepare(hydra, words, multirun=True)
    settings = Settings(
        name="s",
        folder=tmp_path / "outputs" / "s",
        config=prepared.config,
        inventory=prepared.inventory,
        command=(),
        varied=prepared.varied,
        env={},
        candidates=prepared.candidates,
    )
    opened = Sweep(settings)
    with activate(opened):
        opened.begin()
        yield opened
    opened.close()


def test_trials_run_side_by_side_and_end_as_they_come(sweep: Sweep) -> None:
    """The 8-wide one first; then 1, 2 and 4 together, of which the shortest ends first."""
    scheduler = Scheduler(sweep)
    for candidate in sweep.settings.candidates:
        scheduler.submit(candidate)
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
