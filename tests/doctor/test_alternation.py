"""Several clients as one: their order, failures that are turns, and what ends a round."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.benchmark import create_benchmark
from autotune.benchmark.metrics import RequestRecord
from autotune.benchmark.protocol import MeasureRequest
from autotune.doctor.alternation import Alternation, Turn, whole_run
from autotune.errors import Interrupted, TrialError
from autotune.records import Endpoint, Load, Mode, Traffic
from autotune.schema import BenchmarkConfig


def request_in(folder: Path, repeat: int) -> MeasureRequest:
    """One round of a small load."""
    return MeasureRequest(
        endpoint=Endpoint(url="http://127.0.0.1:1", model="m"),
        traffic=Traffic(
            endpoint="chat",
            input_tokens=8,
            output_tokens=2,
            input_spread=0,
            output_spread=0,
            requests_per_load=1,
            min_requests=1,
            warmup_requests=0,
            ignore_eos=True,
            seed=0,
        ),
        load=Load(mode=Mode.CONCURRENCY, value=1),
        repeat=repeat,
        out_dir=folder,
        on_progress=lambda _progress: None,
        timeout_s=5,
    )


def nowhere(kind: str) -> BenchmarkConfig:
    """A client whose environment is gone."""
    return BenchmarkConfig(kind=kind, venv="/nowhere")


def test_failures_are_turns_and_the_order_turns_round(tmp_path: Path) -> None:
    """Everybody has a turn in every round; a round in which all failed raises what the first said."""
    heard: list[Turn] = []
    kinds = ("aiperf", "vllm_bench")
    clients = Alternation({kind: create_benchmark(nowhere(kind)) for kind in kinds}, hear=heard.append)
    for repeat in (0, 1):
        with pytest.raises(TrialError, match=r"install aiperf==0\.13\.0|give the folder that") as failed:
            clients.measure(request_in(tmp_path, repeat))
        assert failed.value.kind == "benchmark_failed"
    assert [(turn.round, turn.client) for turn in heard] == [
        (0, "aiperf"),
        (0, "vllm_bench"),
        (1, "vllm_bench"),
        (1, "aiperf"),
    ]
    assert all(turn.failure is not None and turn.around_s is None for turn in heard)
    assert all(turn.began <= turn.ended for turn in heard)


def test_nothing_is_measured_after_a_stop(tmp_path: Path) -> None:
    """No client has a turn then, and none is told of."""
    heard: list[Turn] = []
    clients = Alternation({"aiperf": create_benchmark(nowhere("aiperf"))}, hear=heard.append)
    clients.stop()
    with pytest.raises(Interrupted):
        clients.measure(request_in(tmp_path, 0))
    assert heard == []


def record(phase: str, sent_s: float, ended_s: float, error: str | None = None) -> RequestRecord:
    """A request of ten tokens."""
    return RequestRecord(
        phase=phase,
        index=0,
        sent_s=sent_s,
        begun_s=sent_s,
        scheduled_s=None,
        ended_s=ended_s,
        chunks_s=(ended_s,),
        prompt_tokens=1,
        output_tokens=10,
        status=200,
        error=error,
        detail="",
    )


def test_a_whole_run_has_its_own_requests_only() -> None:
    """Warm-up, filler and failures are neither in its tokens nor in its time."""
    records = [
        record("warmup", -3, 0),
        record("measure", 0, 2),
        record("measure", 1, 4),
        record("measure", 2, 9, error="timeout"),
        record("filler", 3, 8),
    ]
    assert whole_run(records) == pytest.approx(20 / 4)
    assert whole_run(records[:1]) is None
