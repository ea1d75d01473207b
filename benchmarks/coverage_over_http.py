"""Short measurements of a server of known random timing with the real client; for `interval_coverage.py`."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from autotune.benchmark.native import NativeClient
from autotune.benchmark.protocol import MeasureRequest
from autotune.processes import ProcessGroup
from autotune.records import Endpoint, Load, Measurement, Mode, Traffic
from autotune.score.batches import Batches, cut, read_records

SERVER = Path(__file__).with_name("known_timing_server.py")


def measured_over_http(runs: int) -> Iterator[tuple[Measurement, Batches]]:
    """Yield short measurements of one server that draws every TTFT."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _measured(Path(folder), runs)


def _measured(folder: Path, runs: int) -> Iterator[tuple[Measurement, Batches]]:
    arguments = ("--ttft-ms", "30", "--itl-ms", "3", "--jitter", "0.3")
    server = ProcessGroup(
        [sys.executable, str(SERVER), *arguments], env=os.environ, log=folder / "server.log", piped=True
    )
    try:
        url = f"http://127.0.0.1:{int(server.stdout.readline().split()[1])}"
        for number in range(runs):
            measurement = NativeClient().measure(_asked(url, folder, number))
            if measurement.raw is None or (records := read_records(measurement.raw)) is None:
                raise SystemExit("the client kept no requests")
            yield measurement, cut(records, measurement.load.value)
    finally:
        server.terminate(1.0)


def _asked(url: str, folder: Path, number: int) -> MeasureRequest:
    traffic = Traffic(
        endpoint="completions",
        input_tokens=32,
        output_tokens=8,
        input_spread=0.0,
        output_spread=0.3,
        requests_per_load=8,
        min_requests=16,
        warmup_requests=2,
        ignore_eos=True,
        seed=1,
    )
    return MeasureRequest(
        endpoint=Endpoint(url=url, model="known"),
        traffic=traffic,
        load=Load(mode=Mode.CONCURRENCY, value=8.0),
        repeat=number,
        out_dir=folder,
        on_progress=lambda _: None,
        timeout_s=30.0,
    )
