"""`python -m autotune reap`: what dead sweeps left on this host, listed, and ended when asked."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from autotune import daemon, leftovers
from autotune.cli import complain
from autotune.leftovers import Leftover
from autotune.places import OUTPUTS
from autotune.process_table import Process, open_files, started_at

GRACE_S = 15.0  # between SIGTERM and SIGKILL
COMMAND_WIDTH = 100  # characters of a command line that are shown


def run_reap(sweeps: Sequence[Path], *, end: bool) -> int:
    """Print what dead sweeps left, all or these, and with `end` end it.

    1 if something resists, 2 if a folder is not there; one that was deleted may have left something.
    """

    def find() -> list[Leftover]:
        return leftovers.of_dead_sweeps(OUTPUTS, only=sweeps)

    for line in _unseen():
        print(line, file=sys.stderr)  # noqa: T201
    left = find()
    missing = [f"{path}: no such folder: give that of a sweep" for path in sweeps if not path.is_dir()]
    if not left and missing:
        return complain(missing)
    if not left:
        whose = ", ".join(map(str, sweeps)) or "dead sweeps, on this host and in ./outputs"
        print(f"nothing is left of {whose}")  # noqa: T201
        return 0
    print("\n".join(listing(left)), flush=True)  # noqa: T201
    if not end:
        again = shlex.join(["python", "-m", "autotune", "reap", "--yes", *map(str, sweeps)])
        print(f"to end these: {again}")  # noqa: T201
        return 0
    ended = leftovers.clear(find, GRACE_S)
    if ended.stubborn or ended.stuck:
        print(f"error: {ended}: look at them with ps -o stat,wchan -p PID", file=sys.stderr)  # noqa: T201
        return 1
    print(f"ended: {ended}")  # noqa: T201
    return 0


def listing(left: Sequence[Leftover]) -> Iterator[str]:
    """Yield a line for each trial's folder, and below it one for each thing that is left of it."""
    for each in left:
        yield str(each.trial)
        for process in each.processes:
            yield f"  process {process.pid}, since {_moment(process)}{_locks(process)}: {_command(process)}"
        for container in each.containers:
            yield f"  container {container.name}, since {container.since}"
        for path in each.scratch:
            yield f"  temporary files {path}"


def _unseen() -> list[str]:
    """What could not be looked for: containers, where there should be a daemon and none answers."""
    if not daemon.expected():
        return []
    from docker.errors import DockerException

    try:
        with daemon.client():
            return []
    except (DockerException, OSError) as error:
        return [f"note: containers were not looked for: {daemon.silence(error)}"]


def _moment(process: Process) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started_at(process)))


def _locks(process: Process) -> str:
    """The GPUs whose locks it has open."""
    held = sorted({path.stem for path in open_files(process) if _is_lock(path)})
    return f", holds the lock of {', '.join(held)}" if held else ""


def _is_lock(path: Path) -> bool:
    return path.suffix == ".lock" and path.parent.name in {"autotune-gpus", "locks"}


def _command(process: Process) -> str:
    text = shlex.join(process.words)
    return text if len(text) <= COMMAND_WIDTH else f"{text[: COMMAND_WIDTH - 3]}..."
