"""Makes the Python environment of a load client: whole, or not there.

An environment knows itself by its path, so it cannot be made elsewhere and moved into place. It is made where
it stays, under a lock, and its stamp is written last: what has none was interrupted, and is made anew. The
programs that work on it inherit the lock: they hold it while they live, whatever becomes of their starter.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from autotune.benchmark.environments import STAMP, ClientPackage, folder_of, is_whole, stamp_of
from autotune.deploy.program import PYTHON_OF_OURS
from autotune.errors import InfrastructureError, Interrupted
from autotune.processes import ProcessGroup
from autotune.track.files import keep

POLL_S = 0.1
TELL_EVERY_S = 15.0
GRACE_S = 3.0  # between SIGTERM and SIGKILL
START_TIMEOUT_S = 180.0  # for the client's --help: some import for half a minute
SPARE_GIB = 0.5  # of the disk, beside what is installed
LOG_LINES = 8  # of a failed step that are shown

ELSEWHERE = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIRE_VIRTUALENV")
"""Settings of pip by which it would install into another place."""

CAUSES: Sequence[tuple[str, str]] = (
    (r"No space left on device", "the disk is full: free some, or set AUTOTUNE_CACHE to a folder on another"),
    (r"ensurepip", "this Python cannot make environments: install its venv package (Debian: python3-venv)"),
    (
        r"NewConnectionError|NameResolutionError|Temporary failure in name|ConnectTimeout|ReadTimeout|"
        r"ProxyError|Network is unreachable|SSLError",
        "the package index does not answer: look at the network, the proxy (HTTPS_PROXY), PIP_INDEX_URL",
    ),
    (
        r"No matching distribution found|ResolutionImpossible",
        f"pip finds no such packages for Python {sys.version_info[0]}.{sys.version_info[1]}: run autotune "
        "with another Python, or look at PIP_INDEX_URL",
    ),
)
"""What in the log of a failed step means what; the first that is found counts."""


@dataclass(slots=True, kw_only=True)
class Making:
    """One environment that is being made. `stop` ends it, `say` gets a line for who watches."""

    package: ClientPackage
    stop: threading.Event
    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    began_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.began_s = self.clock()

    @property
    def venv(self) -> Path:
        """The environment's folder."""
        return folder_of(self.package)

    @property
    def log(self) -> Path:
        """What venv, pip and the client said."""
        return self.venv.with_name(f"{self.venv.name}.log")

    def run(self) -> bool:
        """Ensure that the environment is whole; return False if it was already.

        Raises: InfrastructureError with what the log says; Interrupted. Nothing of it is left then.
        """
        try:
            with self._locked() as lock:
                if is_whole(self.venv, self.package):
                    return False
                self._clear("what is left of an earlier installation is removed")
                self._check_disk()
                try:
                    self._make(lock)
                except BaseException:
                    self._clear("")
                    raise
        except OSError as error:
            raise InfrastructureError(f"cannot write {self.venv}: {error.strerror}") from error
        return True

    def _make(self, lock: int) -> None:
        self.log.write_bytes(b"")
        requirements = [self.package.requirement, *self.package.pins]
        python = self.venv / "bin" / "python"
        pip: list[str | Path] = [
            python,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--no-input",
            "install",
            *requirements,
        ]
        self._step("making a Python environment", [sys.executable, "-m", "venv", self.venv], lock)
        with self._temporary() as temp:
            self._step(f"installing {', '.join(requirements)}", pip, lock, temp=temp)
        program = self.venv / "bin" / self.package.program
        self._step(f"starting {self.package.program}", [program, "--help"], lock, timeout_s=START_TIMEOUT_S)
        keep(self.venv / STAMP, json.dumps(stamp_of(self.package)))

    def _step(
        self,
        words: str,
        argv: Sequence[str | Path],
        lock: int,
        *,
        temp: Path | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Run a program to its end.

        Raises: InfrastructureError if it fails; Interrupted, and then nothing of it runs.
        """
        self.say(f"{words} ...")
        said = self.log.stat().st_size
        try:
            process = ProcessGroup(
                [str(word) for word in argv], env=_environment(temp), log=self.log, keep=[lock]
            )
        except OSError as error:
            raise InfrastructureError(f"{words}: {argv[0]} cannot be started: {error.strerror}") from error
        try:
            code = self._ended(process, timeout_s)
        finally:
            process.terminate(GRACE_S)
        if code != 0:
            raise InfrastructureError(
                self._why(words, code, self.log.read_bytes()[said:].decode(errors="replace"))
            )

    def _ended(self, process: ProcessGroup, timeout_s: float | None) -> int | None:
        """The exit status; None if the time was over."""
        began_s = told_s = self.clock()
        while (code := process.wait(POLL_S)) is None:
            now_s = self.clock()
            if self.stop.is_set():
                raise Interrupted
            if timeout_s is not None and now_s - began_s > timeout_s:
                return None
            if now_s - told_s >= TELL_EVERY_S:
                told_s = now_s
                self.say(f"  {self.cost()}: {_doing(self.log)}")
        if self.stop.is_set():
            raise Interrupted
        return code

    def cost(self) -> str:
        """Return the size by now and the time that it took."""
        return f"{size_gib(self.venv):.2f} GiB, {(self.clock() - self.began_s) / 60:.1f} min"

    def _why(self, words: str, code: int | None, said: str) -> str:
        how = f"no end within {START_TIMEOUT_S:g} s" if code is None else f"exit status {code}"
        cause = next((advice for pattern, advice in CAUSES if re.search(pattern, said)), "")
        last = [f"  {line}" for line in said.splitlines() if line.strip()][-LOG_LINES:]
        head = f"{self.package.name} is not installed: {words}: {how}" + (f": {cause}" if cause else "")
        return "\n".join([head, f"the last lines of {self.log}:", *last])

    def _check_disk(self) -> None:
        free_gib = shutil.disk_usage(self.venv.parent).free / 2**30
        needed_gib = self.package.size_gib + SPARE_GIB
        if free_gib < needed_gib:
            raise InfrastructureError(
                f"{self.venv.parent}: the disk has {free_gib:.1f} GiB left, {self.package.requirement} needs "
                f"{needed_gib:.1f}: free some, or set AUTOTUNE_CACHE to a folder on another disk"
            )

    @contextmanager
    def _temporary(self) -> Iterator[Path]:
        """A place for downloads, in the environment: it goes with it, and counts as progress."""
        folder = self.venv / "downloads"
        folder.mkdir()
        yield folder
        shutil.rmtree(folder)

    def _clear(self, words: str) -> None:
        """Ensure that nothing is where the environment will be; its stamp goes first."""
        if not self.venv.exists():
            return
        if words:
            self.say(f"{self.venv}: {words}")
        (self.venv / STAMP).unlink(missing_ok=True)
        shutil.rmtree(self.venv)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the lock of this environment; wait for another installation of it. Raises: Interrupted."""
        self.venv.parent.mkdir(parents=True, exist_ok=True)
        path = self.venv.with_name(f"{self.venv.name}.lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            told = False
            while not _taken(descriptor):
                if not told:
                    told = True
                    self.say(f"another installation of {self.package.requirement} is running: waiting for it")
                if self.stop.wait(POLL_S):
                    raise Interrupted
            yield descriptor
        finally:
            os.close(descriptor)


def size_gib(folder: Path) -> float:
    """Return how much the files in a folder take, also while they come and go."""
    total = 0
    for place, _folders, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(f"{place}/{name}").st_size
    return total / 2**30


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _environment(temp: Path | None) -> Mapping[str, str]:
    """The user's own, index and proxy included, without what would lead into another Python."""
    env = {name: value for name, value in os.environ.items() if name not in (*PYTHON_OF_OURS, *ELSEWHERE)}
    return env if temp is None else {**env, "TMPDIR": str(temp)}


def _doing(log: Path) -> str:
    """What pip said last that tells how far it is."""
    lines = log.read_text(errors="replace").splitlines()
    told = (line.strip() for line in reversed(lines))
    steps = ("Collecting", "Downloading", "Using cached", "Building", "Installing", "Preparing", "Obtaining")
    return next((line[:100] for line in told if line.startswith(steps)), "no word yet")
