"""The cost model evaluated directly: repeatable, sensible, and a replay table."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.deploy.replay import read_table
from autotune.deploy.simulated.engine import EngineRefusal
from autotune.deploy.simulated.evaluate import evaluate, evaluate_row, write_table
from autotune.records import Load, Mode, Traffic
from tests.deploy.simulated.facts import command, specification

ROOT = Path(__file__).parents[3]

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
    engine: str = "vllm", *words: str, load: float = 4, mode: Mode = Mode.CONCURRENCY, spread: float = 0.0
) -> dict[str, float]:
    """One evaluation on H100s."""
    at = Load(mode=mode, value=load)
    traffic = replace(TRAFFIC, input_spread=spread, output_spread=spread)
    return evaluate(command(engine, *words), specification(engine), traffic, at)


@pytest.mark.parametrize("mode", list(Mode))
def test_the_same_twice(mode: Mode) -> None:
    """Bit for bit, with lengths that differ and in both kinds of load."""
    assert metrics(spread=0.5, mode=mode) == metrics(spread=0.5, mode=mode)


def test_another_process_finds_the_same_bits() -> None:
    """Nothing depends on how Python hashes words in one process."""
    code = (
        "from tests.deploy.simulated.test_evaluate import metrics; "
        "print(sorted(metrics(load=3, spread=0.5).items()))"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert found[0] == found[1] == f"{sorted(metrics(load=3, spread=0.5).items())}\n"


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


@pytest.mark.parametrize("flag", ["2", "4"])
def test_the_ranking_of_the_engines_is_the_models_own(flag: str) -> None:
    """SGLang was given less host time: an invention, and larger than the noise of a run."""
    vllm, sglang = metrics("vllm", "-tp", flag), metrics("sglang", "--tp-size", flag)
    assert sglang["total_tokens_per_s"] > 1.08 * vllm["total_tokens_per_s"]


def test_replicas_share_the_load() -> None:
    """Two replicas at concurrency 8 do nearly what one does at 4, twice."""
    two, one = metrics("vllm", "-dp", "2", load=8), metrics(load=4)
    assert two["total_tokens_per_s"] == pytest.approx(2 * one["total_tokens_per_s"], rel=0.05)
    assert two["tpot_ms_p50"] == pytest.approx(one["tpot_ms_p50"], rel=0.02)


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


def test_shared_prefixes_and_histories_are_found_by_a_prefix_cache() -> None:
    """Prompts of 2,048 tokens that share all but 128 cost a fraction; without caching they do not."""
    at = Load(mode=Mode.CONCURRENCY, value=8)
    sharing = replace(TRAFFIC, input_tokens=2048, prefix_tokens=1920, prefixes=4, output_tokens=4)
    alone = replace(sharing, prefix_tokens=0)
    talking = replace(TRAFFIC, input_tokens=512, turns=6, output_tokens=4)

    def ttft(traffic: Traffic, *words: str) -> float:
        return evaluate(command("vllm", *words), specification("vllm"), traffic, at)["ttft_ms_p50"]

    off = "--no-enable-prefix-caching"
    assert 3 * ttft(sharing) < ttft(alone) == pytest.approx(ttft(sharing, off), rel=0.05)
    assert 2 * ttft(talking) < ttft(talking, off)


def test_a_turn_begins_when_the_one_before_it_has_ended() -> None:
    """Alone, 12 requests of three turns are as many as 12 single ones; an open loop starts conversations."""
    talking = replace(TRAFFIC, turns=3, min_requests=12)
    one = Load(mode=Mode.CONCURRENCY, value=1)
    found = evaluate(command("vllm"), specification("vllm"), talking, one)
    assert found["requests_completed"] == 12
    assert found["duration_s"] == pytest.approx(12 * found["e2e_ms_mean"] / 1000, rel=0.01)
    rate = Load(mode=Mode.RATE, value=2)
    arriving = evaluate(command("vllm"), specification("vllm"), replace(talking, min_requests=60), rate)
    assert arriving["requests_completed"] == 60
    assert arriving["requests_per_s"] == pytest.approx(3 * 2, rel=0.5)


def test_what_the_engine_refuses_is_refused() -> None:
    """No number for an engine that would not start."""
    with pytest.raises(EngineRefusal, match="must be divisible by tensor parallel size"):
        metrics("vllm", "-tp", "3")


def test_evaluations_are_a_replay_table(tmp_path: Path) -> None:
    """What is written is read as the same numbers."""
    facts = {**specification("vllm"), "startup_s": 7.5}
    rows = [
        evaluate_row(
            {"runtime": "vllm", "parallel.tp": tp},
            command("vllm", "-tp", tp, *words),
            facts,
            TRAFFIC,
            Load(mode=Mode.CONCURRENCY, value=load),
        )
        for tp, load, words in (("1", 1, []), ("1", 4, []), ("3", 4, []), ("2", 4, ["--nonsense"]))
    ]
    write_table(tmp_path / "t.csv", rows)
    read = read_table(tmp_path / "t.csv").rows
    assert [row.load for row in read] == [1, 4, 4, 4]
    assert [row.outcome for row in read] == ["", "", "layout_invalid", "bad_arguments"]
    assert {row.startup_s for row in read} == {7.5}
    assert read[1].keys == {"runtime": "vllm", "parallel.tp": "1"}
    assert read[1].metrics["total_tokens_per_s"] == rows[1].metrics["total_tokens_per_s"]
    assert read[1].duration_s == rows[1].metrics["duration_s"]
    assert read[2].metrics == {}
