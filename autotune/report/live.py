"""Progress while a sweep runs: a live panel on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
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
        self._phase(event, f"{_load(event)} {event['phase']} {done}/{total}")

    def _on_measured(self, event: Event) -> None:
        self._phase(event, f"{_load(event)} measured")

    def _on_attempt_failed(self, event: Event) -> None:
        self.running.pop(event["trial"], None)

    def _on_trial_finished(self, event: Event) -> None:
        self.running.pop(event["trial"], None)
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
            label = escape(self.queued[number]["label"])
            table.add_row(str(number), label, escape(trial["phase"]), elapsed)
        return table

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


class LiveView:
    """The panel, redrawn in place four times a second."""

    def __init__(self, out: Console) -> None:
        self._progress = Progress()
        self._live = Live(
            console=out, get_renderable=self._progress.render, refresh_per_second=4, transient=True
        )
        self._out = out

    def follow(self, event: Event) -> None:
        """Take one event."""
        self._progress.follow(event)

    def say(self, text: str) -> None:
        """Print a line above the panel."""
        self._out.print(escape(text), soft_wrap=True)

    def start(self) -> None:
        """Show the panel."""
        self._live.start()

    def stop(self) -> None:
        """Take the panel away."""
        self._live.stop()


class PlainView:
    """One line for each step, for logs and pipes."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._progress = Progress()

    def follow(self, event: Event) -> None:
        """Print what a reader of a log wants to know."""
        self._progress.follow(event)
        text = _sentence(event, self._progress)
        if text is not None:
            self.say(text)

    def say(self, text: str) -> None:
        """Print a line with the time of day, in one piece: other threads print too."""
        self._out.file.write(f"{time.strftime('%H:%M:%S')} {text}\n")
        self._out.file.flush()

    def start(self) -> None:
        """Nothing to prepare."""

    def stop(self) -> None:
        """Nothing to take away."""


def create_view(out: Console) -> LiveView | PlainView:
    """Return the live panel on a terminal, else plain lines."""
    return LiveView(out) if out.is_terminal else PlainView(out)


def _sentence(event: Event, progress: Progress) -> str | None:
    kind = event["event"]
    if kind == "sweep_started":
        gpus = [gpu["model"] for gpu in event["inventory"]["gpus"]]
        have = f"{len(gpus)} x {gpus[0]}" if gpus else "an engine run by someone else"
        return f"sweep {event['sweep']}: {event['candidates'] or 'streamed'} candidates on {have}"
    if kind == "candidate_rejected":
        return f"rejected {' '.join(event['overrides'])}: {'; '.join(event['reasons'])}"
    if kind == "candidate_duplicate":
        return f"duplicate of trial {event['duplicate_of']}: {' '.join(event['overrides'])}"
    number = event.get("trial")
    if number is None or number not in progress.queued:
        return None
    told = _trial_sentence(event, progress)
    return None if told is None else f"trial {number} {progress.queued[number]['label']}: {told}"


def _trial_sentence(event: Event, progress: Progress) -> str | None:
    kind = event["event"]
    if kind == "trial_started":
        again = f", attempt {event['attempt']}" if event.get("attempt", 1) > 1 else ""
        return f"starting on GPU {','.join(map(str, event['lease']['indices'])) or 'unknown'}{again}"
    if kind == "server_ready":
        return f"ready after {event['startup_s']:.1f} s, version {event['engine_version'] or 'unknown'}"
    if kind == "measured":
        rate = event["metrics"].get("output_tokens_per_s")
        tokens = f", {rate:.1f} output tokens/s" if rate is not None else ""
        failed = f", {event['requests_failed']} requests FAILED" if event["requests_failed"] else ""
        limit = ", limited by the load client" if event.get("client_bound") else ""
        return f"{_load(event)}{tokens}{failed}{limit}"
    if kind == "attempt_failed":
        return f"attempt {event['attempt']} failed, {_cause(event)}; again in {event['again_in_s']:g} s"
    if kind == "trial_finished":
        return _finished_sentence(event, progress)
    return None


def _finished_sentence(event: Event, progress: Progress) -> str:
    counts = f"({len(progress.done)} of {len(progress.queued)} done)"
    if event["failure"]:
        return f"failed, {_cause(event)} {counts}"
    if event["score"] is None:
        why = ", not ranked: limited by the load client" if event.get("client_bound") else ""
        return f"{event['status']}{why} {counts}"
    metric = str(progress.sweep["objective"]["metric"])
    if not progress.queued[event["trial"]]["plan"]["gpus"]:
        metric = metric.removesuffix("_per_gpu")
    return f"{event['status']}, {metric} {event['score']:.1f} {counts}"


def _cause(event: Event) -> str:
    return f"{event['failure']['kind']}: {event['failure']['message']}"


def _load(event: Event) -> str:
    load = event["load"]
    return f"{load['mode']} {load['value']:g} repeat {event['repeat'] + 1}"
