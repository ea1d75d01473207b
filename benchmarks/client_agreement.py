"""Whether the native client and `vllm bench serve` agree on a real engine: medians of alternating runs.

`python benchmarks/client_agreement.py [--concurrency 8] [--runs 5] [--check]` starts vLLM on the CPU with
the tiny model (`sh scripts/real-engine` prepares both) and measures it with each client in turn, on the same
number of requests of the same lengths. `--check` exits with 1 if the medians of output tokens/s differ by
more than 5 %.

`vllm bench serve` divides all output tokens by the time from its first request to its last answer: at the
end its load drains, which costs it about half a request's time. Many requests for each one in flight make
that small. Both clients share the machine's cores with the engine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "launchers")]

from autotune.benchmark.native import NativeClient  # noqa: E402  (the checkout's, not an installed one)
from autotune.benchmark.protocol import MeasureRequest  # noqa: E402
from autotune.benchmark.workload import traffic_of  # noqa: E402
from autotune.deploy import probe  # noqa: E402
from autotune.places import cache_dir  # noqa: E402
from autotune.processes import ProcessGroup  # noqa: E402
from autotune.records import Endpoint, Load, Mode  # noqa: E402
from autotune.schema import WorkloadConfig  # noqa: E402

ENGINE = cache_dir() / "engines" / "vllm-0.32.0"
MODEL = cache_dir() / "models" / "tiny"
WITHIN = 0.05
START_S = 300.0
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
}
METRICS = {  # ours, and the name in the other's result
    "output_tokens_per_s": "output_throughput",
    "ttft_ms_mean": "mean_ttft_ms",
    "tpot_ms_mean": "mean_tpot_ms",
}


def main() -> int:
    """Print both clients' figures; with `--check`, judge them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--input-tokens", type=int, default=64)
    parser.add_argument("--output-tokens", type=int, default=64)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {"native": [], "vllm bench serve": []}
    measure = {"native": _native, "vllm bench serve": _vllm_bench}
    with tempfile.TemporaryDirectory() as folder, _engine(Path(folder)) as url:
        _native(url, options, Path(folder), 0)  # the engine's first requests are slower
        for run in range(1, options.runs + 1):
            for name in list(found)[:: 1 if run % 2 else -1]:
                found[name].append(measure[name](url, options, Path(folder), run))
    return _judge(found, check=options.check)


@contextmanager
def _engine(folder: Path) -> Iterator[str]:
    port = probe.free_port()
    argv = [str(ENGINE / "bin" / "vllm"), "serve", str(MODEL), "--host", "127.0.0.1", "--port", str(port)]
    env = {**os.environ, **OFFLINE, "PATH": f"{ENGINE / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    argv += ["--enforce-eager", "--max-model-len", "2048"]
    process = ProcessGroup(argv, env=env, log=folder / "engine.log")
    try:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + START_S
        while probe.status(url, "/health", 5.0) != 200:
            if process.exit_code() is not None or time.monotonic() > deadline:
                raise SystemExit((folder / "engine.log").read_text()[-3000:])
            time.sleep(0.2)
        yield url
    finally:
        process.terminate(15.0)


def _native(url: str, options: argparse.Namespace, folder: Path, run: int) -> dict[str, float]:
    workload = WorkloadConfig(
        input_tokens=options.input_tokens,
        output_tokens=options.output_tokens,
        loads=[options.concurrency],
        requests_per_load=1,
        min_requests=options.requests,
        warmup_requests=1,
        seed=run,
    )
    request = MeasureRequest(
        endpoint=Endpoint(url=url, model=str(MODEL)),
        traffic=traffic_of(workload),
        load=Load(mode=Mode.CONCURRENCY, value=options.concurrency),
        repeat=run,
        out_dir=folder,
        on_progress=lambda _: None,
        timeout_s=120,
    )
    metrics = NativeClient().measure(request).metrics
    return {name: metrics[name] for name in METRICS}


def _vllm_bench(url: str, options: argparse.Namespace, folder: Path, run: int) -> dict[str, float]:
    result = folder / f"bench-{run}.json"
    argv = [str(ENGINE / "bin" / "vllm"), "bench", "serve", "--base-url", url, "--model", str(MODEL)]
    argv += ["--dataset-name", "random", "--random-input-len", str(options.input_tokens)]
    argv += ["--random-output-len", str(options.output_tokens), "--ignore-eos", "--seed", str(run)]
    argv += ["--num-prompts", str(options.requests), "--max-concurrency", str(options.concurrency)]
    argv += ["--num-warmups", str(options.concurrency), "--temperature", "0"]
    argv += ["--save-result", "--result-filename", str(result), "--disable-tqdm"]
    done = subprocess.run(argv, env={**os.environ, **OFFLINE}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr[-3000:])
    content: dict[str, Any] = json.loads(result.read_text())
    if content["completed"] != options.requests:
        raise SystemExit(f"vllm bench serve: {content['completed']} of {options.requests} requests completed")
    return {name: float(content[theirs]) for name, theirs in METRICS.items()}


def _judge(found: dict[str, list[dict[str, float]]], *, check: bool) -> int:
    print("client            output tok/s  (each run)                          TTFT ms  TPOT ms")
    medians = {}
    for name, runs in found.items():
        middle = {metric: statistics.median(run[metric] for run in runs) for metric in METRICS}
        medians[name] = middle["output_tokens_per_s"]
        each = " ".join(f"{run['output_tokens_per_s']:.0f}" for run in runs)
        print(
            f"{name:18}{middle['output_tokens_per_s']:12.1f}  {each:35} "
            f"{middle['ttft_ms_mean']:8.1f} {middle['tpot_ms_mean']:8.2f}"
        )
    ratio = medians["native"] / medians["vllm bench serve"]
    print(f"native to vllm bench serve: {ratio:.3f} (5 % is allowed)")
    return 1 if check and abs(ratio - 1) > WITHIN else 0


if __name__ == "__main__":
    raise SystemExit(main())
