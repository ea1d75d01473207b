"""The attempts at one trial, from its events."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from autotune.attempts import Again, again, avoided, clear_for, whole
from autotune.errors import InfrastructureError
from autotune.records import Failure, Outcome, Status
from autotune.schema import RetryConfig
from autotune.track.state import SweepState, TrialState, state_of


def stamp(ago_s: float) -> str:
    """A time in the journal's form."""
    moment = datetime.now(timezone.utc) - timedelta(seconds=ago_s)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def started(*gpus: str, ago_s: float = 1.0) -> dict[str, Any]:
    """The beginning of an attempt."""
    return {"event": "trial_started", "trial": 3, "time": stamp(ago_s), "lease": {"gpus": list(gpus)}}


def failed(attempt: int, kind: str, gpu_seconds: float = 4.0) -> dict[str, Any]:
    """The end of an attempt that is followed by another."""
    failure = {"kind": kind, "message": f"because of {kind}", "evidence": "", "advice": ""}
    more = {"attempt": attempt, "failure": failure, "gpu_seconds": gpu_seconds}
    return {"event": "attempt_failed", "trial": 3, "time": stamp(0), **more}


def trial(*events: dict[str, Any]) -> TrialState:
    """A trial after these events."""
    state: SweepState = state_of([{"event": "trial_queued", "trial": 3}, *events])
    return state.trials[3]


def ended(kind: str | None) -> Outcome:
    """The end of an attempt that took two GPUs for three seconds."""
    failure = None if kind is None else Failure(kind=kind, message="m")
    status = Status.MEASURED if kind is None else Status.FAILED
    return Outcome(status=status, failure=failure, trial_s=3.0, gpu_seconds=6.0, notes=("as it was",))


def test_attempts_are_counted_from_the_journal() -> None:
    """With three allowed, the third is the last."""
    one, two = started("a"), [started("a"), failed(1, "port_in_use"), started("a")]
    assert again(trial(one), ended("port_in_use"), RetryConfig()) == Again(in_s=5.0)
    assert again(trial(*two), ended("port_in_use"), RetryConfig()) == Again(in_s=10.0)
    third = trial(*two, failed(2, "port_in_use"), started("a"))
    assert again(third, ended("port_in_use"), RetryConfig()) is None
    assert again(trial(one), ended(None), RetryConfig()) is None


def test_time_is_counted_from_the_first_beginning() -> None:
    """However long the last attempt took."""
    events = [started("a", ago_s=700), failed(1, "port_in_use"), started("a", ago_s=1)]
    assert again(trial(*events), ended("port_in_use"), RetryConfig()) is None


def test_gpus_are_avoided_that_may_be_to_blame() -> None:
    """Those of the last attempt, and only where the kind blames a GPU."""
    assert avoided(trial(started("a", "b"))) == frozenset()
    assert avoided(trial(started("a", "b"), failed(1, "port_in_use"))) == frozenset()
    assert avoided(trial(started("a", "b"), failed(1, "nccl"))) == {"a", "b"}
    twice = [started("a"), failed(1, "gpu_busy"), started("b"), failed(2, "gpu_busy")]
    assert avoided(trial(*twice)) == {"b"}


def test_what_failed_attempts_cost_is_counted() -> None:
    """GPU-seconds of all; the time of the last; each cause in a note that names the trial."""
    events = [started("a"), failed(1, "port_in_use", 4.0), started("a"), failed(2, "gpu_busy", 1.0)]
    told = "attempt 3; attempt 1 failed: port_in_use: because of port_in_use; attempt 2 failed: gpu_busy: "
    outcome = whole(trial(*events, started("a")), ended(None))
    assert (outcome.trial_s, outcome.gpu_seconds) == (3.0, 11.0)
    assert outcome.notes == ("as it was", f"trial 3: {told}because of gpu_busy")
    dropped = whole(trial(*events), Outcome(status=Status.INTERRUPTED))
    assert dropped.notes == (f"trial 3: waited for {told}because of gpu_busy",)
    assert whole(trial(started("a")), ended(None)) == ended(None)


def test_nothing_of_an_attempt_is_taken_for_the_next_ones(tmp_path: Path) -> None:
    """Its log is kept under its number, its measurements go, what belongs to the trial stays."""
    gone = ["measurements.json", "client-concurrency-1-0.spec.json", "client-concurrency-1-0.requests.json"]
    for name in ("plan.json", "engine.log", *gone):
        (tmp_path / name).write_text(name)
    clear_for(1, tmp_path)
    assert len(list(tmp_path.iterdir())) == 5
    clear_for(2, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engine.attempt-1.log", "plan.json"]
    clear_for(3, tmp_path)
    assert (tmp_path / "engine.attempt-1.log").read_text() == "engine.log"


def test_a_log_that_cannot_be_moved_ends_the_sweep(tmp_path: Path) -> None:
    """The next attempt would be judged by it."""
    (tmp_path / "engine.log").write_text("")
    (tmp_path / "engine.attempt-1.log").mkdir()
    with pytest.raises(InfrastructureError, match=r"cannot clear .*: Is a directory"):
        clear_for(2, tmp_path)
