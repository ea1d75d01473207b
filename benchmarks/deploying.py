"""What lies between an engine and its trial: `python benchmarks/deploying.py [--repeats N]`.

* From readiness to the first request: the journal's `server_ready` to the first request that the stand-in
  engine sees. The next loads: from `measured` to the first request of the load after it.
* From an engine's death to the outcome: SIGKILL to the journal's `trial_finished`, for an engine that
  starts and for one that is being measured.

Whole sweeps on the stand-in program of the tests; medians and the worst. Times are the journal's, which
has milliseconds.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "launchers")]

from autotune.track.journal import read  # noqa: E402  (the checkout's, not an installed one)

PATIENCE_S = 120.0
SLOW = ("workload.requests_per_load=2000", "runtime.env.STANDIN_PAUSE=0.05")


class Place:
    """A working directory for one sweep on the stand-in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pids, self.requests = folder / "pids", folder / "requests"
        for file in (self.pids, self.requests):
            file.touch()
        (folder / "model").mkdir()

    def words(self, *more: str) -> list[str]:
        """The command line of one trial."""
        return [
            "runtime=vllm",
            "runtime.version=0.32.0",
            "deploy=process",
            f"deploy.bin={ROOT / 'tests' / 'standins'}",
            f"model.path={self.folder / 'model'}",
            "model.heads=null",
            "gpus=cpu",
            "workload=tiny",
            "workload.loads=[1,2]",
            "workload.min_requests=4",
            "workload.requests_per_load=2",
            "measure.repeats=2",
            "sweep.name=s",
            f"runtime.env.STANDIN_PIDS={self.pids}",
            f"runtime.env.STANDIN_REQUESTS={self.requests}",
            *more,
        ]

    def start(self, words: Sequence[str]) -> subprocess.Popen[bytes]:
        """The command, started."""
        path = os.pathsep.join([str(ROOT), str(ROOT / "launchers")])
        return subprocess.Popen(
            [sys.executable, "-m", "autotune", *words],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.DEVNULL,
        )

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of a kind so far."""
        path = self.folder / "outputs" / "s" / "journal.jsonl"
        return [event for event in read(path) if event["event"] == kind] if path.exists() else []

    def first_request_after(self, moment_s: float) -> float:
        """When the first request came after a moment, in seconds since the epoch."""
        begins = [float(line.split()[1]) for line in self.requests.read_text().splitlines()]
        return min(begin for begin in begins if begin > moment_s)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    first, later = zip(*(_in_a_place(_requests) for _ in range(repeats)), strict=True)
    _show("readiness to the first request", list(first), "s, promised under 0.1")
    _show("end of a load to the first request of the next", [s for each in later for s in each], "s")
    starting = [
        _in_a_place(lambda place: _death(place, "server_started", "STANDIN=hang")) for _ in range(repeats)
    ]
    serving = [_in_a_place(lambda place: _death(place, "benchmark_progress", *SLOW)) for _ in range(repeats)]
    _show("death while it starts to the outcome", starting, "s, promised under 2")
    _show("death while it serves to the outcome", serving, "s, promised under 2")
    return 0


def _show(what: str, seconds: Sequence[float], promise: str) -> None:
    print(f"{what:<50} median {statistics.median(seconds):.3f}, worst {max(seconds):.3f} {promise}")


def _in_a_place(measure: Callable[[Place], Any]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return measure(Place(Path(folder)))


def _requests(place: Place) -> tuple[float, list[float]]:
    """Seconds to the first request after readiness, and after each load but the last."""
    with place.start(place.words()) as process:
        if process.wait(PATIENCE_S) != 0:
            raise SystemExit("the trial failed: run the command by hand to see why")
    [ready] = place.events("server_ready")
    ends = [_moment(event) for event in place.events("measured")]
    first = place.first_request_after(_moment(ready)) - _moment(ready)
    return first, [place.first_request_after(end) - end for end in ends[:-1]]


def _death(place: Place, moment: str, *more: str) -> float:
    """Seconds from the engine's death to the end of its trial."""
    own = [word if word.startswith("workload") or "env" in word else f"runtime.env.{word}" for word in more]
    with place.start(place.words(*own)) as process:
        deadline = time.monotonic() + PATIENCE_S
        while not (place.events(moment) and place.pids.read_text()):
            if time.monotonic() > deadline:
                raise SystemExit(f"no {moment} within {PATIENCE_S:g} s")
            time.sleep(0.01)
        died_s = time.time()
        os.kill(int(place.pids.read_text().split()[0]), signal.SIGKILL)
        process.wait(PATIENCE_S)
    [end] = place.events("trial_finished")
    return _moment(end) - died_s


def _moment(event: dict[str, Any]) -> float:
    """The time of an event in seconds since the epoch."""
    return datetime.fromisoformat(str(event["time"]).replace("Z", "+00:00")).timestamp()


if __name__ == "__main__":
    raise SystemExit(main())
