"""What trials that ran out of memory teach of candidates that come near them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from autotune.failures.retry import kind_of
from autotune.records import Plan
from autotune.track.state import SweepState, TrialState

MARK = "; this one is estimated at "


class Lessons:
    """Knows the trials whose memory was too small, those of earlier processes too, with their estimates."""

    def __init__(self, state: SweepState) -> None:
        self._state = state
        self._known = [trial for trial in state.trials.values() if _teaches(trial)]

    def follow(self, event: Mapping[str, Any]) -> None:
        """Take one event in; the state has it already."""
        if event["event"] == "trial_finished" and _teaches(self._state.trials[event["trial"]]):
            self._known.append(self._state.trials[event["trial"]])

    def note(self, plan: Plan, *, model: str, overrides: Collection[str]) -> str | None:
        """Return what the nearest failure says of a plan; None if there is none, or nothing to compare.

        Of the same runtime and model (its path): nearest by the estimated memory of a GPU, then by how few
        overrides differ.
        """
        needs_gib = plan.memory.per_gpu_gib if plan.memory is not None else None
        if needs_gib is None:
            return None
        own, mine = (plan.runtime, model), set(overrides)
        near = [
            (abs(_needed_gib(trial) - needs_gib), len(mine ^ set(trial.queued["overrides"])), trial.number)
            for trial in list(self._known)
            if (trial.queued["plan"]["runtime"], trial.queued["params"]["model.path"]) == own
        ]
        if not near:
            return None
        failed = self._state.trials[min(near)[2]]
        kind = failed.finished["failure"]["kind"] if failed.finished is not None else ""
        return (
            f"trial {failed.number} ({failed.queued['label']}) ran out of memory ({kind}) at an estimated "
            f"{_needed_gib(failed):.1f} GiB per GPU{MARK}{needs_gib:.1f}"
        )


def is_lesson(note: str) -> bool:
    """Whether a note is of this kind: every candidate has its own, too many to be listed."""
    return MARK in note


def _needed_gib(trial: TrialState) -> float:
    return float(trial.queued["plan"]["memory"]["per_gpu_gib"])


def _teaches(trial: TrialState) -> bool:
    """Whether a trial was started, ran out of memory, and had an estimate."""
    failure = (trial.finished or {}).get("failure")
    if not failure or trial.started is None or not kind_of(failure["kind"]).infeasible:
        return False
    return (trial.queued["plan"].get("memory") or {}).get("per_gpu_gib") is not None
