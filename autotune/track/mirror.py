"""Keeps an MLflow store up to date with a sweep's journal, also one that is away for a while.

The writer is a thread that reads the journal's file: nothing is held in memory for a store that is away,
and no trial waits for one. After a failure it connects anew and goes over the whole journal again;
`mlflow.Writer` finds what is in the store already.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from autotune.track.journal import Tail
from autotune.track.mlflow import HANDLERS, Store, Writer

Event = Mapping[str, Any]

FIRST_RETRY_S = 2.0
LONGEST_RETRY_S = 60.0
PATIENCE_S = 120.0  # at the end of a sweep: a store that takes nothing for so long is given up,
LOST_PATIENCE_S = 20.0  # one that was away all the time sooner,
STOPPED_PATIENCE_S = 5.0  # and sooner still after Ctrl-C

DEFECT = "its writer ended early: a defect of autotune's; the journal has everything"


class MlflowMirror:
    """Writes what the journal has and what is added to it; `close` waits until all is written.

    `problem` says what is not in the store and why; None once everything is.
    """

    def __init__(
        self,
        store: Store,
        *,
        journal: Path,
        tell: Callable[[str], None],
        stop: threading.Event,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """`wait` lets the seconds between two attempts pass; it returns early once the sweep ends."""
        self.problem: str | None = DEFECT
        self._store, self._journal, self._tell, self._stop = store, journal, tell, stop
        self._news, self._closing = threading.Event(), threading.Event()
        self._given_up = threading.Event()
        self._wait = wait or self._closing.wait
        self._delay_s = FIRST_RETRY_S
        self._lost: str | None = None  # why the store does not take anything at the moment
        self._handled = 0  # events, by any attempt
        self._thread = threading.Thread(target=self._mirror, name="mlflow", daemon=True)

    def start(self) -> None:
        """Start the writer."""
        self._thread.start()

    def follow(self, event: Event) -> None:
        """Take notice of an event that is in the journal's file; progress is not mirrored."""
        if event["event"] in HANDLERS:
            self._news.set()

    def close(self) -> None:
        """Wait until everything is written, or the store has taken nothing for too long."""
        self._closing.set()
        self._news.set()
        handled, since_s = self._handled, time.monotonic()
        while self._thread.is_alive():
            self._thread.join(0.1)
            if self._handled != handled:
                handled, since_s = self._handled, time.monotonic()
            if time.monotonic() - since_s > self._patience_s():
                self._given_up.set()
                self.problem = self._unwritten(self._lost or f"it took nothing for {PATIENCE_S:g} s")
                return

    def _patience_s(self) -> float:
        if self._stop.is_set():
            return LOST_PATIENCE_S if self._lost is None else STOPPED_PATIENCE_S
        return PATIENCE_S if self._lost is None else LOST_PATIENCE_S

    def _mirror(self) -> None:
        """Attempt until one has written everything; the last begins after the end of the sweep."""
        last = False
        while not self._attempt():
            if last or self._given_up.is_set():
                return
            self._wait(self._delay_s)
            self._delay_s = min(2 * self._delay_s, LONGEST_RETRY_S)
            last = self._closing.is_set()

    def _attempt(self) -> bool:
        """Write the journal from its beginning to the end of the sweep; false if the store failed."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            tail = Tail(self._journal)
            writer = Writer(self._store, tail)
            for event in self._events(tail):
                HANDLERS[event["event"]](writer, event)
                self._handled += 1
        except (MlflowException, SQLAlchemyError, OSError) as error:
            self._away(_reason(error))
            return False
        if not self._given_up.is_set():
            self.problem = None
        return True

    def _events(self, tail: Tail) -> Iterator[Event]:
        """The events to mirror, as they come, until the sweep has ended."""
        while not self._given_up.is_set():
            self._news.clear()
            ending = self._closing.is_set()
            yield from (event for event in tail.news() if event["event"] in HANDLERS)
            self._caught_up()
            if ending:
                return
            self._news.wait()

    def _away(self, reason: str) -> None:
        """The store failed; said once until it is back."""
        first, self._lost = self._lost is None, reason
        if self._given_up.is_set():
            return
        self.problem = self._unwritten(reason)
        if first:
            self._tell(
                f"MLflow store {self._store.uri} cannot be written ({reason}): the sweep goes on, and its "
                f"results are in {self._journal}; the store is tried again until the sweep ends"
            )

    def _caught_up(self) -> None:
        if self._lost is not None and not self._given_up.is_set():
            self._tell(f"MLflow store {self._store.uri} is back: everything so far is written")
        self._lost, self._delay_s = None, FIRST_RETRY_S

    def _unwritten(self, reason: str) -> str:
        return (
            f"MLflow store {self._store.uri} cannot be written ({reason}): the results are in "
            f"{self._journal}; sweep.name={self._store.folder.name} sweep.resume=true writes them once the "
            "store is back"
        )


def _reason(error: Exception) -> str:
    """The first line that tells of the store; SQLAlchemy may put a remark on its own use before it."""
    lines = [line for line in str(error).splitlines() if not line.startswith("(raised as a result of")]
    return next((line[:300] for line in lines if line.strip()), type(error).__name__)
