"""What controllers that were killed left behind: found by labels, sessions and starts, never by a name.

Every process of a trial has two labels in its environment, the trial's folder and the controller, and
its descendants inherit them. One that cleared its environment is found by its session: that of a
process with the labels, or the one that the journal's `server_started` names. Containers have labels too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autotune import daemon, ownership, scratch
from autotune.deploy.readiness import LOG
from autotune.process_table import GONE, Process, ancestors, boot_id, end, runs, snapshot, stat_of
from autotune.secrecy import LogMask, secrets_of
from autotune.track.journal import NAME, read
from autotune.track.state import TrialState, state_of

if TYPE_CHECKING:
    from autotune.deploy.docker.left import Container

ROUNDS = 5  # how often is looked again: processes may have started others meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """What is left of one trial: `trial` is its folder, `scratch` its folders of temporary files."""

    trial: Path
    processes: tuple[Process, ...] = ()
    scratch: tuple[Path, ...] = ()
    containers: tuple[Container, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What was found and ended, and what is there in spite of SIGKILL: processes, containers."""

    found: tuple[Leftover, ...]
    stubborn: tuple[Process, ...]
    stuck: tuple[Container, ...] = ()

    def __str__(self) -> str:
        processes = {(p.pid, p.start_ticks) for each in self.found for p in each.processes}
        folders = {path for each in self.found for path in each.scratch}
        trials = list(dict.fromkeys(each.trial.name for each in self.found))
        containers = {container.id for each in self.found for container in each.containers}
        parts = [
            _counted(len(processes), "process", "processes"),
            _counted(len(containers), "container"),
            _counted(len(folders), "temporary folder"),
        ]
        text = f"{' and '.join(filter(None, parts))} of {', '.join(trials)}"
        still = [f"process {p.pid}" for p in self.stubborn] + [f"container {c.name}" for c in self.stuck]
        return f"{text}; still there after SIGKILL: {', '.join(still)}" if still else text


def of_sweep(folder: Path) -> list[Leftover]:
    """Return what dead controllers left of one sweep; the caller owns it and has started nothing yet."""
    return _left(snapshot(), containers(), {folder.resolve()})


def of_dead_sweeps(outputs: Path, *, only: Collection[Path] = ()) -> list[Leftover]:
    """Return what is left of sweeps that nobody works on: those that processes name, those in `outputs`.

    With `only`, of the sweeps with these folders.
    """
    table, boxes = snapshot(), containers()  # before the locks: whoever begins now has its lock first
    named = {process.trial.parent for process in table if process.trial is not None}
    named |= {container.trial.parent for container in boxes}
    here = {path.parent.resolve() for path in outputs.glob(f"*/{NAME}")}
    wanted = {path.resolve() for path in only} or named | here
    return _left(table, boxes, {folder for folder in wanted if not ownership.held(folder)})


def containers() -> list[Container]:
    """Return the containers of all trials on this host; none where no daemon answers."""
    if not daemon.expected():
        return []
    from docker.errors import DockerException

    from autotune.deploy.docker import left

    with contextlib.suppress(DockerException, OSError):
        return left.labelled()
    return []


def clear(find: Callable[[], list[Leftover]], grace_s: float) -> Ended:
    """End what `find` returns, until that is nothing: SIGTERM, and SIGKILL after `grace_s`.

    Logs that nobody watched meanwhile get their stars.
    """
    found: list[Leftover] = []
    stubborn: list[Process] = []
    stuck: list[Container] = []
    for _ in range(ROUNDS):
        left = find()
        found += left
        stubborn = end([process for each in left for process in each.processes], grace_s)
        stuck = _remove([container for each in left for container in each.containers], grace_s)
        if not left or stubborn or stuck:
            break
        for each in left:
            LogMask(each.trial / LOG, secrets_of(os.environ)).look()
        for path in (path for each in left for path in each.scratch):
            shutil.rmtree(path, ignore_errors=True)
    return Ended(found=tuple(found), stubborn=tuple(stubborn), stuck=tuple(stuck))


def _remove(found: list[Container], grace_s: float) -> list[Container]:
    if not found:
        return []
    from autotune.deploy.docker import left

    return left.remove(found, grace_s)


def _left(table: list[Process], boxes: list[Container], folders: set[Path]) -> list[Leftover]:
    """One for each trial of `folders` with anything left, in the order of their folders."""
    own = ancestors()
    others = [process for process in table if process.pid not in own]
    running = {folder / trial.queued["folder"]: trial for folder in folders for trial in _running(folder)}
    busy = {p.trial for p in others if _controlled(p.controller)}
    boxes = [b for b in boxes if b.trial.parent in folders and not _controlled(b.owner)]
    labelled = {
        process: process.trial
        for process in others
        if process.trial is not None and process.trial.parent in folders and process.trial not in busy
    }
    sessions = _sessions(labelled, others, {t: s for t, s in running.items() if t not in busy})
    mine = labelled | {
        process: sessions[process.session]
        for process in others
        if process.trial is None and process.session in sessions
    }
    dead = {trial for trial in running if trial not in busy}
    trials = sorted({*mine.values(), *dead, *(container.trial for container in boxes)})
    found = [_of_trial(trial, mine, boxes, running.get(trial)) for trial in trials]
    return [each for each in found if each.processes or each.scratch or each.containers]


def _of_trial(
    trial: Path, mine: Mapping[Process, Path], boxes: list[Container], state: TrialState | None
) -> Leftover:
    processes = sorted((p for p, named in mine.items() if named == trial), key=lambda p: p.pid)
    recorded = [process.temp for process in processes if process.temp is not None]
    if state is not None and state.server is not None:
        recorded.append(Path(state.server["scratch"]))
    folders = scratch.left_of(trial, recorded=recorded)
    return Leftover(
        trial=trial,
        processes=tuple(processes),
        scratch=tuple(sorted(folders)),
        containers=tuple(container for container in boxes if container.trial == trial),
    )


def _running(folder: Path) -> list[TrialState]:
    """The trials that the journal of a sweep leaves without an end."""
    try:
        state = state_of(read(folder / NAME))
    except OSError:
        return []
    return [trial for trial in state.trials.values() if trial.status == "running"]


def _sessions(
    labelled: Mapping[Process, Path], others: Iterable[Process], running: Mapping[Path, TrialState]
) -> dict[int, Path]:
    """Sessions that are a trial's as a whole: their leader is the trial's, or gone and a member is."""
    there = {(process.pid, process.start_ticks) for process in others}
    leaders = {process.pid for process in labelled}
    found = {
        process.session: trial
        for process, trial in labelled.items()
        if process.session in leaders or _is_gone(process.session)
    }
    boot = boot_id()
    for trial, state in running.items():
        server = state.server
        if server and server["boot_id"] == boot and (server["pid"], server["start_ticks"]) in there:
            found[server["pid"]] = trial
    return {session: trial for session, trial in found.items() if session not in {0, os.getsid(0)}}


def _is_gone(pid: int) -> bool:
    stat = stat_of(pid)
    return stat is None or stat.state in GONE


def _controlled(controller: str | None) -> bool:
    """Whether the controller that a label names runs, with or without the folder."""
    pid, _, start_ticks = (controller or "").partition(".")
    return pid.isdigit() and start_ticks.isdigit() and runs(int(pid), int(start_ticks))


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}" if number else ""
