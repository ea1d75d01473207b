"""A working directory in which commands are run as a user runs them, on a stand-in engine program."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autotune.track.journal import read

ROOT = Path(__file__).parents[1]
STANDINS = Path(__file__).parent / "standins"


class Shop:
    """A working directory with a stand-in engine, a model folder, and what happened there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "model").mkdir()
        self.temp = folder / "tmp"
        self.temp.mkdir()
        self.pids = folder / "pids"
        self.pids.touch()

    @property
    def env(self) -> dict[str, str]:
        """The environment of commands: this checkout's code, and a place of their own for temporary files."""
        path = os.pathsep.join([str(ROOT), str(ROOT / "launchers")])
        return {**os.environ, "PYTHONPATH": path, "TMPDIR": str(self.temp)}

    def words(self, *words: str, mode: str = "ok") -> list[str]:
        """The command line of a sweep on the stand-in."""
        return [
            *words,
            "runtime=vllm",
            "runtime.version=0.32.0",
            "deploy=process",
            f"deploy.bin={STANDINS}",
            f"model.path={self.folder / 'model'}",
            "model.heads=null",
            "gpus=cpu",
            "gpus.count=2",
            "workload=tiny",
            "workload.loads=[2]",
            "workload.min_requests=4",
            "workload.requests_per_load=2",
            "measure.repeats=2",
            "measure.shuffle=false",  # which trial is which is known
            f"runtime.env.STANDIN={mode}",
            f"runtime.env.STANDIN_PIDS={self.pids}",
        ]

    def start(self, words: list[str]) -> subprocess.Popen[str]:
        """Start a command as a user would."""
        return subprocess.Popen(
            [sys.executable, "-m", "autotune", *words],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, words: list[str]) -> tuple[int, str, str]:
        """Run a command to its end: exit status, standard output, standard error."""
        with self.start(words) as process:
            try:
                out, err = process.communicate(timeout=120)
            except subprocess.TimeoutExpired:
                process.kill()  # else leaving it would wait for ever
                raise
        return process.returncode, out, err

    def scratch(self) -> list[Path]:
        """Temporary folders of engines; Python itself may leave a file where it is killed looking for a place."""
        return sorted(self.temp.glob("autotune-*"))

    def events(self, sweep: str) -> list[dict[str, Any]]:
        """The journal of a sweep, empty before there is one."""
        path = self.folder / "outputs" / sweep / "journal.jsonl"
        return list(read(path)) if path.exists() else []

    def finished(self, sweep: str) -> list[dict[str, Any]]:
        """The ends of its trials, in their order."""
        ends = [event for event in self.events(sweep) if event["event"] == "trial_finished"]
        return sorted(ends, key=lambda event: int(event["trial"]))

    def left_over(self) -> list[int]:
        """The stand-ins that still run."""
        return [pid for pid in map(int, self.pids.read_text().split()) if runs(pid)]

    def labelled(self) -> list[int]:
        """The processes that carry the label of a trial here."""
        mark = f"AUTOTUNE_TRIAL={self.folder.resolve()}/".encode()
        environs = {int(entry.name): _read(entry / "environ") for entry in Path("/proc").glob("[0-9]*")}
        return [
            pid for pid, environ in environs.items() if any(v.startswith(mark) for v in environ.split(b"\0"))
        ]

    def seen(self, sweep: str, event: str) -> bool:
        """Whether the journal has such an event."""
        return any(each["event"] == event for each in self.events(sweep))

    def tags(self, key: str) -> list[str]:
        """The values of a tag over all runs in the store."""
        with sqlite3.connect(self.folder / "mlruns" / "mlflow.db") as store:
            rows = store.execute("select value from tags where key = ? order by run_uuid", (key,))
            values = [str(row[0]) for row in rows]
        store.close()
        return sorted(values)


def until(true: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Wait for something that must happen."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody reaps does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _read(path: Path) -> bytes:
    """The content; nothing of a process that has ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
