"""What autotune itself costs: `python benchmarks/overhead.py [--repeats N]`.

* `--help` against an empty Hydra application's, whole processes in turn, as a ratio of medians.
* The demo: wall time, and the controller's own CPU for each trial. The CPU of the stand-in engines and
  of the load clients is theirs; it is taken off by the kernel's own accounting of ended children.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

EMPTY_APP = "import hydra\n@hydra.main(version_base=None, config_path=None)\ndef main(cfg): pass\nmain()\n"

CONTROLLER = """
import resource, sys
from autotune.cli import main
status = main(sys.argv[1:])
own = resource.getrusage(resource.RUSAGE_SELF)
children = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"CPU {own.ru_utime + own.ru_stime:.3f} {children.ru_utime + children.ru_stime:.3f}")
sys.exit(status)
"""

DEMO = ["deploy=simulated", "gpus=h100_8x", "model=llama3_1_8b", "workload=demo"]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "empty.py").write_text(EMPTY_APP)
        ours, empty = _alternating(place, repeats)
    print(f"--help            {ours:.2f} s, empty Hydra application {empty:.2f} s, ratio {ours / empty:.2f}")
    one = _demo(["runtime=vllm", "parallel=tp2"])
    four = _demo(["runtime=vllm,sglang", "parallel=tp2,tp4"])
    print(f"demo, 4 trials    {four[0]:.1f} s wall; controller {four[1]:.2f} s CPU, children {four[2]:.2f} s")
    print(f"                  {four[1] / 4:.2f} s controller CPU a trial, everything included")
    print(f"demo, 1 trial     {one[0]:.1f} s wall; controller {one[1]:.2f} s CPU")
    print(f"                  {(four[1] - one[1]) / 3:.2f} s controller CPU for each further trial")
    return 0


def _alternating(place: Path, repeats: int) -> tuple[float, float]:
    """Median wall seconds of the two commands, run in turn after a warm-up."""
    ours, empty = [], []
    for number in range(repeats + 1):
        pair = (
            _wall([sys.executable, "-m", "autotune", "--help"], place),
            _wall([sys.executable, "empty.py", "--help"], place),
        )
        if number:
            ours.append(pair[0])
            empty.append(pair[1])
    return statistics.median(ours), statistics.median(empty)


def _wall(argv: list[str], place: Path) -> float:
    began = time.perf_counter()
    subprocess.run(argv, cwd=place, env=_env(), stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def _demo(words: list[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds of the controller, CPU seconds of its children."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", CONTROLLER, "-m", *DEMO, *words],
            cwd=folder,
            env=_env(),
            capture_output=True,
            text=True,
            check=True,
        )
        wall = time.perf_counter() - began
    own, children = done.stdout.rpartition("CPU ")[2].split()
    return wall, float(own), float(children)


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


if __name__ == "__main__":
    raise SystemExit(main())
