"""The scheduler through the whole program: `python benchmarks/scheduling.py [mix|latency|speedup|cost ...]`.

Every sweep is `python -m autotune -m … deploy=replay` on eight declared GPUs, in a folder of its own, with
durations from a table; the engines alone are stand-ins. `mix` and `speedup` read what MLflow recorded.

mix      makespan over its lower bound, and over that of the policy in simulated time, for the same trials
latency  from the end of a trial to the start of the next one on its GPU, with 200 trials waiting
speedup  24 one-GPU trials of equal length, one at a time over packed
cost     controller CPU for each of 2,000 trials, without composing (`plan`) and a store; memory meanwhile
"""

from __future__ import annotations

import argparse
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from packing import ours
from packing_clock import NODES, Clock, bound

from autotune.track.journal import read

ROOT = Path(__file__).resolve().parents[1]
LAYOUTS = {"tp1": 1, "tp2": 2, "dp2": 2, "tp4": 4}
WIDE = {**LAYOUTS, "tp8": 8}
COLUMNS = (
    "parallel",
    "runtime.args.max_num_seqs",
    "workload.concurrency",
    "startup_s",
    "duration_s",
    "total_tokens_per_s",
)
MEAN_S = 1.5  # of a trial: short enough to run many, long beside what the program itself takes
NOWHERE = "http://127.0.0.1:9"  # a store that is not there: tracking costs nothing then


