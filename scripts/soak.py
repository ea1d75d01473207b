"""Interrupts sweeps on simulated engines at random moments and resumes them: `soak.py COUNT [SEED]`.

After every interruption no process of the sweep may be left; after the resume every candidate is
measured exactly once.
"""

from __future__ import annotations

import collections
import os
import random
import signal
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


def main(count: int, seed: int) -> int:
    """Return how many rounds went wrong."""
    chance = random.Random(seed)  # noqa: S311  (moments, not secrets)
    wrong = 0
    for number in range(count):
        moment_s = chance.uniform(0.5, 6.0)
        with tempfile.TemporaryDirectory() as folder:
            problems = interrupted(Path(folder), moment_s)
        wrong += bool(problems)
        print(
            f"round {number}: interrupted after {moment_s:.1f} s: {'; '.join(problems) or 'ok'}", flush=True
        )
    return wrong


def interrupted(folder: Path, moment_s: float) -> list[str]:
    """Return what is wrong after one interruption and its resume."""
    process = _start(folder, WORDS)
    time.sleep(moment_s)
    process.send_signal(signal.SIGINT)
    status = process.wait(timeout=60)
    problems = [] if status in {0, 130, -signal.SIGINT} else [f"exit status {status}"]
    problems += [f"left running: {line}" for line in _left(folder)]
    status = _start(folder, [*WORDS, "sweep.resume=true"]).wait(timeout=120)
    problems += [] if status == 0 else [f"resume: exit status {status}"]
    problems += [f"left running after the resume: {line}" for line in _left(folder)]
    return problems + _counted(folder)


def _counted(folder: Path) -> list[str]:
    events = list(read(folder / "outputs" / "soak" / "journal.jsonl"))
    labels = {event["trial"]: event["label"] for event in events if event["event"] == "trial_queued"}
    measured = collections.Counter(
        labels[event["trial"]]
        for event in events
        if event["event"] == "trial_finished" and event["status"] == "measured"
    )
    return [] if sorted(measured.values()) == [1, 1, 1, 1] else [f"measured {dict(measured)}"]


def _start(folder: Path, words: list[str]) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).resolve().parents[1])
    return subprocess.Popen(
        [sys.executable, "-m", "autotune", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root, "AUTOTUNE_SOAK": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _left(folder: Path) -> list[str]:
    """Processes that inherited the mark of this round."""
    mark = f"AUTOTUNE_SOAK={folder}".encode()
    mine = [entry for entry in Path("/proc").glob("[0-9]*") if mark in _read(entry / "environ").split(b"\0")]
    found = [_read(entry / "cmdline").replace(b"\0", b" ").decode(errors="replace") for entry in mine]
    return [line for line in found if line]


def _read(path: Path) -> bytes:
    """The content; nothing of a process that has just ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


if __name__ == "__main__":
    raise SystemExit(min(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0), 1))
