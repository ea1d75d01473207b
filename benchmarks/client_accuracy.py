"""What the native load client reports, against a server whose timing is known.

`python benchmarks/client_accuracy.py [--concurrency 1,8,64] [--repeats 3] [--check]`. Each load is measured
by a client process of its own; the columns are medians over the repeats, which go round the loads, so that a
busy moment of the machine does not fall on one load alone.

* The truth is over the measured requests: the server is reset before each load, and its first requests by
  order of receipt (the warm-up) and those after the measured ones (the filler) are left out. At the two
  borders a request can change sides with a neighbour received in the same microseconds.
* The server stamps its writes, the client its reads: the ratio includes the kernel's way from one to the
  other and the time that either waited for a core. They share the machine, as they do in a trial.
* Ideal output is concurrency × tokens / (ttft + (tokens - 1) × itl), with the ttft and itl asked for; with
  `--spread`, tokens are the mean of the measured requests, and about a percent is the draw's.
* Client CPU is that of the measuring window; `around` is the wall time of the whole call that was not the
  window: start of the process, warm-up, and reading the answers afterwards.

`--check` exits with 1 unless, at every concurrency up to 64, mean TTFT is within 5 % of the truth and output
between 97 and 101 % of ideal; nothing can be faster than the server, so more would be a miscount.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from autotune.benchmark.native import NativeClient
from autotune.benchmark.protocol import MeasureRequest
from autotune.benchmark.traffic import conversations, first, measured_count, warmup_count
from autotune.processes import ProcessGroup
from autotune.records import Endpoint, Load, Mode, Traffic

SERVER = Path(__file__).with_name("known_timing_server.py")
INPUT_TOKENS = 128
CHECKED_TO = 64
TTFT_WITHIN = 0.05
OUTPUT_AT_LEAST = 0.97
OUTPUT_AT_MOST = 1.01  # the server may write half a millisecond early


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One load; times in the units of the names, shares of 1."""

    ttft_ms: float
    truth_ms: float
    ttft_ratio: float
    itl_ratio: float
    output_share: float
    client_cpu_s: float
    window_s: float
    around_s: float


def main() -> int:
    """Print the table; with `--check`, judge it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--concurrency", default="1,8,64")
    parser.add_argument("--ttft-ms", type=float, default=100)
    parser.add_argument("--itl-ms", type=float, default=10)
    parser.add_argument("--spread", type=float, default=0, help="of the output tokens; 0: all end together")
    parser.add_argument("--output-tokens", type=int, default=64)
    parser.add_argument("--requests-per-load", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    loads = [int(value) for value in options.concurrency.split(",")]
    rows: dict[int, list[Row]] = {load: [] for load in loads}
    with tempfile.TemporaryDirectory() as folder, _server(Path(folder), options) as url:
        for repeat in range(1, options.repeats + 1):
            for load in loads:
                rows[load].append(_measure(url, load, repeat, options, Path(folder)))
    medians = {load: _median(repeats) for load, repeats in rows.items()}
    _print(medians)
    wrong = [
        problem for load, row in medians.items() if load <= CHECKED_TO for problem in _problems(load, row)
    ]
    if options.check:
        print(*wrong, sep="\n")
    return 1 if options.check and wrong else 0


@contextmanager
def _server(folder: Path, options: argparse.Namespace) -> Iterator[str]:
    argv = [sys.executable, str(SERVER), "--ttft-ms", str(options.ttft_ms), "--itl-ms", str(options.itl_ms)]
    process = ProcessGroup(argv, env=os.environ, log=folder / "server.log", piped=True)
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline().split()[1])}"
    finally:
        process.terminate(1.0)


def _measure(url: str, concurrency: int, repeat: int, options: argparse.Namespace, folder: Path) -> Row:
    traffic = Traffic(
        endpoint="completions",
        input_tokens=INPUT_TOKENS,
        output_tokens=options.output_tokens,
        input_spread=0,
        output_spread=options.spread,
        requests_per_load=options.requests_per_load,
        min_requests=1,
        warmup_requests=2,
        ignore_eos=True,
        seed=0,
    )
    load = Load(mode=Mode.CONCURRENCY, value=concurrency)
    request = MeasureRequest(
        endpoint=Endpoint(url=url, model="known"),
        traffic=traffic,
        load=load,
        repeat=repeat,
        out_dir=folder,
        on_progress=lambda _: None,
        timeout_s=60,
    )
    _get(f"{url}/reset")
    began_s = time.perf_counter()
    measured = NativeClient().measure(request)
    wall_s = time.perf_counter() - began_s
    truth = _get(f"{url}/truth?skip={warmup_count(traffic, load)}&take={measured_count(traffic, load)}")
    metrics = measured.metrics
    drawn = conversations(traffic, load, repeat=repeat, phase="measure")
    plans = [plan for turns in first(measured_count(traffic, load), drawn) for plan in turns]
    tokens = statistics.fmean(plan.output_tokens for plan in plans)
    ideal = concurrency * tokens / (options.ttft_ms + (tokens - 1) * options.itl_ms) * 1000
    return Row(
        ttft_ms=metrics["ttft_ms_mean"],
        truth_ms=truth["ttft_ms_mean"],
        ttft_ratio=metrics["ttft_ms_mean"] / truth["ttft_ms_mean"],
        itl_ratio=metrics["itl_ms_mean"] / truth["itl_ms_mean"] if options.output_tokens > 1 else math.nan,
        output_share=metrics["output_tokens_per_s"] / ideal,
        client_cpu_s=metrics["client_cpu_fraction"] * measured.duration_s,
        window_s=measured.duration_s,
        around_s=wall_s - measured.duration_s,
    )


def _get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=60) as reply:  # noqa: S310  (our own server)
        content: dict[str, Any] = json.load(reply)
    return content


def _median(rows: list[Row]) -> Row:
    names = [field.name for field in fields(Row)]
    return Row(**{name: statistics.median(getattr(row, name) for row in rows) for name in names})


def _print(rows: dict[int, Row]) -> None:
    print("concurrency  TTFT ms   truth   ratio  ITL ratio  of ideal  client CPU s  window s  around s")
    for load, row in rows.items():
        print(
            f"{load:11}{row.ttft_ms:9.1f}{row.truth_ms:8.1f}{row.ttft_ratio:8.3f}{row.itl_ratio:11.3f}"
            f"{row.output_share:9.1%}{row.client_cpu_s:14.2f}{row.window_s:10.1f}{row.around_s:10.1f}"
        )


def _problems(load: int, row: Row) -> list[str]:
    problems = []
    if abs(row.ttft_ratio - 1) > TTFT_WITHIN:
        problems.append(f"concurrency {load}: TTFT is {row.ttft_ratio:.3f} of the truth, 5 % off is allowed")
    if not OUTPUT_AT_LEAST <= row.output_share <= OUTPUT_AT_MOST:
        problems.append(f"concurrency {load}: output is {row.output_share:.1%} of ideal, 97-101 % is wanted")
    return problems


if __name__ == "__main__":
    raise SystemExit(main())
