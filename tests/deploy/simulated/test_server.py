"""The simulated engine as a process, over real HTTP."""

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

import pytest

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


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """vLLM on two GPUs."""
    with running(tmp_path_factory.mktemp("vllm"), "vllm", "-tp", "2", "--max-model-len", "1000") as url:
        yield url


@pytest.fixture(scope="module")
def sglang(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """SGLang on two GPUs."""
    with running(tmp_path_factory.mktemp("sglang"), "sglang", "--tp-size", "2") as url:
        yield url


def post(url: str, path: str, content: dict[str, Any]) -> tuple[int, str]:
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


def test_completions_stream_one_token_a_chunk_and_usage(vllm: str) -> None:
    """A word is a token; usage comes in the last chunk."""
    asked = {
        "model": "m",
        "prompt": "a b c",
        "max_tokens": 5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    status, body = post(vllm, "/v1/completions", asked)
    *chunks, usage = streamed(body)
    assert status == 200
    assert [chunk["choices"][0]["text"] for chunk in chunks] == [" a"] * 5
    assert usage == {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}}


def test_chat_opens_with_a_role_and_has_no_usage_unasked(vllm: str) -> None:
    """The role chunk brings no token."""
    asked = {"model": "m", "messages": [{"role": "user", "content": "a b"}], "max_tokens": 2, "stream": True}
    _status, body = post(vllm, "/v1/chat/completions", asked)
    deltas = [chunk["choices"][0]["delta"] for chunk in streamed(body)]
    assert deltas == [{"role": "assistant", "content": ""}, {"content": " a"}, {"content": " a"}]


def test_without_a_stream_everything_comes_at_once(vllm: str) -> None:
    """One JSON object."""
    _status, body = post(vllm, "/v1/completions", {"model": "m", "prompt": "a", "max_tokens": 3})
    answer = json.loads(body)
    assert (answer["choices"][0]["text"], answer["usage"]["completion_tokens"]) == (" a a a", 3)


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        ({"model": "other", "prompt": "a"}, 404, "The model `other` does not exist"),
        ({"model": "m", "prompt": "a", "max_tokens": 1000}, 400, "maximum context length is 1000 tokens"),
        ({"model": "m"}, 400, "KeyError"),
    ],
    ids=["wrong model", "too long", "no prompt"],
)
def test_wrong_requests(asked: dict[str, Any], status: int, words: str, vllm: str) -> None:
    """Refused as an engine would, never with 500."""
    got, body = post(vllm, "/v1/completions", asked)
    assert got == status
    assert words in body


def test_it_says_that_it_is_a_stand_in(vllm: str, sglang: str) -> None:
    """Whoever measures it by `deploy.url` is told."""
    assert probe.version(vllm, 5.0) == ("0.33.0+simulated", True)
    assert probe.version(sglang, 5.0) == ("0.5.23+simulated", True)


def test_models_readiness_and_metrics(vllm: str, sglang: str) -> None:
    """What each engine answers, and what SGLang does not without --enable-metrics."""
    assert probe.served_models(vllm, 5.0) == ["m"]
    assert probe.status(sglang, "/ready", 5.0) == 200
    assert probe.status(vllm, "/ready", 5.0) == 404
    assert probe.status(vllm, "/metrics", 5.0) == 200
    assert probe.status(sglang, "/metrics", 5.0) == 404


def test_a_client_that_goes_away_leaves_no_request(vllm: str) -> None:
    """Its place in the batch is free again."""
    connection = http.client.HTTPConnection(vllm.removeprefix("http://"), timeout=30)
    asked = {"model": "m", "prompt": "a", "max_tokens": 900, "stream": True}
    connection.request("POST", "/v1/completions", json.dumps(asked))
    connection.getresponse().read(100)
    until(lambda: gauge(vllm, "vllm:num_requests_running") == 1)
    connection.close()
    until(lambda: gauge(vllm, "vllm:num_requests_running") == 0)


def test_a_stand_in_tells_how_late_it_is(vllm: str) -> None:
    """Steps end at absolute times, and never before them."""
    post(vllm, "/v1/completions", {"model": "m", "prompt": "a", "max_tokens": 50})
    lag = probe.json_of(vllm, "/simulated/lag", 5.0)
    assert lag["steps"] >= 50
    assert 0 <= lag["mean_s"] <= lag["max_s"]


def test_a_refused_command_ends_as_the_engine_would(tmp_path: Path) -> None:
    """Status 2 from the parser, 1 from the engine, whose last words say nothing."""
    with start(tmp_path, "vllm", 1, "--nonsense") as process:
        _out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (2, "vllm: error: unrecognized arguments: --nonsense\n")
    with start(tmp_path, "vllm", 1, "-tp", "3") as process:
        _out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Engine core initialization failed" in err.splitlines()[-1]


def test_a_port_in_use(vllm: str, tmp_path: Path) -> None:
    """In the engine's words."""
    with start(tmp_path, "vllm", int(vllm.rpartition(":")[2])) as process:
        _out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "OSError: [Errno 98] Address already in use" in err


def gauge(url: str, name: str) -> float:
    """The value of a gauge at /metrics."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def until(true: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait for something that must happen."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
