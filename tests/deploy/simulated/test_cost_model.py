"""The cost model against arithmetic done by hand."""

from __future__ import annotations

from typing import Any

import pytest

from autotune.deploy.simulated.cost_model import KV_BYTES, WEIGHT_BYTES, Deployment, ModelFacts
from autotune.records import GpuSpec
from tests.deploy.simulated.facts import GPU, MODEL


def deployment(engine: str = "vllm", **layout: Any) -> Deployment:
    """Llama-3.1-8B on H100s."""
    return Deployment(engine=engine, model=ModelFacts(**MODEL), gpu=GpuSpec(**GPU), **layout)


def test_one_decode_on_one_gpu_is_bound_by_memory() -> None:
    """Weights 16.06 GB and 101 tokens of 131,072 B over 3350 GB/s · 0.8 = 5.997 ms, and 1 ms of host time.

    16,060,522,496 + 101 · 131,072 = 16,073,760,768 B; / 2.68e12 B/s = 5.9977 ms.
    """
    assert deployment().step_s([(1, 100)]) == pytest.approx(5.9977e-3 + 1e-3, rel=1e-4)


def test_a_long_prefill_is_bound_by_compute() -> None:
    """8192 tokens: 2 · 8.03e9 · 8192 + 4 · 32 · 32 · 128 · 8192²/2 = 1.3157e14 + 1.7592e13 = 1.49160e14 FLOP.

    Over 989e12 · 0.6 = 5.934e14 FLOP/s that is 251.4 ms.
    """
    assert deployment().step_s([(8192, 0)]) == pytest.approx(0.2514 + 1e-3, rel=1e-3)


def test_tensor_parallel_communication() -> None:
    """tp 2, one decode: half the weights 2.996 ms; 64 all-reduces of 10 µs and 8,192 B / 450 GB/s each.

    (8,030,261,248 + 101 · 65,536) / 2.68e12 = 2.9988 ms; 64 · (10 µs + 18.2 ns) = 0.6412 ms; host 1 ms.
    """
    assert deployment(tp=2).step_s([(1, 100)]) == pytest.approx(2.9988e-3 + 0.6412e-3 + 1e-3, rel=1e-4)


def test_pipeline_stages_add_no_speed() -> None:
    """Each of two stages does half the work, one after the other, and a hop of 20 µs."""
    one, two = deployment().step_s([(1, 100)]), deployment(pp=2).step_s([(1, 100)])
    assert two == pytest.approx(one + 20e-6, rel=1e-6)


def test_eight_bits_halve_weights_and_double_compute() -> None:
    """FP8: 8.03 GB read for a decode; twice the FLOP/s for a prefill (1979 against 989 TFLOP/s)."""
    fp8 = deployment(weight_bytes=1)
    assert fp8.weights_per_gpu == MODEL["params"]
    assert fp8.step_s([(8192, 0)]) - 1e-3 == pytest.approx(0.2514 * 989 / 1979, rel=1e-3)


def test_weights_of_four_bits_are_computed_in_sixteen() -> None:
    """A long prefill is no faster with half a byte a weight; a decode reads a quarter: 4.015 GB."""
    small = deployment(weight_bytes=0.5)
    assert small.step_s([(8192, 0)]) == pytest.approx(0.2514 + 1e-3, rel=1e-3)
    assert small.step_s([(1, 0)]) == pytest.approx((4_015_130_624 + 131_072) / 2.68e12 + 1e-3, rel=1e-6)


def test_a_batch_reads_the_weights_once() -> None:
    """8 decodes at 1000 tokens: 16.0605 GB of weights, 8 · 1001 · 131,072 B = 1.0496 GB; 6.3844 ms + 1 ms."""
    assert deployment().step_s([(1, 1000)] * 8) == pytest.approx(6.3844e-3 + 1e-3, rel=1e-4)


def test_a_slower_link_slows_a_prefill() -> None:
    """tp 2, 1000 tokens: 64 · (10 µs + 8,192,000 B / 450 GB/s) = 1.805 ms; at 50 GB/s 11.126 ms."""
    slow = Deployment(
        engine="vllm", model=ModelFacts(**MODEL), gpu=GpuSpec(**{**GPU, "link_gb_per_s": 50}), tp=2
    )
    more = slow.step_s([(1000, 0)]) - deployment(tp=2).step_s([(1000, 0)])
    assert more == pytest.approx(11.126e-3 - 1.805e-3, rel=1e-3)


def test_the_two_engines_differ_by_what_noise_does_not_hide() -> None:
    """Host times of 1 and 0.5 ms: at tp 2 a decode is 12 % longer, four times the noise of a run (3 %)."""
    vllm, sglang = (deployment(engine, tp=2).step_s([(1, 128)] * 4) for engine in ("vllm", "sglang"))
    assert vllm / sglang == pytest.approx(1.12, abs=0.01)


def test_every_format_has_a_size() -> None:
    """Between half a byte and two."""
    assert all(0.5 <= size <= 2 for size in (*WEIGHT_BYTES.values(), *KV_BYTES.values()))


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ({}, 131_072),
        ({"tp": 2}, 65_536),
        ({"tp": 8}, 16_384),
        ({"tp": 16}, 16_384),
        ({"kv_bytes": 1}, 65_536),
    ],
    ids=["one gpu", "tp 2", "tp 8", "heads are replicated beyond 8", "fp8"],
)
def test_bytes_of_a_token_in_the_cache(layout: dict[str, Any], expected: int) -> None:
    """2 · 32 layers · 8 KV heads · 128 · 2 B = 131,072 B, sharded by heads."""
    assert deployment(**layout).kv_token_bytes == expected


def test_capacity_by_each_engines_own_meaning_of_its_fraction() -> None:
    """vLLM: (80 · 0.92 - 3) GiB - 16.06 GB = 59.75e9 B / 131,072 = 455,866 tokens; SGLang keeps its 3 GiB."""
    vllm = deployment().kv_capacity_tokens(0.92)
    assert vllm == int((77 * 2**30 - 6.4 * 2**30 - 16_060_522_496) // 131_072)
    assert deployment("sglang").kv_capacity_tokens(0.92) == vllm + 3 * 2**30 // 131_072
