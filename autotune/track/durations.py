"""How long trials take, from what journals tell of those that ended."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from autotune.gpus.forecast import Expected
from autotune.track.journal import NAME, moment

EARLIER = 20
"""Sweeps that are looked at, the newest first: enough to know the layouts, and quick to read."""

ONE = 0.2  # spread of the same engine under the same traffic, known from one trial
FEW = 3  # trials of a layout before their mean says something
GROWN = 1.1
LEAST = 0.05  # no two trials are as alike as a few happened to be

UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError)
"""What a journal raises that is gone, torn, or of another version."""

Event = Mapping[str, Any]
Alike = tuple[Hashable, ...]


class Durations:
    """Wall seconds from start to end of trials: of this very engine, else of its layout and model.

    `mean_s` is that of the trials this sweep itself has seen end, failed ones too; None before the first.
    `changes` counts how often what is expected of others has changed.
    """

    def __init__(self) -> None:
        self.changes = 0
        self._queued: dict[int, Event] = {}
        self._began: dict[int, datetime] = {}
        self._seconds: defaultdict[Hashable, list[float]] = defaultdict(list)
        self._known: dict[Hashable, tuple[int, Expected]] = {}  # from how many trials
        self._own: list[float] = []

    @property
    def mean_s(self) -> float | None:
        """The mean duration of this sweep's trials."""
        return fmean(self._own) if self._own else None

    def follow(self, event: Event) -> None:
        """Take one event of this sweep in."""
        ended = self._take(event)
        if ended is not None:
            self._own.append(ended)

    def learn(self, journal: Path) -> None:
        """Take the trials of an earlier sweep in; what cannot be read only told how long things take."""
        self._queued, self._began = {}, {}
        with suppress(*UNREADABLE):
            for event in _steps(journal):
                self._take(event)
        self._queued, self._began = {}, {}

    def expected(self, alike: Alike) -> Expected | None:
        """Return how long a trial will take (see `alike`); None if nothing like it has ended."""
        known = (self._known[key] for key in alike if key in self._known)
        return next((expected for _, expected in known), None)

    def _take(self, event: Event) -> float | None:
        kind, number = event["event"], event.get("trial")
        if kind == "trial_queued":
            self._queued[event["trial"]] = event
        elif kind == "trial_started" and number is not None:
            self._began[number] = moment(event)
        elif kind == "attempt_failed" and number is not None:
            self._began.pop(number, None)  # what fails and is tried again tells nothing of a whole trial
        elif kind == "trial_finished" and number in self._began and number in self._queued:
            began, queued = self._began.pop(number), self._queued.pop(number)
            if event["status"] != "interrupted":
                seconds = max((moment(event) - began).total_seconds(), 0.001)
                for level, key in enumerate(alike(queued)):
                    self._add(key, seconds, level)
                return seconds
        return None

    def _add(self, key: Hashable, seconds: float, level: int) -> None:
        """Add a duration; reckon anew only when a tenth more are known: all that wait are looked at then."""
        every = self._seconds[key]
        every.append(seconds)
        count = self._known[key][0] if key in self._known else 0
        if len(every) >= (1 if level == 0 else FEW) and len(every) > GROWN * count:
            self._known[key] = (len(every), _expected(every, ONE if level == 0 else LEAST))
            self.changes += level > 0  # no other trial of a sweep has this very engine and traffic


def newest_journals(outputs: Path) -> list[Path]:
    """Return the journals of the newest sweeps."""
    changed = {}
    for path in outputs.glob(f"*/{NAME}"):
        with suppress(OSError):  # deleted meanwhile
            changed[path] = path.stat().st_mtime
    return sorted(changed, key=lambda path: changed[path], reverse=True)[:EARLIER]


def alike(queued: Event) -> Alike:
    """Return by what trials are alike: engine and traffic, else layout and model, else model and GPUs."""
    params = queued["params"]
    shared = tuple(params.get(name) for name in ("model.path", "workload", "workload.loads", "deploy"))
    layout = tuple(sorted((k, v) for k, v in params.items() if k.startswith("parallel.")))
    return (
        ("engine", queued["plan"]["signature"], params["model.path"], params.get("deploy")),
        ("layout", params.get("runtime"), layout, shared),
        ("gpus", params["gpu.count"], shared),
    )


def _expected(seconds: Sequence[float], least: float) -> Expected:
    spread = pstdev([math.log(each) for each in seconds]) if len(seconds) > 1 else 0.0
    return Expected(mean_s=fmean(seconds), spread=max(spread, least))


def _steps(journal: Path) -> Iterator[Event]:
    """The events that tell a trial's beginning and end; the many others are not even decoded."""
    steps = ("trial_queued", "trial_started", "attempt_failed", "trial_finished")
    wanted = [f'"event": "{step}"'.encode() for step in steps]
    with journal.open("rb") as file:
        for line in file:
            if any(word in line[:300] for word in wanted):
                yield json.loads(line)
