"""The attempts at one trial: whether another is made, where it belongs, and what the failed ones leave."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from autotune.errors import InfrastructureError
from autotune.failures.retry import again_in_s, kind_of
from autotune.records import Outcome
from autotune.schema import RetryConfig
from autotune.track.journal import moment
from autotune.track.state import TrialState

MEASURED = ("measurements.json", "client-*")
"""Files of measurements: those of a failed attempt would be taken for the next one's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """An attempt failed, and the trial waits for another: so many seconds, without GPUs."""

    in_s: float


def again(trial: TrialState, outcome: Outcome, bounds: RetryConfig) -> Again | None:
    """Return that a trial which has just ended so is tried again, None if this is its end."""
    if outcome.failure is None or trial.started is None:
        return None
    first = trial.attempts[0].started if trial.attempts else trial.started
    since_first_s = (datetime.now(timezone.utc) - moment(first)).total_seconds()
    number = len(trial.attempts) + 1
    in_s = again_in_s(outcome.failure.kind, attempt=number, since_first_s=since_first_s, bounds=bounds)
    return None if in_s is None else Again(in_s=in_s)


def avoided(trial: TrialState) -> frozenset[str]:
    """Return the GPUs (UUIDs) by which the last attempt may have failed: the next one belongs on others."""
    if not trial.attempts:
        return frozenset()
    last = trial.attempts[-1]
    blamed = kind_of(last.failed["failure"]["kind"]).blames_gpu
    return frozenset(last.started["lease"]["gpus"]) if blamed else frozenset()


def whole(trial: TrialState, outcome: Outcome) -> Outcome:
    """Return the outcome of a trial with what its failed attempts cost, and a note of them."""
    if not trial.attempts:
        return outcome
    number, failures = len(trial.attempts) + 1, [each.failed for each in trial.attempts]
    told = [
        f"attempt {e['attempt']} failed: {e['failure']['kind']}: {e['failure']['message']}" for e in failures
    ]
    waited = "waited for " if trial.started is None else ""
    note = f"trial {trial.number}: {waited}attempt {number}; {'; '.join(told)}"
    spent = sum(each["gpu_seconds"] for each in failures)
    return replace(outcome, gpu_seconds=outcome.gpu_seconds + spent, notes=(*outcome.notes, note))


def clear_for(attempt: int, folder: Path) -> None:
    """Ensure that nothing of the attempt before is taken for this one's: its log moves, its measurements go.

    Raises: InfrastructureError if they cannot be moved.
    """
    if attempt == 1:
        return
    log = folder / "engine.log"
    try:
        if log.exists():
            log.replace(folder / f"engine.attempt-{attempt - 1}.log")
        for path in (path for pattern in MEASURED for path in folder.glob(pattern)):
            path.unlink()
    except OSError as error:
        raise InfrastructureError(f"cannot clear {folder}: {error.strerror}") from error
