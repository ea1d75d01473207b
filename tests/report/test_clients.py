"""Where load clients differ, and the reasons that are given for it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from autotune.doctor.alternation import Turn
from autotune.records import Failure, Load, Measurement, Mode
from autotune.report.clients import Comparison, render_comparison

GOLDEN = Path(__file__).parent / "golden" / "clients.txt"
LOAD = Load(mode=Mode.CONCURRENCY, value=64)
NATIVE = {
    "output_tokens_per_s": 5500.0,
    "total_tokens_per_s": 16500.0,
    "requests_per_s": 85.9375,  # 64 tokens each
    "ttft_ms_mean": 100.0,
    "ttft_ms_p99": 104.0,
    "tpot_ms_mean": 10.0,
    "itl_ms_mean": 10.0,
    "e2e_ms_mean": 730.0,
    "in_flight_mean": 64.0,
    "client_cpu_fraction": 0.2,
}
NOISE = (0.999, 1.0, 1.001)


def turns_of(client: str, *, noise: tuple[float, ...] = NOISE, **changed: Any) -> list[Turn]:
    """Three turns around native's values, some of them changed; `failed` requests of each are lost."""
    failed = changed.pop("failed", 0)
    bound = changed.pop("bound", ())
    return [
        Turn(
            client=client,
            round=number,
            began=0.0,
            ended=9.0,
            cpu_s=2.0,
            whole_run_tokens_per_s=5225.0,
            measurement=Measurement(
                load=LOAD,
                repeat=number,
                metrics={name: value * factor for name, value in {**NATIVE, **changed}.items()},
                requests_completed=384 - failed,
                requests_failed=failed,
                errors={"timeout": failed} if failed else {},
                duration_s=4.5,
                client_bound=bound,
            ),
        )
        for number, factor in enumerate(noise)
    ]


def compared(*turns: Turn, simulated: bool = False) -> Comparison:
    """A comparison of all who have turns, native first."""
    every = [*turns_of("native", noise=(1.0, 1.0, 1.0)), *turns]
    return Comparison(
        label="vllm · tp1",
        load=LOAD,
        clients=tuple(dict.fromkeys(turn.client for turn in every)),
        turns=tuple(every),
        rounds=3,
        simulated=simulated,
        cores=2,
        file=Path("outputs/c/clients.json"),
    )


@pytest.mark.parametrize(
    ("metric", "changed", "expected"),
    [
        pytest.param("output_tokens_per_s", {"output_tokens_per_s": 5225.0, "requests_per_s": 81.64, "in_flight_mean": 60.8},
                     "60.8 requests in flight on average, native 64.0 (-5.0 %): -5.0 % is the load that fills and drains in its window", id="the load fills and drains"),
        pytest.param("output_tokens_per_s", {"output_tokens_per_s": 5238.0, "requests_per_s": 81.85, "e2e_ms_mean": 766.5},
                     "its requests take 5.0 % longer by its stamps", id="requests take longer"),
        pytest.param("output_tokens_per_s", {"output_tokens_per_s": 5000.0},
                     "its answers have 58.2 tokens by its count, native's 64.0", id="other answers"),
        pytest.param("ttft_ms_mean", {"ttft_ms_mean": 130.0, "total_tokens_per_s": 22000.0},
                     "its prompts have 192.0 tokens by its count, native's 128.0", id="other prompts"),
        pytest.param("ttft_ms_mean", {"ttft_ms_mean": 130.0}, "with the opening of a connection", id="another definition"),
        pytest.param("itl_ms_mean", {"itl_ms_mean": 11.0, "client_cpu_fraction": 0.9},
                     "it uses 0.90 of a core while it measures, native 0.20, of 2 cores", id="overhead"),
        pytest.param("e2e_ms_mean", {"e2e_ms_mean": 760.0, "ttft_ms_mean": 120.0},
                     "+20.0 of +30.0 ms are before the first token", id="the first token is most of it"),
        pytest.param("tpot_ms_mean", {"tpot_ms_mean": 9.0, "failed": 38},
                     "114 of 1152 requests failed (114 timeout), and are in no latency", id="errors"),
        pytest.param("output_tokens_per_s", {"output_tokens_per_s": 4400.0, "requests_per_s": 68.75, "in_flight_mean": 51.2},
                     "-5.0 % is the load that fills and drains in its window, the rest pauses between its requests", id="pauses"),
    ],
)  # fmt: skip
def test_a_difference_has_its_reason(metric: str, changed: dict[str, Any], expected: str) -> None:
    """It is seen, and told why."""
    found = {each.metric: each for each in compared(*turns_of("aiperf", **changed)).differences()}
    assert found[metric].is_clear
    assert expected in "; ".join(found[metric].why)


def test_what_costs_is_no_reason_for_better_values() -> None:
    """A dear client that reports less latency has another reason, or none that is known."""
    turns = turns_of("aiperf", itl_ms_mean=9.0, client_cpu_fraction=0.9)
    found = {each.metric: each for each in compared(*turns).differences()}
    assert found["itl_ms_mean"].is_clear
    assert found["itl_ms_mean"].why == ()


def test_noise_is_no_difference() -> None:
    """What could be either is told as that, and what is alike too."""
    found = compared(*turns_of("aiperf", noise=(0.8, 1.0, 1.3), ttft_ms_mean=110.0)).differences()
    assert not any(each.is_clear for each in found)
    assert all(each.bound > 20 for each in found)
    alike = compared(*turns_of("aiperf")).differences()
    assert not any(each.is_clear for each in alike)
    assert all(each.bound < 1 for each in alike)


def test_rounds_are_paired_by_their_number() -> None:
    """A round in which one of the two failed is in no difference; one pair has no interval."""
    turns = turns_of("aiperf", ttft_ms_mean=120.0)
    assert {each.difference.pairs for each in compared(*turns[1:]).differences()} == {2}
    assert compared(turns[2]).differences() == []


def test_what_is_printed() -> None:
    """The table, a line for each difference, failures, who was left out, and where it is kept."""
    crashed = [
        Turn(
            client="genai_bench",
            round=number,
            began=0.0,
            ended=3.0,
            cpu_s=1.0,
            failure=Failure(
                kind="benchmark_failed", message="genai_bench ended with status 1", evidence="no libfoo"
            ),
        )
        for number in range(3)
    ]
    aiperf = turns_of(
        "aiperf", output_tokens_per_s=5225.0, total_tokens_per_s=15675.0, requests_per_s=81.64, in_flight_mean=60.8, ttft_ms_p99=125.0,
        client_cpu_fraction=0.9, bound=("the load client lagged",),
    )  # fmt: skip
    out = Console(file=io.StringIO(), width=160)
    comparison = compared(*aiperf, *crashed, simulated=True)
    render_comparison(out, comparison, ["benchmark.kind=guidellm: it is not installed"])
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert "\n".join(line.rstrip() for line in text.splitlines()) == GOLDEN.read_text().rstrip("\n")
