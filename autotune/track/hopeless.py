"""What the trials that failed say of those that have not started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autotune.failures.retry import kind_of
from autotune.records import WORKED, Failure, Status
from autotune.track.state import SweepState

Event = Mapping[str, Any]
Shared = tuple[str, str]  # what trials have in common, and its value

OWN = {"no_row"}
"""A gap in a table of measured rows says nothing of other candidates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failed:
    """A trial that was started, and failed."""

    trial: int
    failure: Mapping[str, Any]
    queued: Event


class Hopeless:
    """Tells which trials need not be started: they would fail for the same reason.

    A missing image, a missing or a gated model speaks against every trial with the same one, unless another
    was measured with it. `max_failures` failures of one kind, and nothing else, speak against those that
    are no easier (see `_no_easier`), and end a search. Only failures in this process count: whoever resumes
    has mended something.
    """

    def __init__(self, state: SweepState, max_failures: int | None) -> None:
        self._state = state
        self._max = max_failures
        self._failed: list[_Failed] = []
        self._ends: dict[tuple[str, Shared], _Failed] = {}  # by kind and what is shared
        self._works: set[Shared] = set()
        for trial in state.trials.values():
            if trial.status in WORKED:
                self._works |= _shares(trial.queued)

    @property
    def stopped(self) -> bool:
        """Whether everything fails for one reason."""
        if self._max is None or self._works or len(self._failed) < self._max:
            return False
        return len({failed.failure["kind"] for failed in self._failed}) == 1

    @property
    def suspected(self) -> bool:
        """Whether there may be such trials."""
        return bool(self._ends) or self.stopped

    def follow(self, event: Event) -> None:
        """Take one event in; the state has it already."""
        if event["event"] != "trial_finished":
            return
        trial = self._state.trials[event["trial"]]
        if event["status"] in WORKED:
            self._works |= _shares(trial.queued)
        elif event["status"] == Status.FAILED.value and trial.started is not None:
            failed = _Failed(trial=trial.number, failure=event["failure"], queued=trial.queued)
            kind = event["failure"]["kind"]
            if kind in OWN:
                return
            self._failed.append(failed)
            if kind_of(kind).ends_sweep:
                self._ends.setdefault((kind, _reason(kind, trial.queued)), failed)

    def against(self, queued: Event) -> Failure | None:
        """Return as what a trial that waits has failed, without being started; None: it may go well."""
        for (kind, shared), failed in list(self._ends.items()):
            if shared == _reason(kind, queued) and shared not in self._works:
                name, value = shared
                told = f"trial {failed.trial} ended as {kind}, and this one has the same {name}, {value}"
                return _not_started(failed, told)
        alike = next((each for each in self._failed if _no_easier(queued, each)), None)
        if alike is None or not self.stopped:
            return None
        told = f"all trials so far failed as {alike.failure['kind']} (sweep.max_failures={self._max})"
        return _not_started(alike, told)


def _not_started(failed: _Failed, told: str) -> Failure:
    failure = failed.failure
    return Failure(kind=failure["kind"], message=f"not started: {told}", advice=failure["advice"])


def _reason(kind: str, queued: Event) -> Shared:
    """What must be the same in two trials for such a failure to concern both."""
    image = ("image", str(queued["plan"]["image"]))
    return image if kind == "image_missing" else ("model.path", str(queued["params"]["model.path"]))


def _shares(queued: Event) -> set[Shared]:
    return {_reason(kind, queued) for kind in ("image_missing", "model_missing")}


def _no_easier(queued: Event, failed: _Failed) -> bool:
    """Whether a trial has the runtime and model of one that failed.

    Where memory was too small: also no more GPUs to share it out to, nor a smaller estimate.
    """
    plan, other = queued["plan"], failed.queued["plan"]
    if plan["runtime"] != other["runtime"] or _reason("", queued) != _reason("", failed.queued):
        return False
    if not kind_of(failed.failure["kind"]).infeasible:
        return True
    needs, needed = plan["memory"]["per_gpu_gib"], other["memory"]["per_gpu_gib"]
    smaller = needs is not None and needed is not None and needs < needed
    return not smaller and bool(plan["gpus"] <= other["gpus"])
