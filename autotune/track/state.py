"""What a journal says about its sweep: the trials, and how each ended."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autotune.errors import ConfigError
from autotune.records import WORKED, Status
from autotune.schema import Direction
from autotune.score.objective import order_key
from autotune.score.ranking import group_of
from autotune.track.blame import Blame
from autotune.track.journal import NAME, read


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt that failed and was not to be the last: its `trial_started` and its `attempt_failed`."""

    started: Mapping[str, Any]
    failed: Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class TrialState:
    """One trial as its events tell it; `queued`, `started`, `server` and `finished` are those events.

    `attempts` are the failed ones before the present one, to which `started` and `server` belong.
    """

    number: int
    queued: Mapping[str, Any]
    started: Mapping[str, Any] | None = None
    server: Mapping[str, Any] | None = None
    finished: Mapping[str, Any] | None = None
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def status(self) -> str:
        """The final status; `running` or `queued` before that."""
        if self.finished is not None:
            return str(self.finished["status"])
        return "running" if self.started is not None else "queued"

    @property
    def backs_off(self) -> bool:
        """Whether another attempt is due, and has not begun."""
        return bool(self.attempts) and self.started is None and self.finished is None

    @property
    def identity(self) -> tuple[str, str]:
        """What the engine and its traffic are; on this host models of two paths are two models."""
        return str(self.queued["plan"]["signature"]), str(self.queued["params"]["model.path"])

    @property
    def score(self) -> float | None:
        """The objective's metric, None for a trial that was not measured."""
        return None if self.finished is None else self.finished.get("score")

    def attempt_failed(self, event: Mapping[str, Any]) -> None:
        """Take the end of an attempt in that is followed by another: the trial waits again."""
        self.attempts.append(Attempt(started=self.started or {}, failed=event))
        self.started, self.server = None, None

    def is_done(self, retry: str | None) -> bool:
        """Whether a resumed sweep leaves it as it is; `retry` names failures to run again."""
        if self.finished is None or self.status == Status.INTERRUPTED.value:
            return False
        failure = self.finished.get("failure") or {}
        wanted = {"failed", failure.get("kind")}
        return not (self.status == Status.FAILED.value and retry in wanted)


@dataclass(slots=True, kw_only=True)
class SweepState:
    """A whole sweep, rebuilt from its events."""

    started: Mapping[str, Any] | None = None
    trials: dict[int, TrialState] = field(default_factory=dict)
    rejected: list[Mapping[str, Any]] = field(default_factory=list)
    duplicates: list[Mapping[str, Any]] = field(default_factory=list)
    stand_ins: bool = False  # an engine said of itself that it is one
    blame: Blame = field(default_factory=Blame)  # GPUs that failures have in common

    @property
    def simulated(self) -> bool:
        """Whether the engine or the GPUs of any trial are stand-ins."""
        return self.stand_ins or bool((self.started or {}).get("simulated"))

    def rival(self, number: int, direction: Direction) -> float | None:
        """Return the best score by now of the trials that one is ranked with; None: there is none."""
        group = group_of(self.trials[number].queued)
        scores = [t.score for t in list(self.trials.values()) if group_of(t.queued) == group]
        known = [score for score in scores if score is not None]
        return min(known, key=lambda score: order_key(score, direction), default=None)

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take one more event in; those that change no outcome are passed over."""
        kind, number = event["event"], event.get("trial")
        if kind == "sweep_started":
            self.started = event
            self.rejected, self.duplicates = [], []
        elif kind == "candidate_rejected":
            self.rejected.append(event)
        elif kind == "candidate_duplicate":
            self.duplicates.append(event)
        elif kind == "trial_queued":
            self.trials[event["trial"]] = TrialState(number=event["trial"], queued=event)
        elif kind == "server_ready":
            self.stand_ins = self.stand_ins or bool(event["simulated"])
        elif kind == "trial_started" and number in self.trials:
            self.trials[number].started = event
        elif kind == "server_started" and number in self.trials:
            self.trials[number].server = event
        elif kind == "attempt_failed" and number in self.trials:
            self._blame(self.trials[number], event)
            self.trials[number].attempt_failed(event)
        elif kind == "trial_finished" and number in self.trials:
            self.trials[number].finished = event
            self._blame(self.trials[number], event)

    def _blame(self, trial: TrialState, ended: Mapping[str, Any]) -> None:
        """Count how a trial ended for or against its GPUs."""
        gpus = (trial.started or {}).get("lease", {}).get("gpus", [])
        if ended.get("failure"):
            kind = ended["failure"]["kind"]
            self.blame.failed(trial.number, kind, candidate=trial.identity, gpus=gpus)
        elif ended.get("status") in WORKED:
            self.blame.measured(gpus)

    def latest(self) -> list[TrialState]:
        """Return one trial for each identity: a later attempt stands for the earlier ones."""
        return list({trial.identity: trial for trial in self.trials.values()}.values())


def state_of(events: Iterable[Mapping[str, Any]]) -> SweepState:
    """Return the state after `events`."""
    state = SweepState()
    for event in events:
        state.apply(event)
    return state


def earlier_state(folder: Path, *, resume: bool) -> SweepState:
    """Return the state that an earlier process left in a sweep's folder.

    Raises: ConfigError if there is one and the sweep is not resumed: its name is taken.
    """
    path = folder / NAME
    if not path.exists():
        return SweepState()
    if not resume:
        ways = "sweep.resume=true continues it; or choose another name"
        raise ConfigError([f"sweep.name={folder.name}: {folder} exists: {ways}"])
    return state_of(read(path))


def check_same(started: Mapping[str, Any] | None, now: Mapping[str, Any], name: str) -> None:
    """Ensure that a sweep is resumed under its own objective, on its own GPUs, as real as it was before.

    Some of its GPUs may be missing by now.

    Raises: ConfigError naming what differs.
    """
    if started is None:
        return
    again = "resume with the same, or choose another name"
    problems = [
        f"sweep.name={name}: {key} was {json.dumps(before)} and is {json.dumps(now[key])}: {again}"
        for key in now
        if key != "inventory" and (before := started.get(key, {})) != now[key]
    ]
    problems += [
        f"sweep.name={name}: {told}: {again}" for told in _other_gpus(started["inventory"], now["inventory"])
    ]
    if problems:
        raise ConfigError(problems)


def _other_gpus(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is there that the sweep has not begun on: its trials would not be comparable."""
    if before["kind"] != now["kind"]:
        return [f"the GPUs were {before['kind']} and are {now['kind']}"]
    known = [(gpu["uuid"], gpu["model"], gpu["node"]) for gpu in before["gpus"]]
    new = [gpu for gpu in now["gpus"] if (gpu["uuid"], gpu["model"], gpu["node"]) not in known]
    return [f"{gpu['model']} {gpu['uuid']} on {gpu['node']} is none of the GPUs it began on" for gpu in new]
