"""What is known of a running sweep, and the panel that shows it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from autotune.schema import Direction
from autotune.score.objective import order_key

Event = Mapping[str, Any]


class Progress:
    """What is known of a running sweep, from its events; safe to read while it is told more."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self.sweep: Event = {}
        self.queued: dict[int, Event] = {}
        self.running: dict[int, dict[str, Any]] = {}
        self.again: dict[int, tuple[float, Event]] = {}  # trial -> when its attempt failed, and how
        self.done: dict[int, Event] = {}
        self.rejected = 0

    def follow(self, event: Event) -> None:
        """Take one event in."""
        with self._guard:
            handler = getattr(self, f"_on_{event['event']}", None)
            if handler is not None:
                handler(event)

    def render(self) -> RenderableType:
        """Return the panel: GPUs and holders, running trials, totals."""
        with self._guard:
            return Group(self._gpus(), self._trials(), self._totals())

    def best(self) -> tuple[int, float] | None:
        """Return the trial with the best score so far, and the score."""
        scored = [(n, e["score"]) for n, e in self.done.items() if e["score"] is not None]
        direction = Direction(self.sweep["objective"]["direction"])
        return min(scored, key=lambda item: order_key(item[1], direction), default=None)

    def seconds_left(self) -> float | None:
        """Return GPU-seconds still to do over GPUs, by the mean of the finished trials."""
        widths = {number: max(e["plan"]["gpus"], 1) for number, e in self.queued.items()}
        spent = [(e["trial_s"], widths[n]) for n, e in self.done.items() if n in widths and e["trial_s"] > 0]
        if not spent:
            return None
        mean_s = sum(seconds for seconds, _ in spent) / len(spent)
        waiting = [n for n in self.queued if n not in self.done and n not in self.running]
        ahead = sum(mean_s * widths[n] for n in waiting)
        for number, trial in self.running.items():
            ahead += max(mean_s - (self._clock() - trial["since"]), 0) * widths[number]
        return float(ahead) / max(len(self.sweep["inventory"]["gpus"]), 1)

    def _on_sweep_started(self, event: Event) -> None:
        self.sweep = event

    def _on_candidate_rejected(self, _event: Event) -> None:
        self.rejected += 1

    def _on_trial_queued(self, event: Event) -> None:
        self.queued[event["trial"]] = event

    def _on_trial_started(self, event: Event) -> None:
        self.again.pop(event["trial"], None)
        self.running[event["trial"]] = {
            "since": self._clock(),
            "phase": "starting",
            "gpus": event["lease"]["gpus"],
        }

    def _on_server_ready(self, event: Event) -> None:
        self._phase(event, "ready")

    def _on_benchmark_progress(self, event: Event) -> None:
        done, total = (
            event["requests_completed"] + event["requests_failed"],
            event["requests_total"],
        )
        self._phase(event, f"{load_of(event)} {event['phase']} {done}/{total}")

    def _on_measured(self, event: Event) -> None:
        self._phase(event, f"{load_of(event)} measured")

    def _on_attempt_failed(self, event: Event) -> None:
        self.running.pop(event["trial"], None)
        self.again[event["trial"]] = (self._clock(), event)

    def _on_trial_finished(self, event: Event) -> None:
        self.running.pop(event["trial"], None)
        self.again.pop(event["trial"], None)
        if event["trial"] in self.queued:
            self.done[event["trial"]] = event

    def _phase(self, event: Event, phase: str) -> None:
        if event["trial"] in self.running:
            self.running[event["trial"]]["phase"] = phase

    def _gpus(self) -> RenderableType:
        holders = {uuid: n for n, trial in self.running.items() for uuid in trial["gpus"]}
        gpus = self.sweep.get("inventory", {}).get("gpus", [])
        words = [f"{i}:{holders.get(gpu['uuid'], '·')}" for i, gpu in enumerate(gpus)]
        return Text("GPU:trial  " + "  ".join(words))

    def _trials(self) -> RenderableType:
        table = Table(box=None, pad_edge=False)
        for name in ("trial", "candidate", "phase", "seconds"):
            table.add_column(name)
        for number, trial in sorted(self.running.items()):
            elapsed = f"{self._clock() - trial['since']:.0f}"
            table.add_row(str(number), self._label(number), escape(trial["phase"]), elapsed)
        for number, (failed_s, event) in sorted(self.again.items()):
            waited_s = self._clock() - failed_s
            left_s = max(event["again_in_s"] - waited_s, 0)
            phase = f"again in {left_s:.0f} s; attempt {event['attempt']} failed, {cause(event)}"
            table.add_row(str(number), self._label(number), escape(phase), f"{waited_s:.0f}")
        return table

    def _label(self, number: int) -> str:
        return escape(self.queued[number]["label"])

    def _totals(self) -> RenderableType:
        parts = [f"{len(self.done)} of {len(self.queued)} done"]
        if self.rejected:
            parts.append(f"{self.rejected} rejected")
        best = self.best() if self.sweep else None
        if best is not None:
            parts.append(f"best so far {self.queued[best[0]]['label']} {best[1]:.1f}")
        left = self.seconds_left() if self.sweep else None
        if left is not None:
            parts.append(f"about {left:.0f} s left")
        return Text(" · ".join(parts))


def cause(event: Event) -> str:
    """Return why a trial or an attempt at it failed."""
    return f"{event['failure']['kind']}: {event['failure']['message']}"


def load_of(event: Event) -> str:
    """Return a load and its repeat in words."""
    load = event["load"]
    return f"{load['mode']} {load['value']:g} repeat {event['repeat'] + 1}"
