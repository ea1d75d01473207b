"""journal.jsonl: the truth about a sweep. Append, flush, then act.

Every event is described in `journal.schema.json` beside this module.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from autotune.errors import InfrastructureError

VERSION = 1
NAME = "journal.jsonl"
CLOSED = -1
PROGRESS = "benchmark_progress"

Event = Mapping[str, Any]
Listener = Callable[[Event], None]


class Journal:
    """Appends events to `<folder>/journal.jsonl` and tells listeners, in that order.

    Any thread may write. A line that is written is complete: whoever follows the file never sees
    half an event, and a torn last line (of a killed writer, of a full disk) is closed before the next one.
    """

    def __init__(self, folder: Path, *, sweep: str, now: Callable[[], datetime] | None = None) -> None:
        """Open for appending. Raises: InfrastructureError if the folder cannot be written."""
        self.path = folder / NAME
        self._sweep = sweep
        self._now = now or (lambda: datetime.now(timezone.utc))
        self._listeners: list[Listener] = []
        self._guard = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._torn = self.path.exists() and _torn(self.path)
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise InfrastructureError(f"cannot write {self.path}: {error.strerror}") from error

    def follow(self, listener: Listener) -> None:
        """Call `listener` with every event from now on, after it is in the file."""
        self._listeners.append(listener)

    def write(self, event: str, *, trial: int | None = None, **fields: Any) -> None:
        """Append one event and flush it to the disk.

        Raises: InfrastructureError if it cannot be written; nothing may be acted on then.
        """
        stamp = self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head: dict[str, Any] = {"v": VERSION, "time": stamp, "sweep": self._sweep, "event": event}
        if trial is not None:
            head["trial"] = trial
        record = {**head, **fields}
        with self._guard:
            self._append(json.dumps(record, allow_nan=False).encode() + b"\n", event)
            for listener in self._listeners:
                listener(record)

    def close(self) -> None:
        """Close the file; nothing can be written any more."""
        with self._guard:
            os.close(self._descriptor)
            self._descriptor = CLOSED

    def _append(self, line: bytes, event: str) -> None:
        if self._descriptor == CLOSED:  # its number may be another file's by now
            raise InfrastructureError(f"{self.path} is closed")
        try:
            data = b"\n" + line if self._torn else line
            self._torn = os.write(self._descriptor, data) != len(data)
            if self._torn:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if event != PROGRESS:
                os.fsync(self._descriptor)
        except OSError as error:
            raise InfrastructureError(f"cannot write {self.path}: {error.strerror}") from error


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a journal in order; a torn line (of a killed writer) is passed over."""
    with path.open("rb") as file:
        for line in file:
            event = _event(line)
            if event is not None:
                yield event


class Tail:
    """Reads a journal while it grows. `place` is where the event that was yielded last begins."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = 0
        self._read = 0

    def news(self) -> Iterator[dict[str, Any]]:
        """Yield what has come since; of a line that is being written nothing yet."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self.place, self._read = self._read, self._read + len(line)
                event = _event(line)
                if event is not None:
                    yield event

    def at(self, place: int) -> dict[str, Any]:
        """Return the event that begins there, read again."""
        with self.path.open("rb") as file:
            file.seek(place)
            event: dict[str, Any] = json.loads(file.readline())
            return event


def moment(event: Event) -> datetime:
    """Return when an event was written."""
    return datetime.fromisoformat(str(event["time"]).replace("Z", "+00:00"))


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _torn(path: Path) -> bool:
    """Whether the last line lacks its end."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
