"""`python -m autotune logs`: the tail of what the engines of a sweep say, of running trials or of one."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from autotune import ownership
from autotune.cli import complain
from autotune.deploy.readiness import LOG
from autotune.places import OUTPUTS
from autotune.track.journal import NAME, Tail
from autotune.track.state import SweepState, TrialState

LINES = 20  # of each log, unless told otherwise
POLL_S = 0.2  # between two looks at a log that is followed
BLOCK = 65536  # bytes read at once from a log's end
SHOWN = 10  # sweeps that a message names

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
"""What would colour or move the terminal's cursor; engines draw progress bars."""


class Watched:
    """A sweep as its journal tells it, read while it grows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = SweepState()
        self._tail = Tail(folder / NAME)

    def read_on(self) -> None:
        """Take in what has come since."""
        for event in self._tail.news():
            self.state.apply(event)

    def log_of(self, trial: TrialState) -> Path:
        """The log of a trial's engine, of its present or last attempt."""
        return self.folder / str(trial.queued["folder"]) / LOG

    def running(self) -> list[TrialState]:
        """The trials that have begun and not ended."""
        return [trial for trial in self.state.trials.values() if trial.status == "running"]


def run_logs(sweep: str | None, *, trial: int | None, lines: int, follow: bool) -> int:
    """Print the last lines of engines' logs and return the exit status: 2 if there is no such thing.

    Following ends with 0 when the trial does, and with 130 by Ctrl-C.
    """
    folder = _folder_of(sweep)
    if isinstance(folder, str):
        return complain([folder])
    watched = Watched(folder)
    watched.read_on()
    known = watched.state.trials
    if trial is not None and trial not in known:
        there = f"its trials are 0 to {max(known)}" if known else "it has none yet"
        return complain([f"--trial {trial}: {folder} has no such trial: {there}"])
    chosen = watched.running() if trial is None else [known[trial]]
    if follow and len(chosen) > 1:
        numbers = ", ".join(str(each.number) for each in chosen)
        return complain([f"--follow follows one trial: give --trial N; running are {numbers}"])
    if not chosen:
        _say(f"no trial of {folder} is running; --trial N shows one that has ended{_ended(watched.state)}")
        return 0
    if not follow:
        for each in chosen:
            _say("\n".join([_head(watched, each), *last_lines(watched.log_of(each), lines)]))
        return 0
    try:
        return _follow(watched, chosen[0], lines)
    except KeyboardInterrupt:
        return 130


def last_lines(log: Path, count: int, *, end: int | None = None) -> list[str]:
    """Return the last lines of a log, or of its part before `end`; of one that is not there nothing."""
    try:
        with log.open("rb") as file:
            place, data = file.seek(0, os.SEEK_END) if end is None else end, b""
            while place > 0 and data.count(b"\n") <= count:
                step = min(BLOCK, place)
                place = file.seek(place - step)
                data = file.read(step) + data
    except OSError:
        return []
    lines = data.split(b"\n")
    whole = lines[:-1] if lines[-1] == b"" else lines
    return [_plain(line) for line in whole[-count:]] if count else []


def _folder_of(sweep: str | None) -> Path | str:
    """The sweep's folder, or what is wrong."""
    journals = sorted(OUTPUTS.glob(f"*/{NAME}"), key=lambda path: path.stat().st_mtime, reverse=True)
    names = [path.parent.name for path in journals]
    if sweep is None:
        return (
            journals[0].parent if journals else f"no sweep in {OUTPUTS}/ here: call it where one was started"
        )
    for folder in (OUTPUTS / sweep, Path(sweep)):
        if (folder / NAME).is_file():
            return folder
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    there = f"here are {', '.join(names[:SHOWN])}{more}" if names else f"there is none in {OUTPUTS}/ here"
    return f"{sweep}: no sweep of this name or path: {there}"


def _ended(state: SweepState) -> str:
    ends = [f"{trial.number} ({trial.status})" for trial in state.trials.values()]
    return f": {', '.join(ends[-SHOWN:])}" if ends else ""


def _head(watched: Watched, trial: TrialState) -> str:
    """Which trial, how it stands, and where its log is or why there is none."""
    log = watched.log_of(trial)
    where = str(log) if log.exists() else "no log"
    if not log.exists() and trial.started is None:
        where = "no log before it has GPUs"
    gone = trial.status == "running" and not ownership.held(watched.folder)
    status = f"{trial.status}, but nobody works on the sweep" if gone else trial.status
    return f"== trial {trial.number} {trial.queued['label']}: {status} ({where})"


def _follow(watched: Watched, trial: TrialState, lines: int) -> int:
    """Print the last lines and what comes after them until the trial ends, through all its attempts."""
    file = watched.log_of(trial)
    log = _Grown(file)
    _say("\n".join([_head(watched, trial), *last_lines(file, lines, end=log.begin)]))
    while True:
        watched.read_on()
        trial = watched.state.trials[trial.number]
        over = trial.finished is not None or not ownership.held(watched.folder)
        for line in log.news(to_the_end=over):
            _say(line)
        if over:
            _say(_head(watched, trial))
            return 0
        time.sleep(POLL_S)


class _Grown:
    """What is added to a log after its last whole line, at `begin`.

    One that takes its place (of another attempt) is read from its start.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._inode, size = self._now()
        self.begin = self._read = _end_of_lines(log, size)
        self._rest = b""

    def news(self, *, to_the_end: bool) -> Sequence[str]:
        """Return the lines that are complete by now, at the end also one that is not."""
        inode, size = self._now()
        if inode != self._inode or size < self._read:
            self._inode, self._read, self._rest = inode, 0, b""
        if size > self._read:
            with self._log.open("rb") as file:
                file.seek(self._read)
                data = file.read(size - self._read)
            self._read += len(data)
            self._rest += data
        *whole, self._rest = self._rest.split(b"\n")
        if to_the_end and self._rest:
            whole, self._rest = [*whole, self._rest], b""
        return [_plain(line) for line in whole]

    def _now(self) -> tuple[int, int]:
        try:
            stat = self._log.stat()
        except OSError:
            return 0, 0
        return stat.st_ino, stat.st_size


def _end_of_lines(log: Path, size: int) -> int:
    """Where the last whole line ends in the first `size` bytes."""
    place = size
    if size:
        with log.open("rb") as file:
            while place > 0:
                step = min(BLOCK, place)
                place = file.seek(place - step)
                found = file.read(step).rfind(b"\n")
                if found >= 0:
                    return place + found + 1
    return 0


def _plain(line: bytes) -> str:
    """A line as it would stay on a terminal, without what only draws."""
    text = line.decode(errors="replace").rstrip("\r").rpartition("\r")[2]
    return CONTROL.sub("", text)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201
