"""Progress while a sweep runs: a live panel on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live
from rich.markup import escape

from autotune.report.progress import Event, Progress
from autotune.report.sentences import sentence


class LiveView:
    """The panel, redrawn in place four times a second."""

    def __init__(self, out: Console) -> None:
        self._progress = Progress()
        self._live = Live(
            console=out, get_renderable=self._progress.render, refresh_per_second=4, transient=True
        )
        self._out = out

    def follow(self, event: Event) -> None:
        """Take one event; an attempt that failed stays readable, whatever the panel shows next."""
        self._progress.follow(event)
        text = sentence(event, self._progress) if event["event"] == "attempt_failed" else None
        if text is not None:
            self.say(text)

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
        text = sentence(event, self._progress)
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
