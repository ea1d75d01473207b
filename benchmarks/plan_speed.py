"""What previewing a large space costs: whole processes, beside Hydra composing candidates one by one.

    python benchmarks/plan_speed.py [--sizes 1000,10000,100000]

Four groups and two numeric lists, with duplicates (`single-gpu` and `tp1` are one engine) and rejections (an
FP8 preset that TensorRT-LLM cannot do, experts on a dense model). The baseline composes a sample of the same
candidates with Hydra, as its own sweeper does, and is scaled to the size.
Verdicts are valid/rejected/duplicate.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from autotune import compose

GROUPS = [
    "runtime=vllm,sglang,tensorrt_llm",
    "parallel=single-gpu,tp1,tp2,tp4,tp8,high-throughput,balanced",
    "quant=default,kv-cache-fp8,dynamic-fp8,bf16-stable,aggressive-moe",
    "serving=default,throughput",
]
POINTS = 3 * 7 * 5 * 2
BASELINE = 20  # candidates that Hydra composes


def main() -> int:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="1000,10000")
    sizes = [int(size) for size in parser.parse_args().sizes.split(",")]
    each_s = _hydra_s()
    print(f"Hydra composes one candidate in {each_s * 1000:.0f} ms")
    print(f"{'candidates':>10}  {'wall s':>6}  {'CPU s':>6}  {'MiB':>5}  {'of Hydra':>8}  verdicts")
    for size in sizes:
        print(_row(size, each_s))
    return 0


def _words(size: int) -> list[str]:
    """About `size` candidates: the values of two lists fill up what the groups leave."""
    side = max(1, round((size / POINTS) ** 0.5))
    running = ",".join(str(64 + number) for number in range(side))
    batched = ",".join(str(16384 + 64 * number) for number in range(side))
    return [*GROUPS, f"serving.max_running_requests={running}", f"serving.max_batched_tokens={batched}"]


def _row(size: int, hydra_s: float) -> str:
    words = ["-m", *_words(size), "gpus=h100_8x", "--json"]
    with tempfile.TemporaryFile("w+") as out:
        began = time.perf_counter()
        child = subprocess.Popen([sys.executable, "-m", "autotune", "plan", *words], stdout=out)
        _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"plan ended with {child.returncode}")
        out.seek(0)
        counts = json.load(out)["counts"]
    number = sum(counts.values())
    cpu_s = usage.ru_utime + usage.ru_stime
    ratio = wall_s / (number * hydra_s)
    verdicts = "/".join(f"{count}" for count in counts.values())
    memory_mib = usage.ru_maxrss / 1024
    return f"{number:>10}  {wall_s:>6.1f}  {cpu_s:>6.1f}  {memory_mib:>5.0f}  {ratio:>8.4f}  {verdicts}"


def _hydra_s() -> float:
    """Seconds for one candidate, composed whole."""
    with compose.hydra_on(None) as app:
        point = ["gpus=h100_8x", "parallel=tp2", "serving.max_running_requests=8"]
        compose.compose(app, point)
        began = time.perf_counter()
        for _ in range(BASELINE):
            compose.candidate_from(compose.compose(app, point))
        return (time.perf_counter() - began) / BASELINE


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    sys.exit(main())
