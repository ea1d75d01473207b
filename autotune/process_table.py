"""The processes of this host as /proc shows them, and signals that never reach the wrong one.

A process id alone names nobody: it is given out again. With the moment of the start it does, until
the next boot.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

TRIAL = "AUTOTUNE_TRIAL"
"""Environment variable of every process that a trial starts: the trial's folder, absolute."""

CONTROLLER = "AUTOTUNE_CONTROLLER"
"""Likewise: the process that runs the trial, as `identity` gives it."""

PROC = Path("/proc")
KILL_PATIENCE_S = 5.0  # how long SIGKILL may take
POLL_S = 0.05
GONE = frozenset("ZX")  # states of processes that have ended and that nobody has asked for yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """What the kernel says of a process; `start_ticks` are clock ticks since the boot."""

    state: str
    parent: int
    group: int
    session: int
    start_ticks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process of this user; `trial` and `controller` are its labels, `temp` is its TMPDIR."""

    pid: int
    session: int
    start_ticks: int
    words: tuple[str, ...]
    trial: Path | None = None
    controller: str | None = None
    temp: Path | None = None


def labels(trial: Path) -> dict[str, str]:
    """Return what belongs into the environment of every process that a trial starts.

    Its descendants inherit it, and with SPT_NOENV no process title overwrites it.
    Source: README of setproctitle 1.3, which vLLM and SGLang use.
    """
    return {TRIAL: str(trial.resolve()), CONTROLLER: identity(os.getpid()), "SPT_NOENV": "1"}


def stat_of(pid: int) -> Stat | None:
    """Return what the kernel says of a process; None if there is none, or no /proc."""
    try:
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        parent, group, session = (int(field) for field in fields[1:4])
        return Stat(state=fields[0], parent=parent, group=group, session=session, start_ticks=int(fields[19]))
    except (OSError, ValueError, IndexError):
        return None


def boot_id() -> str:
    """Return what names this boot of the host; empty where the system does not tell."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def identity(pid: int) -> str:
    """Return a process's id and start in one word, `4711.9301`; the start is 0 where nobody tells it."""
    stat = stat_of(pid)
    return f"{pid}.{stat.start_ticks if stat else 0}"


def runs(pid: int, start_ticks: int) -> bool:
    """Whether the process with this id and start has not ended."""
    stat = stat_of(pid)
    return stat is not None and stat.start_ticks == start_ticks and stat.state not in GONE


def snapshot() -> list[Process]:
    """Return the processes of this user that see the same files as this one.

    Those of another mount namespace (in a container) are left out: their paths mean something else.
    """
    return list(_all())


def of_trial(trial: Path) -> list[Process]:
    """Return what this process started for a trial and still runs, whatever group it is in by now."""
    mine = labels(trial)
    return [
        process
        for process in snapshot()
        if str(process.trial) == mine[TRIAL] and process.controller == mine[CONTROLLER]
    ]


def ancestors() -> set[int]:
    """Return the ids of this process, its parent, and so on."""
    found: set[int] = set()
    pid = os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        stat = stat_of(pid)
        pid = stat.parent if stat else 0
    return found


def end(processes: Sequence[Process], grace_s: float) -> list[Process]:
    """Send SIGTERM, then SIGKILL after `grace_s`; return those that run even after that."""
    _send_all(processes, signal.SIGTERM)
    left = _wait(processes, grace_s)
    _send_all(left, signal.SIGKILL)
    return _wait(left, KILL_PATIENCE_S)


def started_at(process: Process) -> float:
    """Return when a process was started, in seconds since the epoch."""
    lines = (PROC / "stat").read_text().splitlines()
    boot_s = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
    return boot_s + process.start_ticks / os.sysconf("SC_CLK_TCK")


def open_files(process: Process) -> list[Path]:
    """Return the files that a process has open; empty once it has ended."""
    found = []
    with contextlib.suppress(OSError):
        for entry in (PROC / str(process.pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(entry.readlink())
    return found


def _all() -> Iterator[Process]:
    user, view = os.geteuid(), _view("self")
    for entry in PROC.glob("[0-9]*"):
        pid = int(entry.name)
        try:
            stat = stat_of(pid)  # before the labels: a start that is older than they are signals nobody
            if stat is None or stat.state in GONE or entry.stat().st_uid != user or _view(entry.name) != view:
                continue
            env = dict(_pairs((entry / "environ").read_bytes()))
            words = (entry / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        except OSError:  # it has ended, or is not ours to read
            continue
        yield Process(
            pid=pid,
            session=stat.session,
            start_ticks=stat.start_ticks,
            words=tuple(word.decode(errors="replace") for word in words),
            trial=_path(env.get(TRIAL)),
            controller=env.get(CONTROLLER),
            temp=_path(env.get("TMPDIR")),
        )


def _view(pid: str) -> int:
    """The number of the mount namespace."""
    return (PROC / pid / "ns/mnt").stat().st_ino


def _pairs(environ: bytes) -> Iterator[tuple[str, str]]:
    for item in environ.split(b"\0"):
        name, _, value = os.fsdecode(item).partition("=")
        yield name, value


def _path(value: str | None) -> Path | None:
    return Path(value) if value else None


def _send_all(processes: Iterable[Process], number: signal.Signals) -> None:
    for process in processes:
        _send(process, number)


def _send(process: Process, number: signal.Signals) -> None:
    """A descriptor holds on to the process, so that its id cannot become another's after the look at it."""
    try:
        descriptor: int | None = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    except OSError:  # an old kernel or a sandbox: the look alone must do
        descriptor = None
    try:
        if not runs(process.pid, process.start_ticks):
            return
        with contextlib.suppress(ProcessLookupError):
            if descriptor is None:
                os.kill(process.pid, number)
            else:
                signal.pidfd_send_signal(descriptor, number)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _wait(processes: Sequence[Process], timeout_s: float) -> list[Process]:
    """Those that still run after `timeout_s`; returns as soon as none does."""
    deadline = time.monotonic() + timeout_s
    while True:
        left = [process for process in processes if runs(process.pid, process.start_ticks)]
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(POLL_S)
