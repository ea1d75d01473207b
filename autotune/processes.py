"""Child processes that lead a process group of their own, and end as a whole.

Engines and load clients are started here and nowhere else: a crash in one cannot touch another,
a Ctrl-C in the terminal does not reach them behind the controller's back, and whatever they
forked goes with them. Those of a trial carry its `labels`, by which `leftovers` finds them after a crash.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from autotune import process_table
from autotune.process_table import GONE

_live: weakref.WeakSet[ProcessGroup] = weakref.WeakSet()


def kill_all() -> None:
    """Send SIGKILL to every group that this process started and has not ended; for the second Ctrl-C."""
    while _live:  # other threads may start one more while this goes on
        with suppress(KeyError):
            _live.pop().kill()


class ProcessGroup:
    """A command in its own session; standard output and error go to `log` unless piped."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        cwd: Path | None = None,
        piped: bool = False,
        keep: Sequence[int] = (),
        cpus: Sequence[int] = (),
    ) -> None:
        """Start it. With `piped`, standard input and output are pipes and only errors go to `log`.

        It inherits the descriptors `keep`, and runs on the cores `cpus` only, unless that is empty.

        Raises: OSError if the program cannot be started (missing, not executable).
        """
        with log.open("ab") as sink, _on(cpus):
            self._process = subprocess.Popen(
                list(argv),
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else sink,
                stderr=sink,
                start_new_session=True,
                pass_fds=tuple(keep),
            )
        _live.add(self)

    @property
    def pid(self) -> int:
        """Process id of the leader, which is also the id of the group."""
        return self._process.pid

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe to the leader's standard input."""
        return _opened(self._process.stdin)

    @property
    def stdout(self) -> IO[bytes]:
        """The pipe from the leader's standard output."""
        return _opened(self._process.stdout)

    def exit_code(self) -> int | None:
        """Return the leader's exit status (negative: the signal), or None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float) -> int | None:
        """Return the leader's exit status, or None if it still runs after `timeout_s`."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def terminate(self, grace_s: float) -> bool:
        """Ensure that no process of the group is left: SIGTERM, then SIGKILL after `grace_s`.

        Return False if one runs in spite of that: it waits in the kernel, for a driver or a disk.
        Children can outlive their leader for a moment (vLLM's do), so the group is watched, not
        the leader alone.
        """
        self._signal(signal.SIGTERM)
        gone = self._gone_within(grace_s)
        if not gone:
            self._signal(signal.SIGKILL)
            gone = self._gone_within(process_table.KILL_PATIENCE_S)
        _live.discard(self)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                _close(pipe)
        return gone

    def is_gone(self) -> bool:
        """Whether no process of the group runs."""
        return self._process.poll() is not None and not _alive(self.pid)

    def kill(self) -> None:
        """Send SIGKILL to the group and wait for nothing."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return

    def _gone_within(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while True:
            if self.is_gone():
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)


@contextmanager
def _on(cpus: Sequence[int]) -> Iterator[None]:
    """Put this thread on `cpus` for a while: what it starts inherits that, from its first moment."""
    if not cpus or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    _pin(set(cpus) & before or before)
    try:
        yield
    finally:
        _pin(before)


def _pin(cpus: set[int]) -> None:
    """Cores may have gone away since they were chosen: then this thread stays where it is."""
    with suppress(OSError):
        os.sched_setaffinity(0, cpus)


def _alive(group: int) -> bool:
    """Whether any process of `group` still runs; zombies that await their parent do not count."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    members = (process_table.stat_of(int(entry.name)) for entry in Path("/proc").glob("[0-9]*"))
    return any(stat.group == group and stat.state not in GONE for stat in members if stat is not None)


def _opened(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("the process was started without pipes")
    return pipe


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        return
