"""The simulated engine as a process, over real HTTP."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotune.benchmark.native import NativeClient
from autotune.benchmark.protocol import MeasureRequest
from autotune.benchmark.traffic import conversations, first, measured_count
from autotune.deploy import probe
from autotune.deploy.simulated.cost_model import Deployment, ModelFacts
from autotune.deploy.simulated.evaluate import evaluate
from autotune.records import Endpoint, GpuSpec, Load, Mode, Traffic
from tests.deploy.simulated.facts import GPU, MODEL, command, specification
from tests.deploy.simulated.standin import gauge, post, running, streamed, until
from tests.deploy.simulated.test_evaluate import TRAFFIC

DEPLOYMENT = Deployment(engine="vllm", model=ModelFacts(**MODEL), gpu=GpuSpec(**GPU), tp=2)


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
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 4 + ["length"]
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    assert {(chunk["id"], chunk["object"], chunk["model"]) for chunk in [*chunks, usage]} == {
        (usage["id"], "text_completion", "m")
    }


def test_chat_opens_with_a_role_and_has_no_usage_unasked(vllm: str) -> None:
    """The role chunk brings no token."""
    asked = {"model": "m", "messages": [{"role": "user", "content": "a b"}], "max_tokens": 2, "stream": True}
    _status, body = post(vllm, "/v1/chat/completions", asked)
    deltas = [chunk["choices"][0]["delta"] for chunk in streamed(body)]
    assert deltas == [{"role": "assistant", "content": ""}, {"content": " a"}, {"content": " a"}]
    assert {chunk["object"] for chunk in streamed(body)} == {"chat.completion.chunk"}


def test_without_a_stream_everything_comes_at_once(vllm: str) -> None:
    """One JSON object."""
    _status, body = post(vllm, "/v1/completions", {"model": "m", "prompt": "a", "max_tokens": 3})
    answer = json.loads(body)
    assert (answer["choices"][0]["text"], answer["usage"]["completion_tokens"]) == (" a a a", 3)


@pytest.mark.parametrize(
    ("path", "asked", "status"),
    [
        ("/v1/completions", {"model": "m", "prompt": "a", "max_tokens": "x"}, 400),
        ("/v1/completions", ["a"], 400),
        ("/v1/completions", {"model": "m", "prompt": "a", "max_tokens": 1000}, 400),
        ("/v1/completions", {"model": "other", "prompt": "a"}, 404),
        ("/v1/chat/completions", {"model": "m", "messages": ["a"]}, 400),
    ],
    ids=str,
)
def test_wrong_requests(path: str, asked: Any, status: int, vllm: str) -> None:
    """Refused with the engine's status and form, never with 500."""
    got, body = post(vllm, path, asked)
    assert (got, json.loads(body)["error"]["code"]) == (status, status)


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
    assert probe.status(sglang, "/get_server_info", 5.0) == 200
    assert probe.status(vllm, "/nothing", 5.0) == 404
    assert gauge(vllm, "vllm:kv_cache_usage_perc") == 0
    assert gauge(vllm, "vllm:num_preemptions_total") == 0
    assert probe.status(sglang, "/metrics", 5.0) == 404


def test_a_client_that_goes_away_leaves_no_request(vllm: str) -> None:
    """Its place in the batch is free again, long before its 900 tokens would have been made."""
    before = probe.json_of(vllm, "/simulated/lag", 5.0)["steps"]
    connection = http.client.HTTPConnection(vllm.removeprefix("http://"), timeout=30)
    asked = {"model": "m", "prompt": "a", "max_tokens": 900, "stream": True}
    connection.request("POST", "/v1/completions", json.dumps(asked))
    connection.getresponse().read(100)
    until(lambda: gauge(vllm, "vllm:num_requests_running") == 1)
    assert gauge(vllm, "vllm:kv_cache_usage_perc") > 0
    connection.close()
    until(lambda: gauge(vllm, "vllm:num_requests_running") == 0)
    assert probe.json_of(vllm, "/simulated/lag", 5.0)["steps"] - before < 900


def test_a_stand_in_tells_how_late_it_is(vllm: str) -> None:
    """Every step is counted (one may still have been on its way for a client gone), the worst is kept."""
    before = probe.json_of(vllm, "/simulated/lag", 5.0)
    post(vllm, "/v1/completions", {"model": "m", "prompt": "a", "max_tokens": 50})
    lag = probe.json_of(vllm, "/simulated/lag", 5.0)
    assert lag["steps"] - before["steps"] in {50, 51}
    assert 0 <= lag["mean_s"] <= lag["max_s"]
    assert lag["max_s"] >= before["max_s"]


def test_steps_take_their_time(vllm: str) -> None:
    """A request of 200 tokens takes what the model says, less a timer's millisecond, or longer.

    The upper bound is for an endless wait only: a busy machine may double the time.
    """
    asked = {"model": "m", "prompt": "a", "max_tokens": 200}
    expected_s = sum(DEPLOYMENT.step_s([(1, cached)]) for cached in range(200))
    began_s = time.monotonic()
    assert post(vllm, "/v1/completions", asked)[0] == 200
    took_s = time.monotonic() - began_s
    assert took_s >= expected_s - 0.001
    assert took_s < 3 * expected_s


@pytest.mark.parametrize(
    "traffic",
    [TRAFFIC, replace(TRAFFIC, endpoint="chat", turns=3, prefix_tokens=64, prefixes=2, output_tokens=32)],
    ids=["single requests", "conversations"],
)
def test_http_agrees_with_the_direct_evaluation(vllm: str, tmp_path: Path, traffic: Traffic) -> None:
    """The native client measures what the cost model says, within a wide margin for a busy machine."""
    load = Load(mode=Mode.CONCURRENCY, value=4)
    measured = NativeClient().measure(
        MeasureRequest(
            endpoint=Endpoint(url=vllm, model="m"),
            traffic=traffic,
            load=load,
            repeat=0,
            out_dir=tmp_path,
            on_progress=lambda _progress: None,
            timeout_s=60,
        )
    )
    direct = evaluate(command("vllm", "-tp", "2"), specification("vllm"), traffic, load)
    assert measured.requests_failed == 0
    assert measured.raw is not None
    drawn = first(measured_count(traffic, load), conversations(traffic, load, repeat=0, phase="measure"))
    asked = {plan.index: plan.input_tokens for conversation in drawn for plan in conversation}
    records = json.loads(measured.raw.read_text())
    assert {r["index"]: r["prompt_tokens"] for r in records if r["phase"] == "measure"} == asked
    for name in ("output_tokens_per_s", "tpot_ms_p50"):
        assert measured.metrics[name] == pytest.approx(direct[name], rel=0.3)
