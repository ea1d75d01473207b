"""Interrupts sweeps on simulated engines at random moments and resumes them: `soak.py COUNT [SEED]`.

COUNT times with Ctrl-C and COUNT times with kill -9, by turns. After a Ctrl-C nothing of the sweep may be
left; after the resume every candidate is measured exactly once, in the journal and in MLflow, and nothing is
left in any case.
"""

from __future__ import annotations

import collections
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from autotune.track.journal import read

WORDS = [
    "-m", "runtime=vllm,sglang", "parallel=tp2,tp4", "deploy=simulated", "gpus=h100_8x", "workload=demo",
    "measure.repeats=1", "sweep.name=soak",
]  # fmt: skip
SENT = (signal.SIGINT, signal.SIGKILL)


def main(count: int, seed: int) -> int:
    """Return how many rounds went wrong."""
    chance = random.Random(seed)  # noqa: S311  (moments, not secrets)
    wrong = 0
    rounds = len(SENT) * count
    for number in range(rounds):
        moment_s = chance.uniform(0.5, 10.0)
        sent = SENT[number % len(SENT)]
        with tempfile.TemporaryDirectory() as folder:
            problems = interrupted(Path(folder), moment_s, sent)
            last = _last_event(Path(folder))
        wrong += bool(problems)
        told = "; ".join(problems) or "ok"
        print(f"round {number}: {sent.name} after {moment_s:.1f} s, {last}: {told}", flush=True)
    print(f"{rounds - wrong} of {rounds} rounds went well (seed {seed})")
    return wrong


def interrupted(folder: Path, moment_s: float, sent: signal.Signals) -> list[str]:
    """Return what is wrong after one interruption and its resume."""
    (folder / "tmp").mkdir()
    process = _start(folder, WORDS)
    time.sleep(moment_s)
    process.send_signal(sent)
    status = process.wait(timeout=60)
    problems = [] if status in {0, 130, -sent} else [f"exit status {status}"]
    if sent is not signal.SIGKILL:
        problems += [f"left: {line}" for line in _left(folder)]
    (folder / "events").write_text(str(len(_events(folder))))
    status = _start(folder, [*WORDS, "sweep.resume=true"]).wait(timeout=120)
    problems += [] if status == 0 else [f"resume: exit status {status}"]
    problems += [f"left after the resume: {line}" for line in _left(folder)]
    return problems + _counted(folder) + _stored(folder)


def _events(folder: Path) -> list[dict[str, object]]:
    path = folder / "outputs" / "soak" / "journal.jsonl"
    return list(read(path)) if path.exists() else []


def _last_event(folder: Path) -> str:
    """The last thing on record once the process had ended."""
    before = int((folder / "events").read_text())
    return f"after {_events(folder)[before - 1]['event']}" if before else "before anything was on record"


def _counted(folder: Path) -> list[str]:
    events = _events(folder)
    labels = {event["trial"]: event["label"] for event in events if event["event"] == "trial_queued"}
    measured = collections.Counter(
        labels[event["trial"]]
        for event in events
        if event["event"] == "trial_finished" and event["status"] == "measured"
    )
    return [] if sorted(measured.values()) == [1, 1, 1, 1] else [f"measured {dict(measured)}"]


def _stored(folder: Path) -> list[str]:
    """What is wrong in MLflow: a run for each trial that was started, four of them measured, one the best."""
    started = sum(event["event"] == "trial_started" for event in _events(folder))
    with sqlite3.connect(folder / "mlruns" / "mlflow.db") as store:
        rows = store.execute("select key, value from tags where key like 'autotune.%'").fetchall()
        ends = collections.Counter(row[0] for row in store.execute("select status from runs"))
    store.close()
    tags = collections.Counter(rows)
    statuses = {value: number for (key, value), number in tags.items() if key == "autotune.status"}
    problems = [] if set(statuses) <= {"measured", "interrupted"} else [f"MLflow: {statuses}"]
    problems += [] if statuses.get("measured") == 4 else [f"MLflow: {statuses}"]
    problems += [] if sum(statuses.values()) == started else [f"MLflow: {started} started, {statuses}"]
    problems += [] if set(ends) <= {"FINISHED", "KILLED"} else [f"MLflow: {dict(ends)}"]
    return problems + ([] if tags["autotune.best", "true"] == 1 else ["MLflow: not one winner"])


def _start(folder: Path, words: list[str]) -> subprocess.Popen[bytes]:
    root = Path(__file__).resolve().parents[1]
    mine = {
        "PYTHONPATH": f"{root}:{root / 'launchers'}",
        "AUTOTUNE_SOAK": str(folder),
        "TMPDIR": str(folder / "tmp"),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "autotune", *words],
        cwd=folder,
        env={**os.environ, **mine},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _left(folder: Path) -> list[str]:
    """Processes that inherited the mark of this round, and their temporary files."""
    mark = f"AUTOTUNE_SOAK={folder}".encode()
    mine = [entry for entry in Path("/proc").glob("[0-9]*") if mark in _read(entry / "environ").split(b"\0")]
    found = [_read(entry / "cmdline").replace(b"\0", b" ").decode(errors="replace") for entry in mine]
    return [*(line for line in found if line), *map(str, (folder / "tmp").iterdir())]


def _read(path: Path) -> bytes:
    """The content; nothing of a process that has just ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


if __name__ == "__main__":
    raise SystemExit(min(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0), 1))
