"""The stand-in engine as a process, and questions to it over HTTP."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autotune.deploy import probe
from tests.deploy.simulated.facts import SGLANG, VLLM, specification

ROOT = Path(__file__).parents[3]


def start(folder: Path, engine: str, port: int, *words: str) -> subprocess.Popen[str]:
    """Start the stand-in with an engine's own command line."""
    spec = folder / "spec.json"
    spec.write_text(json.dumps(specification(engine)))
    argv = [word.replace("{port}", str(port)) for word in [*(VLLM if engine == "vllm" else SGLANG), *words]]
    return subprocess.Popen(
        [sys.executable, "-m", "autotune.deploy.simulated", "--spec", str(spec), "--", *argv],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(folder: Path, engine: str, *words: str) -> Iterator[str]:
    """A stand-in that is ready; it must end cleanly at SIGTERM."""
    port = probe.free_port()
    with start(folder, engine, port, *words) as process:
        url = f"http://127.0.0.1:{port}"
        until(lambda: probe.status(url, "/health", 1.0) == 200)
        yield url
        process.terminate()
        assert process.wait(timeout=20) in {0, -15}


def post(url: str, path: str, content: Any) -> tuple[int, str]:
    """Status and body."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.request("POST", path, json.dumps(content), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def streamed(body: str) -> list[Any]:
    """The events of a stream; the last is `[DONE]`."""
    data = [line.removeprefix("data: ") for line in body.split("\n\n") if line]
    assert data[-1] == "[DONE]"
    return [json.loads(line) for line in data[:-1]]


def gauge(url: str, name: str) -> float:
    """The value of a gauge at /metrics."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return float(next(line for line in lines if line.startswith(f"{name}{{")).split()[-1])


def until(true: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait for something that must happen."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
