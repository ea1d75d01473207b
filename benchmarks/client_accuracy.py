"""What the load clients report, against a server whose timing is known.

`python benchmarks/client_accuracy.py [--concurrency 1,8,64] [--repeats 3] [--check]`. Each load is measured
by a client of its own; the columns are medians over the repeats, which go round the loads, so that a busy
moment of the machine does not fall on one load alone.

* The truth is what the server wrote of the very requests that were measured: it knows them by the checksum of
  their bodies. It stamps its writes, the client its reads: the ratio includes the kernel's way from one to the
  other and the time that either waited for a core. They share the machine, as they do in a trial.
* Ideal output is concurrency × tokens / (ttft + (tokens - 1) × itl), with the ttft and itl asked for; with
  `--spread`, tokens are the mean of the measured requests, and about a percent is the draw's.
* `CPU s` is that of all processes of the client from their start to their end, imports and reading the answers
  included. `first s` is from `measure()` to the receipt of the first request, `around s` the time of the whole
  call that was not the measuring window: start, warm-up, reading the answers.
* `bound` says whether the client called itself the bottleneck; its reasons stand below the table.
* With `--fail-every` and `--truncate-every` every Nth request is answered with 500, or cut in its middle: as
  many must be counted of each kind as the server counts among the same requests.

`--rate 40 --seconds 60` offers an open loop instead, and tests when requests were received against the
schedule: the rate, and the Kolmogorov-Smirnov distance of the gaps from their distribution.

`--check` exits with 1 unless, at every concurrency up to 64, mean TTFT is within 5 % of the truth and output
between 97 and 101 % of ideal; nothing can be faster than the server, so more would be a miscount. Where the
machine is idle at the start the bounds are narrower and hold for more: see `BARS`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import sys
import tempfile
import time
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from arrival_test import report_arrivals

from autotune.benchmark.body import body_of
from autotune.benchmark.native import NativeClient
from autotune.benchmark.protocol import MeasureRequest
from autotune.benchmark.traffic import conversations, first, measured_count
from autotune.processes import ProcessGroup
from autotune.records import Endpoint, Load, Measurement, Mode, Traffic

SERVER = Path(__file__).with_name("known_timing_server.py")
CLIENTS = {"native": NativeClient}
INPUT_TOKENS = 128
OUTPUT_AT_MOST = 1.01  # the server may write half a millisecond early
IDLE = 0.9  # of all cores, before it begins
CHECKED_REQUESTS = 1536  # the CPU's bar is for no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What is asked of the loads up to `concurrency`; ratios to the truth, shares of ideal."""

    concurrency: int
    ttft_within: float | None = None
    itl_within: float | None = None
    p99_within_ms: float | None = None
    output_at_least: float
    cpu_s: float | None = None
    first_s: float | None = None


BUSY = (Bar(concurrency=64, ttft_within=0.05, output_at_least=0.97),)
BARS = (
    Bar(concurrency=64, ttft_within=0.03, itl_within=0.01, output_at_least=0.98, first_s=0.5),
    Bar(concurrency=256, ttft_within=0.06, p99_within_ms=50, output_at_least=0.97, cpu_s=1.5, first_s=0.5),
    Bar(concurrency=1024, output_at_least=0.85),
)
"""On two idle cores, shared with a server of 100 ms TTFT and 10 ms ITL: 128 tokens in, 64 out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One load; times in the units of the names, shares of 1."""

    ttft_ms: float
    truth_ms: float
    ttft_ratio: float
    p99_ms: float
    p99_truth_ms: float
    itl_ratio: float
    output_share: float
    cpu_s: float
    window_s: float
    around_s: float
    first_s: float
    bound: float
    miscounted: float


def main() -> int:
    """Print the table; with `--check`, judge it."""
    options = _options()
    idle = _idle_share()
    loads = [int(value) for value in options.concurrency.split(",")]
    rows: dict[tuple[str, int], list[Row]] = {}
    reasons: dict[str, None] = {}
    with tempfile.TemporaryDirectory() as folder, _server(Path(folder), options) as url:
        if options.rate:
            return report_arrivals(_request(url, options, Path(folder), _open_loop(options)))
        for repeat in range(1, options.repeats + 1):
            for load in loads:
                for name in options.clients.split(","):
                    row, measured = _measure(name, url, load, repeat, options, Path(folder))
                    rows.setdefault((name, load), []).append(row)
                    reasons |= dict.fromkeys(f"{name}, {load}: {why}" for why in measured.client_bound)
    medians = {key: _median(repeats) for key, repeats in rows.items()}
    _print(medians)
    print(*reasons, sep="\n")
    if not options.check:
        return 0
    bars = BARS if idle >= IDLE else BUSY
    print(f"judged as a machine that was {idle:.0%} idle")
    wrong = [problem for (name, load), row in medians.items() for problem in _problems(name, load, row, bars)]
    print(*wrong, sep="\n")
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", default="native", help=f"of {', '.join(CLIENTS)}")
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
    measured = CLIENTS[name](processes=options.processes).measure(request)
    wall_s, cpu_s = time.perf_counter() - began_s, _children_cpu_s() - cpu_s
    metrics, truth = measured.metrics, _truth(url, request)
    tokens = truth["tokens"]
    chunks = math.ceil(tokens / options.tokens_per_chunk)
    ideal = concurrency * tokens / (options.ttft_ms + (chunks - 1) * options.itl_ms) * 1000
    return Row(
        ttft_ms=metrics["ttft_ms_mean"],
        truth_ms=truth["ttft_ms_mean"],
        ttft_ratio=metrics["ttft_ms_mean"] / truth["ttft_ms_mean"],
        p99_ms=metrics["ttft_ms_p99"],
        p99_truth_ms=truth["ttft_ms_p99"],
        itl_ratio=metrics["itl_ms_mean"] / truth["itl_ms_mean"] if truth["itl_ms_mean"] else math.nan,
        output_share=metrics["output_tokens_per_s"] / ideal,
        cpu_s=cpu_s,
        window_s=measured.duration_s,
        around_s=wall_s - measured.duration_s,
        first_s=truth["first_s"] - began_s,
        bound=float(bool(measured.client_bound)),
        miscounted=float(dict(measured.errors) != truth["errors"]),
    ), measured


