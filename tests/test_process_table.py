"""Processes are told apart by id and start."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from autotune.process_table import (
    Process,
    end,
    identity,
    labels,
    open_files,
    runs,
    snapshot,
    started_at,
    stat_of,
)


def of(pid: int) -> Process:
    """The process in a snapshot."""
    [found] = [process for process in snapshot() if process.pid == pid]
    return found


def test_a_snapshot_has_words_session_and_labels(tmp_path: Path) -> None:
    """As they are in /proc."""
    env = {**labels(tmp_path / "trial-0"), "TMPDIR": "/somewhere", "PATH": os.defpath}
    with subprocess.Popen(["sleep", "600"], env=env, start_new_session=True) as child:
        process = of(child.pid)
        child.kill()
    assert process.words == ("sleep", "600")
    assert process.session == child.pid
    assert process.trial == tmp_path / "trial-0"
    assert process.controller == identity(os.getpid())
    assert process.temp == Path("/somewhere")


def test_a_process_id_that_was_given_out_again_gets_no_signal() -> None:
    """The start must be the same."""
    with subprocess.Popen(["sleep", "600"]) as child:
        process = of(child.pid)
        earlier = replace(process, start_ticks=process.start_ticks - 1)
        assert end([earlier], grace_s=0) == []
        assert child.poll() is None
        assert end([process], grace_s=5) == []
        assert child.wait() == -15
    assert not runs(process.pid, process.start_ticks)


def test_the_start_is_told_as_time_of_day() -> None:
    """Clock ticks since the boot become seconds since the epoch."""
    with subprocess.Popen(["sleep", "600"]) as child:
        moment = started_at(of(child.pid))
        child.kill()
    assert abs(moment - time.time()) < 30


def test_open_files_are_listed(tmp_path: Path) -> None:
    """With the links of /proc; none once it has ended."""
    with (tmp_path / "gpu.lock").open("w") as lock:
        with subprocess.Popen(["sleep", "600"], pass_fds=[lock.fileno()]) as child:
            process = of(child.pid)
            assert tmp_path / "gpu.lock" in open_files(process)
            child.kill()
        assert open_files(process) == []


def test_nobody_is_no_process() -> None:
    """There is none with an id that cannot be."""
    assert stat_of(999999999) is None
    assert not runs(999999999, 1)
