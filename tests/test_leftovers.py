"""What is found of a dead controller, and what is not: real processes, with labels and without."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from autotune import leftovers, ownership, scratch
from autotune.process_table import CONTROLLER, boot_id, labels, stat_of
from autotune.track.journal import Journal
from tests.shop import until

DEAD = {CONTROLLER: "999999999.1"}  # above every possible process id
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a shell command in a session of its own, with so much of an environment."""
    started: list[subprocess.Popen[bytes]] = []

    def give(env: Mapping[str, str], command: str = "exec sleep 600") -> subprocess.Popen[bytes]:
        started.append(
            subprocess.Popen(
                ["sh", "-c", command],
                env={"PATH": os.defpath, **env},
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        )
        return started[-1]

    yield give
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    """The folder of a trial whose sweep nobody works on."""
    folder = tmp_path / "outputs" / "s" / "trial-0"
    folder.mkdir(parents=True)
    return folder


def found(left: list[leftovers.Leftover]) -> list[int]:
    """The process ids in it."""
    return [process.pid for each in left for process in each.processes]


def dead(trial: Path) -> list[leftovers.Leftover]:
    """What is left of this sweep, if nobody works on it."""
    return leftovers.of_dead_sweeps(trial.parent.parent, only=[trial.parent])


def running(trial: Path, **server: Any) -> None:
    """Write a journal in which the trial has a server and no end."""
    journal = Journal(trial.parent, sweep="s")
    journal.write("trial_queued", trial=0, folder=trial.name)
    journal.write("trial_started", trial=0)
    journal.write("server_started", trial=0, **server)
    journal.close()


def test_a_labelled_process_of_a_dead_controller_is_left_over(start: Start, trial: Path) -> None:
    """Those of this process, of another trial's sweep and of nobody are not."""
    mine = start({**labels(trial), **DEAD})
    start(labels(trial.parent / "trial-1"))  # its controller is this process
    start({**labels(trial.parent.parent / "other" / "trial-0"), **DEAD})
    start({})
    assert found(leftovers.of_sweep(trial.parent)) == [mine.pid]
    assert found(dead(trial)) == [mine.pid]


def test_a_sweep_that_is_worked_on_has_no_leftovers(start: Start, trial: Path) -> None:
    """Its lock is held; whoever holds it may look all the same."""
    mine = start({**labels(trial), **DEAD})
    lock = ownership.own(trial.parent)
    assert dead(trial) == []
    assert found(leftovers.of_sweep(trial.parent)) == [mine.pid]
    os.close(lock)
    assert found(dead(trial)) == [mine.pid]


def test_a_deleted_folder_is_a_dead_sweep(start: Start, trial: Path) -> None:
    """Only the label tells of it; a living controller keeps its processes even then."""
    mine = start({**labels(trial), **DEAD})
    start(labels(trial.parent / "trial-1"))
    trial.rmdir()
    trial.parent.rmdir()
    assert found(dead(trial)) == [mine.pid]


def test_what_dropped_the_label_is_found_in_the_session(start: Start, trial: Path) -> None:
    """Beside a labelled leader, and after that has gone beside a labelled member."""
    leader = start({**labels(trial), **DEAD}, "env -i sleep 600 & sleep 600 & echo $!; wait")
    assert leader.stdout is not None
    leader.stdout.readline()
    until(lambda: len(found(dead(trial))) == 3)
    leader.kill()
    leader.wait()
    until(lambda: len(found(dead(trial))) == 2)
    ended = leftovers.clear(lambda: dead(trial), grace_s=5)
    assert str(ended) == "2 processes of trial-0"
    assert dead(trial) == []


def test_the_recorded_leader_is_found_without_a_label(start: Start, trial: Path) -> None:
    """By its id, its start and the boot together: another's id is not enough."""
    process = start({})
    stat = stat_of(process.pid)
    assert stat is not None
    server = {"pid": process.pid, "start_ticks": stat.start_ticks, "boot_id": boot_id(), "scratch": ""}
    running(trial, **{**server, "start_ticks": stat.start_ticks - 1})
    assert dead(trial) == []
    running(trial, **{**server, "boot_id": "another"})
    assert dead(trial) == []
    running(trial, **server)
    assert found(dead(trial)) == [process.pid]


def test_what_starts_others_when_it_is_ended_is_ended_with_them(start: Start, trial: Path) -> None:
    """It is looked again until nothing is left."""
    command = "trap 'sleep 600 & exit' TERM; echo ready; while true; do sleep 0.1; done"
    process = start({**labels(trial), **DEAD}, command)
    assert process.stdout is not None
    process.stdout.readline()
    ended = leftovers.clear(lambda: dead(trial), grace_s=5)
    assert ended.stubborn == ()
    assert len(ended.found) > 1
    assert dead(trial) == []


def test_temporary_files_of_a_trial_without_an_end_are_removed(
    trial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where TMPDIR was another; links, and what is named alike, stay."""
    places = [tmp_path / name for name in ("before", "now")]
    made = []
    for place in places:
        place.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(place))
        made.append(scratch.make(trial))
    (made[0] / "file").touch()
    other = scratch.make(trial.parent / "trial-1")
    (places[1] / "autotune-results").mkdir()
    link = places[1] / f"{made[1].name[:20]}-link"
    link.symlink_to(places[1] / "autotune-results")
    running(trial, pid=1, start_ticks=1, boot_id="", scratch=str(made[0]))
    assert [each.scratch for each in dead(trial)] == [tuple(sorted(made))]
    assert str(leftovers.clear(lambda: dead(trial), grace_s=1)) == "2 temporary folders of trial-0"
    assert sorted(path.name for path in places[1].iterdir()) == sorted(
        [other.name, "autotune-results", link.name]
    )
    assert list(places[0].iterdir()) == []


def test_whoever_looks_is_not_left_over(trial: Path) -> None:
    """A command that was started from a process of a trial does not end itself."""
    program = (
        "from pathlib import Path; from autotune import leftovers;"
        f"print(leftovers.of_sweep(Path({str(trial.parent)!r})))"
    )
    root = str(Path(__file__).parents[1])
    env = {**os.environ, **labels(trial), **DEAD, "PYTHONPATH": root}
    told = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    assert told.stdout == "[]\n"
