"""What sampling beside measurements costs the controller, in CPU; run by hand and compared.

`python benchmarks/sampling.py --page FILE [--trials 8] [--seconds 20]`. FILE is a metrics page as an engine
serves it, best a whole one. Each trial looks at it once a second over HTTP, and what it saw goes to a new
sqlite store of MLflow as the series of an hour on eight GPUs would.

* `sampling` is the CPU of this process for each second of wall time, all trials together: requests, parsing,
  keeping. Python's file server serves the page, over a connection for each look, in a process of its own.
* `series` is the CPU of the calls that write the points of one trial, as the mirror makes them.
* NVML's own calls are not in it: there may be no GPU here.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from autotune.deploy import probe
from autotune.observe import page
from autotune.observe.gpu import SERIES
from autotune.observe.sampler import Sampler
from autotune.observe.scraper import NoMetrics, Scraper
from autotune.observe.series import Clock, read_points, write_series

HOUR_S = 3600
GPUS = 8
SERVER = ("running", "waiting", "kv_cache_usage", "preemptions_total", "prefix_cache_hit_rate_recent")


def sampling(url: str, *, trials: int, seconds: float) -> tuple[float, int]:
    """Return CPU seconds for each second, and the looks that brought something."""
    page.warm()
    scrapers = [Scraper(url, "vllm") for _ in range(trials)]
    samplers = [
        Sampler(one.look, period_s=1.0, name=f"trial {number}", gives_up=NoMetrics)
        for number, one in enumerate(scrapers)
    ]
    for sampler in samplers:
        sampler.start()
        time.sleep(1.0 / trials)  # trials do not begin together
    began, cpu = time.perf_counter(), time.process_time()
    seen = sum(len(sampler.readings) for sampler in samplers)
    time.sleep(seconds)
    spent = (time.process_time() - cpu) / (time.perf_counter() - began)
    looks = sum(len(sampler.readings) for sampler in samplers) - seen
    for sampler, scraper in zip(samplers, scrapers, strict=True):
        sampler.close(5.0)
        scraper.close()
    return spent, looks


def series(folder: Path) -> tuple[float, float, int]:
    """Return CPU and wall seconds to write one trial's points to a store, and how many there are."""
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    names = [f"system/gpu_{gpu}_{end}" for gpu in range(GPUS) for end in SERIES]
    names += [f"server/{name}" for name in SERVER]
    samples = [
        (float(second), {name: second + 0.5 for name in names if name.startswith(kind)})
        for second in range(HOUR_S)
        for kind in ("system/", "server/")
    ]
    write_series(folder, samples, clock=Clock(epoch_s=1.7e9, ready_s=0.0), measured=[])
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    run = client.create_run(client.create_experiment("sampling")).info.run_id
    client.log_batch(run, metrics=[Metric("warm", 1.0, 0, 0)])
    began, cpu = time.perf_counter(), time.process_time()
    points = [Metric(name, value, stamp, step) for name, value, stamp, step in read_points(folder)]
    for begin in range(0, len(points), 1000):
        client.log_batch(run, metrics=points[begin : begin + 1000])
    return time.process_time() - cpu, time.perf_counter() - began, len(points)


def main() -> int:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--page", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(asked.page, folder / "metrics")
        port = probe.free_port()
        words = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", name, str(port)]
        with subprocess.Popen(words, stderr=subprocess.DEVNULL) as server:
            url = f"http://127.0.0.1:{port}"
            while probe.status(url, "/metrics", 1.0) != 200:
                time.sleep(0.05)
            cpu, looks = sampling(url, trials=asked.trials, seconds=asked.seconds)
            server.terminate()
        size = asked.page.stat().st_size / 1024
        print(f"sampling: {cpu:.2%} of a core for {asked.trials} trials, {looks} looks at {size:.0f} KiB")
        cpu_s, wall_s, points = series(folder)
        print(f"series: {cpu_s:.2f} s CPU, {wall_s:.2f} s in all for {points} points of one trial")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
