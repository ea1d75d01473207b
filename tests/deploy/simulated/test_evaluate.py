"""The cost model evaluated directly: repeatable, sensible, and a replay table."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.deploy.replay import read_table
from autotune.deploy.simulated.engine import EngineRefusal
from autotune.deploy.simulated.evaluate import evaluate, write_table
from autotune.records import Load, Mode, Traffic
from tests.deploy.simulated.facts import command, specification

TRAFFIC = Traffic(
    endpoint="completions",
    input_tokens=128,
    output_tokens=64,
    input_spread=0.0,
    output_spread=0.0,
    requests_per_load=4,
    min_requests=4,
    warmup_requests=1,
    ignore_eos=True,
    seed=0,
)


def metrics(
    engine: str = "vllm", *words: str, load: float = 4, mode: Mode = Mode.CONCURRENCY
) -> dict[str, float]:
    """One evaluation on H100s."""
    at = Load(mode=mode, value=load)
    return evaluate(command(engine, *words), specification(engine), TRAFFIC, at)


def test_the_same_twice() -> None:
    """Bit for bit."""
    assert metrics() == metrics()


def test_one_request_at_a_time_by_hand() -> None:
    """TPOT of one sequence on one GPU is a decode step: about 6.0 ms of memory and 1 ms of host."""
    alone = metrics(load=1)
    assert alone["tpot_ms_p50"] == pytest.approx(7.0, abs=0.02)
    assert alone["output_tokens_per_s"] == pytest.approx(64_000 / alone["e2e_ms_mean"], rel=0.03)


def test_more_gpus_are_faster_but_not_in_proportion() -> None:
    """tp 4 beats tp 2 for a request, and loses for a GPU."""
    two, four = metrics("vllm", "-tp", "2"), metrics("vllm", "-tp", "4")
    assert four["e2e_ms_p50"] < two["e2e_ms_p50"]
    assert four["total_tokens_per_s"] / 4 < two["total_tokens_per_s"] / 2


def test_batches_raise_throughput_and_latency() -> None:
    """The usual trade-off."""
    one, many = metrics(load=1), metrics(load=32)
    assert many["output_tokens_per_s"] > 10 * one["output_tokens_per_s"]
    assert many["tpot_ms_p50"] > one["tpot_ms_p50"]


def test_one_sequence_at_a_time_costs_throughput() -> None:
    """`--max-num-seqs 1` at concurrency 8."""
    assert (
        metrics(load=8)["output_tokens_per_s"]
        > 4 * metrics("vllm", "--max-num-seqs", "1", load=8)["output_tokens_per_s"]
    )


def test_an_open_loop_below_capacity_keeps_up() -> None:
    """At 5 requests/s the engine finishes as many as arrive, within what 20 Poisson arrivals allow."""
    slow = metrics(load=5, mode=Mode.RATE)
    assert slow["requests_per_s"] == pytest.approx(5, rel=0.5)


def test_what_the_engine_refuses_is_refused() -> None:
    """No number for an engine that would not start."""
    with pytest.raises(EngineRefusal, match="must be divisible by tensor parallel size"):
        metrics("vllm", "-tp", "3")


def test_evaluations_are_a_replay_table(tmp_path: Path) -> None:
    """What is written is read as the same numbers."""
    rows = [({"runtime": "vllm", "parallel.tp": "1"}, metrics(load=load)) for load in (1, 4)]
    write_table(tmp_path / "t.csv", rows)
    read = read_table(tmp_path / "t.csv")
    assert [row.load for row in read] == [1, 4]
    assert read[1].metrics["total_tokens_per_s"] == rows[1][1]["total_tokens_per_s"]
    assert read[1].duration_s == rows[1][1]["duration_s"]
