"""What is advised, by the size of the effect and of its interval."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from autotune.records import Load, Mode
from autotune.report.interference import Pair, Setting, advice, effects, render_interference
from autotune.schema import Direction

RATE, TTFT, TPOT = "total_tokens_per_s_per_gpu", "ttft_ms_p99", "tpot_ms_mean"
NOISE = (0.999, 1.0, 1.001)


def pairs(
    beside: float, *, metric: str = RATE, noise: tuple[float, ...] = NOISE, **others: float
) -> list[Pair]:
    """Three pairs around these ratios of beside to alone."""
    alone = {metric: 1000.0, **dict.fromkeys(others, 20.0)}
    ratios = {metric: beside, **others}
    return [
        (alone, {name: value * ratios[name] * factor for name, value in alone.items()}) for factor in noise
    ]


@pytest.mark.parametrize(
    ("beside", "noise", "expected"),
    [
        pytest.param(0.968, NOISE, "neighbours cost 3.2 % (95 % CI 3.0 to 3.4): launcher.exclusive=true measures", id="they cost"),
        pytest.param(0.995, NOISE, "neighbours cost 0.5 % (95 % CI 0.3 to 0.7): trials can share the node, unless", id="little"),
        pytest.param(1.0, NOISE, "no interference larger than 0.2 % was seen in 3 pairs: trials can share the node", id="none"),
        pytest.param(1.0, (0.9, 1.0, 1.1), "too noisy to tell: neighbours cost", id="noise"),
        pytest.param(1.05, NOISE, "it was 5.0 % better beside neighbours (95 % CI 4.7 to 5.3)", id="better"),
    ],
)  # fmt: skip
def test_the_advice_on_a_throughput(beside: float, noise: tuple[float, ...], expected: str) -> None:
    """Lower beside others is a cost."""
    [said] = advice(effects(pairs(beside, noise=noise), RATE, Direction.maximize), RATE)
    assert said.startswith(expected)


def test_the_advice_on_a_latency() -> None:
    """Higher beside others is a cost, where low is good."""
    [said] = advice(effects(pairs(1.1, metric=TTFT), TTFT, Direction.minimize), TTFT)
    assert said.startswith("neighbours cost 10.0 % (95 % CI 9.7 to 10.3)")


def test_a_cost_in_latency_is_told_beside_the_objective() -> None:
    """Throughput may not show what the slowest requests do."""
    found = effects(pairs(1.0, ttft_ms_p99=1.2, tpot_ms_mean=1.0), RATE, Direction.maximize)
    assert [effect.metric for effect in found] == [RATE, TTFT, TPOT]
    assert advice(found, RATE)[1:] == ["ttft_ms_p99: neighbours cost 20.0 % (95 % CI 19.7 to 20.3)"]


def test_a_metric_that_is_missing_once_is_left_out() -> None:
    """What was not measured in every pair has no pairs to compare."""
    measured = pairs(1.0, ttft_ms_p99=1.2)
    del measured[0][1][TTFT]  # type: ignore[attr-defined]
    assert [effect.metric for effect in effects(measured, RATE, Direction.maximize)] == [RATE]
    assert advice([], RATE) == [f"{RATE} was zero or missing in a measurement: nothing can be said"]


@pytest.mark.parametrize("simulated", [True, False])
def test_what_was_simulated_is_marked(simulated: bool) -> None:  # noqa: FBT001
    """On the table and on every sentence of advice."""
    found = effects(pairs(0.968), RATE, Direction.maximize)
    setting = Setting(
        label="vllm · tp2",
        load=Load(mode=Mode.CONCURRENCY, value=8),
        neighbours=3,
        simulated=simulated,
        file=Path("outputs/i/interference.json"),
    )
    out = Console(file=io.StringIO(), width=100)
    render_interference(out, found, advice(found, RATE), setting)
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert "vllm · tp2 at concurrency 8, alone and beside 3 copies of itself" in text
    assert "-3.2 %" in text
    assert ("SIMULATED: no claim about hardware" in text) is simulated
    assert ("same company (simulated)" in text) is simulated
