"""What the load clients report, against a server whose timing is known.

`python benchmarks/client_accuracy.py [--clients native] [--concurrency 1,8,64] [--repeats 3] [--check]`. Each
load is measured by a client of its own; the columns are medians over the repeats, which go round the loads,
so that a busy moment of the machine does not fall on one load alone. `--clients native,aiperf` compares with
those of others, `--clients all` with all of them that are installed.

* The truth is what the server wrote of the very requests that were measured: it knows them by the checksum
  of what they say. It stamps its writes, the client its reads: the ratio includes the kernel's way from one
  to the other and the time that either waited for a core. They share the machine, as they do in a trial.
* Ideal output is concurrency × tokens / (ttft + (tokens - 1) × itl), with the ttft and itl asked for; with
  `--spread`, tokens are the mean of the measured requests, and about a percent is the draw's.
* `CPU s` is that of all processes of the client from their start to their end, imports, warm-up and reading
  the answers included; `core` the share of a core in the measuring window. `first s` is from `measure()` to
  the receipt of the first request, `around s` the time of the whole call that was not the measuring window.
* `bound` says whether the client called itself the bottleneck; its reasons stand below the table.
* With `--fail-every` and `--truncate-every` every Nth request is answered with 500, or cut in its middle: as
  many must be counted of each kind as the server counts among the same requests.

`--rate 40 --seconds 60` offers an open loop instead, and tests when requests were sent against the schedule:
the rate, and the Kolmogorov-Smirnov distance of the gaps from their distribution.

`--check` exits with 1 unless, at every concurrency up to 64, mean TTFT is within 5 % of the truth and output
between 97 and 101 % of ideal; nothing can be faster than the server, so more would be a miscount. Where the
machine is idle at the start the bounds are narrower and hold for more: see `accuracy_bars.BARS`.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from accuracy_bars import BARS, BUSY, IDLE, Row, idle_share, median, print_rows, problems_of
from accuracy_truth import get, truth_of
from arrival_test import report_arrivals

from autotune.benchmark import BENCHMARKS, create_benchmark
from autotune.benchmark.environments import problems_of as missing
from autotune.benchmark.protocol import MeasureRequest
from autotune.processes import ProcessGroup
from autotune.records import Endpoint, Load, Measurement, Mode, Traffic
from autotune.schema import BenchmarkConfig

SERVER = Path(__file__).with_name("known_timing_server.py")
INPUT_TOKENS = 128


def main() -> int:
    """Print the table; with `--check`, judge it."""
    options = _options()
    idle = idle_share()
    loads = [int(value) for value in options.concurrency.split(",")]
    rows: dict[tuple[str, int], list[Row]] = {}
    reasons: dict[str, None] = {}
    with tempfile.TemporaryDirectory() as folder, _server(Path(folder), options) as url:
        if options.rate:
            return report_arrivals(_request(url, options, Path(folder), _open_loop(options)))
        for repeat in range(1, options.repeats + 1):
            for load in loads:
                for name in _clients(options.clients):
                    row, measured = _measure(name, url, load, repeat, options, Path(folder))
                    rows.setdefault((name, load), []).append(row)
                    reasons |= dict.fromkeys(f"{name}, {load}: {why}" for why in measured.client_bound)
    medians = {key: median(repeats) for key, repeats in rows.items()}
    print_rows(medians)
    print(*reasons, sep="\n")
    if not options.check:
        return 0
    bars = BARS if idle >= IDLE else BUSY
    print(f"judged as a machine that was {idle:.0%} idle")
    wrong = [
        problem for (name, load), row in medians.items() for problem in problems_of(name, load, row, bars)
    ]
    print(*wrong, sep="\n")
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--clients", default="native", help=f"of {', '.join(BENCHMARKS)}; all: those that are here"
    )
    parser.add_argument("--concurrency", default="1,8,64")
    parser.add_argument("--endpoint", choices=["completions", "chat"], default="completions")
    parser.add_argument("--ttft-ms", type=float, default=100)
    parser.add_argument("--itl-ms", type=float, default=10)
    parser.add_argument("--tokens-per-chunk", type=int, default=1)
    parser.add_argument("--fail-every", type=int, default=0)
    parser.add_argument("--truncate-every", type=int, default=0)
    parser.add_argument("--spread", type=float, default=0, help="of the output tokens; 0: all end together")
    parser.add_argument("--output-tokens", type=int, default=64)
    parser.add_argument("--requests-per-load", type=int, default=6)
    parser.add_argument("--warmup-max-s", type=float, default=0)
    parser.add_argument("--processes", type=int, default=None, help="of the native client")
    parser.add_argument("--rate", type=float, default=0, help="requests/s of an open loop")
    parser.add_argument("--arrival", choices=["poisson", "constant", "gamma"], default="poisson")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--check", action="store_true")
    return parser.parse_args()


def _clients(asked: str) -> list[str]:
    """The clients that were asked for; of all, those that are installed here."""
    if asked != "all":
        return asked.split(",")
    return [name for name in BENCHMARKS if not missing(BenchmarkConfig(kind=name))]


@contextmanager
def _server(folder: Path, options: argparse.Namespace) -> Iterator[str]:
    argv = [sys.executable, str(SERVER), "--ttft-ms", str(options.ttft_ms), "--itl-ms", str(options.itl_ms)]
    argv += ["--tokens-per-chunk", str(options.tokens_per_chunk), "--fail-every", str(options.fail_every)]
    argv += ["--truncate-every", str(options.truncate_every)]
    process = ProcessGroup(argv, env=os.environ, log=folder / "server.log", piped=True)
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline().split()[1])}"
    finally:
        process.terminate(1.0)


def _traffic(options: argparse.Namespace) -> Traffic:
    return Traffic(
        endpoint=options.endpoint,
        input_tokens=INPUT_TOKENS,
        output_tokens=options.output_tokens,
        input_spread=0,
        output_spread=options.spread,
        requests_per_load=options.requests_per_load,
        min_requests=1,
        warmup_requests=2,
        ignore_eos=True,
        seed=0,
        arrival=options.arrival,
        warmup_max_s=options.warmup_max_s,
    )


def _open_loop(options: argparse.Namespace) -> Load:
    return Load(mode=Mode.RATE, value=options.rate)


def _request(
    url: str, options: argparse.Namespace, folder: Path, load: Load, repeat: int = 1
) -> MeasureRequest:
    traffic = _traffic(options)
    if load.mode is Mode.RATE:
        traffic = replace(traffic, seconds_per_load=options.seconds)
    return MeasureRequest(
        endpoint=Endpoint(url=url, model="known"),
        traffic=traffic,
        load=load,
        repeat=repeat,
        out_dir=folder,
        on_progress=lambda _: None,
        timeout_s=60,
    )


def _measure(
    name: str, url: str, concurrency: int, repeat: int, options: argparse.Namespace, folder: Path
) -> tuple[Row, Measurement]:
    load = Load(mode=Mode.CONCURRENCY, value=concurrency)
    request = _request(url, options, folder, load, repeat)
    get(f"{url}/reset")
    cpu_s, began_s = _children_cpu_s(), time.perf_counter()
    processes = options.processes if name == "native" else None
    measured = create_benchmark(BenchmarkConfig(kind=name, processes=processes)).measure(request)
    wall_s, cpu_s = time.perf_counter() - began_s, _children_cpu_s() - cpu_s
    metrics, truth = measured.metrics, truth_of(url, request)
    tokens = truth["tokens"]
    chunks = math.ceil(tokens / options.tokens_per_chunk)
    ideal = concurrency * tokens / (options.ttft_ms + (chunks - 1) * options.itl_ms) * 1000
    return Row(
        ttft_ms=metrics["ttft_ms_mean"],
        truth_ms=truth["ttft_ms_mean"],
        ttft_ratio=metrics["ttft_ms_mean"] / truth["ttft_ms_mean"],
        p99_ms=metrics["ttft_ms_p99"],
        p99_truth_ms=truth["ttft_ms_p99"],
        itl_ratio=metrics.get("itl_ms_mean", math.nan) / truth["itl_ms_mean"]
        if truth["itl_ms_mean"]
        else math.nan,
        output_share=metrics["output_tokens_per_s"] / ideal,
        cpu_s=cpu_s,
        core=metrics.get("client_cpu_fraction", math.nan),
        window_s=measured.duration_s,
        around_s=wall_s - measured.duration_s,
        first_s=truth["first_s"] - began_s,
        bound=float(bool(measured.client_bound)),
        miscounted=float(dict(measured.errors) != truth["errors"]),
    ), measured


def _children_cpu_s() -> float:
    """CPU seconds of the child processes that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    raise SystemExit(main())