def _truth(url: str, request: MeasureRequest) -> dict[str, Any]:
    """Return what the server knows about the requests that were measured."""
    traffic, load = request.traffic, request.load
    drawn = conversations(traffic, load, repeat=request.repeat, phase="measure")
    plans = [plan for turns in first(measured_count(traffic, load), drawn) for plan in turns]
    wanted = {str(zlib.crc32(body_of(plan, traffic, request.endpoint.model))) for plan in plans}
    told = get(f"{url}/requests")
    ended = [times for checksum, times in told["ended"].items() if checksum in wanted]
    firsts_ms = sorted(first_ms for first_ms, _, _ in ended)
    gaps = sum(chunks - 1 for _, _, chunks in ended)
    kinds = {"http_500": told["refused"], "truncated": told["cut"]}
    counts = {kind: sum(str(checksum) in wanted for checksum in found) for kind, found in kinds.items()}
    return {
        "ttft_ms_mean": statistics.fmean(firsts_ms),
        "ttft_ms_p99": firsts_ms[math.ceil(0.99 * len(firsts_ms)) - 1],
        "itl_ms_mean": sum(last_ms - first_ms for first_ms, last_ms, _ in ended) / gaps if gaps else 0.0,
        "tokens": statistics.fmean(plan.output_tokens for plan in plans),
        "errors": {kind: count for kind, count in counts.items() if count},
        "first_s": told["first_s"],
    }


def get(url: str) -> dict[str, Any]:
    """Return what the server says."""
    with urllib.request.urlopen(url, timeout=60) as reply:  # noqa: S310  (our own server)
        content: dict[str, Any] = json.load(reply)
    return content


def _children_cpu_s() -> float:
    """CPU seconds of the child processes that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _idle_share() -> float:
    """Return which share of the machine is idle, over a second."""
    before = _ticks()
    time.sleep(1.0)
    passed = [after - earlier for after, earlier in zip(_ticks(), before, strict=True)]
    return (passed[3] + passed[4]) / sum(passed)


def _ticks() -> list[int]:
    return [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]


def _median(rows: list[Row]) -> Row:
    names = [field.name for field in fields(Row)]
    return Row(**{name: statistics.median(getattr(row, name) for row in rows) for name in names})


def _print(rows: dict[tuple[str, int], Row]) -> None:
    print(
        "client  concurrency  TTFT ms   truth  ratio     p99   truth  ITL ratio  of ideal  CPU s  window s"
        "  around s  first s  bound  miscounted"
    )
    for (name, load), row in rows.items():
        print(
            f"{name:7}{load:12}{row.ttft_ms:9.1f}{row.truth_ms:8.1f}{row.ttft_ratio:7.3f}{row.p99_ms:8.1f}"
            f"{row.p99_truth_ms:8.1f}{row.itl_ratio:11.3f}{row.output_share:10.1%}{row.cpu_s:7.2f}"
            f"{row.window_s:10.1f}{row.around_s:10.1f}{row.first_s:9.2f}{row.bound:7g}{row.miscounted:12g}"
        )


def _problems(name: str, load: int, row: Row, bars: tuple[Bar, ...]) -> list[str]:
    """Return what a row falls short of; nothing for loads without a bar."""
    bar = next((bar for bar in bars if load <= bar.concurrency), None)
    if bar is None:
        return []
    judged = [
        ("TTFT over the truth - 1", abs(row.ttft_ratio - 1), bar.ttft_within),
        ("ITL over the truth - 1", abs(row.itl_ratio - 1), bar.itl_within),
        ("p99 TTFT - the truth, ms", abs(row.p99_ms - row.p99_truth_ms), bar.p99_within_ms),
        ("CPU s", row.cpu_s, bar.cpu_s),
        ("s to the first request", row.first_s, bar.first_s),
        ("output over ideal", row.output_share, OUTPUT_AT_MOST),
        ("runs with errors that the server does not know, or without", row.miscounted, 0.0),
    ]
    problems = [
        f"{name}, concurrency {load}: {what} is {value:.3f}, {most:g} is allowed"
        for what, value, most in judged
        if most is not None and value > most
    ]
    if row.output_share < bar.output_at_least:
        least = bar.output_at_least
        problems.append(
            f"{name}, concurrency {load}: output is {row.output_share:.1%} of ideal, not {least:.0%}"
        )
    return problems


if __name__ == "__main__":
    raise SystemExit(main())