def main() -> int:
    """Run the chosen measurements, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", nargs="*", choices=[*MEASUREMENTS, []], default=list(MEASUREMENTS))
    for name in parser.parse_args().what:
        MEASUREMENTS[name]()
    return 0


def mix() -> None:
    """Compare a grid of mixed widths with what the policy makes of the same trials."""
    for layouts, each in ((LAYOUTS, 16), (WIDE, 13)):
        for sigma in (0.3, 0.6):
            chance = random.Random(1)  # noqa: S311  (draws, not secrets)
            rows = [
                (layout, number, MEAN_S * chance.lognormvariate(-sigma * sigma / 2, sigma))
                for layout in layouts
                for number in range(1, each + 1)
            ]
            trials = [(layouts[layout], seconds) for layout, _, seconds in rows]
            with tempfile.TemporaryDirectory() as folder:
                _sweep(Path(folder), rows, "deploy.time_scale=1")
                runs = _runs(Path(folder))
            clashes = _clashes(runs)
            took_s = max(end for _, end, _ in runs) - min(begin for begin, _, _ in runs)
            policy_s = Clock(NODES["one"], trials, lambda now: ours(now, known=True)).play().makespan
            print(
                f"mix      {len(rows)} trials, widths {','.join(map(str, layouts.values()))}, σ {sigma}: "
                f"{took_s:.1f} s, {took_s / bound(trials):.3f} of the bound, "
                f"{took_s / policy_s:.3f} of the policy in simulated time; {clashes} GPUs in two runs",
                flush=True,
            )


def latency() -> None:
    """Measure how long GPUs lie idle between two trials while 200 wait."""
    rows = [("tp1", number, 0.5 + number % 8 / 16) for number in range(1, 209)]
    with tempfile.TemporaryDirectory() as folder:
        _sweep(Path(folder), rows, "deploy.time_scale=1", f"tracking.uri={NOWHERE}")
        ended: dict[str, float] = {}
        holds: dict[int, list[str]] = {}
        gaps = []
        for event in _events(Path(folder)):
            if event["event"] == "trial_started":
                holds[event["trial"]] = event["lease"]["gpus"]
                gaps += [_seconds(event) - ended[gpu] for gpu in holds[event["trial"]] if gpu in ended]
            elif event["event"] == "trial_finished":
                ended |= dict.fromkeys(holds[event["trial"]], _seconds(event))
    gaps.sort()
    print(
        f"latency  {len(gaps)} handovers: median {1000 * median(gaps):.0f} ms, "
        f"95th percentile {1000 * gaps[int(0.95 * len(gaps))]:.0f} ms",
        flush=True,
    )


def speedup() -> None:
    """Compare 24 equal trials packed on 8 GPUs with the same one at a time."""
    rows = [("tp1", number, 2.0) for number in range(1, 25)]
    spans = []
    for more in ("launcher.exclusive=true", "launcher.exclusive=false"):
        with tempfile.TemporaryDirectory() as folder:
            _sweep(Path(folder), rows, "deploy.time_scale=1", more)
            runs = _runs(Path(folder))
            spans.append(max(end for _, end, _ in runs) - min(begin for begin, _, _ in runs))
    print(f"speedup  {spans[0]:.1f} s one at a time, {spans[1]:.1f} s packed: {spans[0] / spans[1]:.2f} ×")


def cost() -> None:
    """Take the slope of CPU from 200 to 2,000 trials: what is done once does not count."""
    cpu_s: dict[str, list[float]] = {"sweep": [], "plan": []}
    memory: list[float] = []
    for count in (200, 2000):
        rows = [("tp1", number, 0.0) for number in range(1, count + 1)]
        for name, command in (("sweep", ()), ("plan", ("plan",))):
            with tempfile.TemporaryDirectory() as folder:
                used_s, seen = _sweep(Path(folder), rows, f"tracking.uri={NOWHERE}", command=command)
                cpu_s[name].append(used_s)
                memory = memory if command else seen
    slope = {name: 1000 * (many - few) / 1800 for name, (few, many) in cpu_s.items()}
    print(
        f"cost     {slope['sweep'] - slope['plan']:.1f} ms CPU a trial beyond composing "
        f"({slope['plan']:.1f} ms); {memory[0]:.0f} MiB after the first of 2,000 trials, "
        f"{memory[-1]:.0f} MiB after the last",
        flush=True,
    )


def _sweep(
    folder: Path, rows: Sequence[tuple[str, int, float]], *more: str, command: Sequence[str] = ()
) -> tuple[float, list[float]]:
    """Run a sweep over layouts × numbers; return its CPU seconds, and its memory in MiB while trials end."""
    table = [
        "parallel,runtime.args.max_num_seqs,workload.concurrency,startup_s,duration_s,total_tokens_per_s"
    ]
    table += [f"{layout},{number},1,0.0,{seconds:.4f},{number}" for layout, number, seconds in rows]
    (folder / "table.csv").write_text("\n".join(table) + "\n")
    layouts = ",".join(dict.fromkeys(layout for layout, _, _ in rows))
    numbers = ",".join(dict.fromkeys(str(number) for _, number, _ in rows))
    words = [
        *command,
        "-m",
        "deploy=replay",
        "deploy.table=table.csv",
        "gpus=h100_8x",
        "workload=demo",
        "workload.loads=[1]",
        f"parallel={layouts}",
        f"runtime.args.max_num_seqs={numbers}",
        *(() if command else ("sweep.name=s",)),
        *more,
    ]
    path = os.pathsep.join([str(ROOT), str(ROOT / "launchers"), os.environ.get("PYTHONPATH", "")])
    log = folder / "log"
    with log.open("w") as sink:
        argv = [sys.executable, "-m", "autotune", *words]
        env = {**os.environ, "PYTHONPATH": path}
        process = subprocess.Popen(argv, cwd=folder, env=env, stdout=sink, stderr=sink)
        cpu_s, memory = _watched(process, folder / "outputs" / "s" / "journal.jsonl")
    if process.returncode:
        raise SystemExit(f"the sweep ended with status {process.returncode}\n{log.read_text()}")
    return cpu_s, memory


def _watched(process: subprocess.Popen[bytes], journal: Path) -> tuple[float, list[float]]:
    """CPU seconds of this one child at its end, and its memory in MiB from the first trial that ended."""
    memory: list[float] = []
    begun = False
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_utime + usage.ru_stime, memory
        begun = begun or (journal.exists() and b"trial_finished" in journal.read_bytes())
        pages = Path(f"/proc/{process.pid}/statm").read_text().split()
        if begun and len(pages) > 1 and pages[1] != "0":
            memory.append(int(pages[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20)
        time.sleep(0.1)


def _runs(folder: Path) -> list[tuple[float, float, set[str]]]:
    """Begin, end and GPUs of every run, as MLflow has them."""
    with sqlite3.connect(folder / "mlruns" / "mlflow.db") as store:
        rows = store.execute(
            "select start_time, end_time, value from runs join params using (run_uuid) "
            "where key = 'gpu.device_ids'"
        ).fetchall()
    store.close()
    return [(begin / 1000, end / 1000, set(devices.split(","))) for begin, end, devices in rows]


def _clashes(runs: Sequence[tuple[float, float, set[str]]]) -> int:
    """Pairs of runs that had a GPU at the same time."""
    return sum(
        bool(gpus & others) and begin < last and first < end
        for number, (begin, end, gpus) in enumerate(runs)
        for first, last, others in runs[number + 1 :]
    )


def _events(folder: Path) -> list[dict[str, Any]]:
    return list(read(folder / "outputs" / "s" / "journal.jsonl"))


def _seconds(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(str(event["time"]).replace("Z", "+00:00")).timestamp()


MEASUREMENTS: dict[str, Callable[[], None]] = {
    "mix": mix,
    "latency": latency,
    "speedup": speedup,
    "cost": cost,
}


if __name__ == "__main__":
    raise SystemExit(main())
