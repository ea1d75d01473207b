"""Process groups end as a whole."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from autotune.processes import ProcessGroup

FORKS = (
    "import os, signal, sys, time\n"
    "if os.fork() == 0:\n"
    "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "    os.write(1, b'child %d\\n' % os.getpid())\n"  # one write: two processes share the pipe
    "    time.sleep(600)\n"
    "os.write(1, b'parent\\n')\n"
    "time.sleep(600)\n"
)


def start(program: str, log: Path) -> ProcessGroup:
    """A Python program in a group of its own, with pipes."""
    return ProcessGroup([sys.executable, "-c", program], env=dict(os.environ), log=log, piped=True)


def test_a_child_that_ignores_sigterm_is_ended_too(tmp_path: Path) -> None:
    """SIGKILL reaches what SIGTERM left, though its leader is gone."""
    group = start(FORKS, tmp_path / "log")
    lines = sorted([group.stdout.readline(), group.stdout.readline()])
    child = int(lines[0].split()[1])
    group.terminate(0.2)
    assert group.exit_code() is not None
    assert not _runs(child)


def test_terminate_twice_is_harmless(tmp_path: Path) -> None:
    """A group that is gone stays gone."""
    group = start("pass", tmp_path / "log")
    assert group.wait(20) == 0
    group.terminate(1)
    group.terminate(1)
    assert group.exit_code() == 0


def test_a_group_does_not_get_the_terminals_signals(tmp_path: Path) -> None:
    """It leads a session of its own."""
    group = start("import os; print(os.getsid(0) == os.getpid())", tmp_path / "log")
    assert group.stdout.readline() == b"True\n"
    group.terminate(1)


def test_errors_go_to_the_log(tmp_path: Path) -> None:
    """Standard error is kept where the pipes are for data."""
    group = start("import sys; print('cause', file=sys.stderr)", tmp_path / "log")
    assert group.wait(20) == 0
    group.terminate(1)
    assert (tmp_path / "log").read_text() == "cause\n"


def test_a_missing_program_is_an_os_error(tmp_path: Path) -> None:
    """The caller can say which program."""
    with pytest.raises(FileNotFoundError, match="no-such-engine"):
        ProcessGroup(["no-such-engine"], env={}, log=tmp_path / "log")


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
