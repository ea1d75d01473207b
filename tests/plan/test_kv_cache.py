"""KV cache of a request on one GPU against sums that are written out here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autotune.plan.facts import Stored
from autotune.plan.kv_cache import kv_cache_of
from autotune.plan.runtimes.protocol import Sharding
from autotune.schema import KvCacheDtype, QuantConfig
from tests.plan.candidates import facts, split

FP8_CACHE = QuantConfig(kvcache_dtype=KvCacheDtype.fp8)
CACHES: dict[str, tuple[str, QuantConfig, Sharding, dict[str, Any], float]] = {
    "8B: 2 · 32 · 8 · 128 · 2": ("llama3_1_8b", QuantConfig(), split(1), {}, 131_072 * 2048),
    "8B tp2: 4 KV heads": ("llama3_1_8b", QuantConfig(), split(2), {}, 65_536 * 2048),
    "8B tp16: one KV head, repeated": ("llama3_1_8b", QuantConfig(), split(16), {}, 16_384 * 2048),
    "8B pp4: 8 layers": ("llama3_1_8b", QuantConfig(), split(1, layers=4), {}, 32_768 * 2048),
    "8B nvfp4: 4.5 bits": (
        "llama3_1_8b",
        QuantConfig(kvcache_dtype=KvCacheDtype.nvfp4),
        split(1),
        {},
        65_536 * 0.5625 * 2048,
    ),
    "8B fp8 by vLLM's argument": (
        "llama3_1_8b",
        QuantConfig(),
        split(1),
        {"kv_cache_dtype": "fp8_e4m3"},
        65_536 * 2048,
    ),
    "8B fp8 by TensorRT-LLM's option": (
        "llama3_1_8b",
        QuantConfig(),
        split(1),
        {"kv_cache_config.dtype": "fp8"},
        65_536 * 2048,
    ),
    "70B tp4 fp8: 2 · 80 · 2 · 128 · 1": ("llama3_1_70b", FP8_CACHE, split(4), {}, 40_960 * 2048),
    "DeepSeek-V3 tp8: 61 · (512 + 64) · 2 on each": (
        "deepseek_v3",
        QuantConfig(),
        split(8),
        {},
        70_272 * 2048,
    ),
    "DeepSeek-V3 dcp4: a quarter of the tokens": (
        "deepseek_v3",
        QuantConfig(),
        split(8, kv_tokens=4),
        {},
        70_272 * 512,
    ),
    "Qwen3-235B tp8: 2 · 94 · 1 · 128 · 2": ("qwen3_235b_a22b", QuantConfig(), split(8), {}, 48_128 * 2048),
    "gpt-oss-120b: 18 layers of 2 · 8 · 64 · 2, and 18 that hold 128 tokens": (
        "gpt_oss_120b",
        QuantConfig(),
        split(1),
        {},
        36_864 * 2048 + 36_864 * 128,
    ),
    "Gemma 3: 10 layers of 2 · 16 · 128 · 2, and 52 that hold 1,024 tokens": (
        "gemma3_27b",
        QuantConfig(),
        split(1),
        {},
        81_920 * 2048 + 52 * 8192 * 1024,
    ),
}


@pytest.mark.parametrize(("name", "quant", "sharding", "args", "expected"), CACHES.values(), ids=CACHES)
def test_kv_cache_of_a_request(
    name: str, quant: QuantConfig, sharding: Sharding, args: dict[str, Any], expected: float
) -> None:
    """2,048 tokens on one GPU; and so many bytes hold 2,048 tokens."""
    cache = kv_cache_of(facts(name), quant, sharding, args)
    assert cache is not None
    assert cache.gib(2048) * 2**30 == pytest.approx(expected)
    assert cache.tokens(cache.gib(2048) * 1.000001) == 2048
    assert cache.tokens(cache.gib(100) * 1.000001) == 100
    assert cache.tokens(-1.0) == 0


def test_a_checkpoint_with_scales_for_its_cache_is_cached_in_them() -> None:
    """`auto` is what the checkpoint says; with sparse attention it may be less: DeepSeek-V3.2 caches FP8."""
    scaled = replace(facts("llama3_1_8b"), stored=Stored(method="fp8", gemm_dtype="fp8", kvcache_dtype="fp8"))
    cache = kv_cache_of(scaled, QuantConfig(), split(1), {})
    assert cache is not None
    assert (cache.full, cache.floor) == (65_536, 1)
    latent = facts("deepseek_v3")
    sparse = replace(latent, index_topk=2048)
    floors = [
        found.floor
        for known, args in ((latent, {}), (sparse, {}), (sparse, {"kv_cache_dtype": "bfloat16"}))
        if (found := kv_cache_of(known, QuantConfig(), split(1), args))
    ]
    assert floors == [1, 0.5, 1]


def test_layers_of_linear_attention_cache_nothing() -> None:
    """Three of four layers keep a state of their own instead."""
    whole = kv_cache_of(facts("llama3_1_8b"), QuantConfig(), split(1), {})
    some = kv_cache_of(replace(facts("llama3_1_8b"), cacheless_layers=24), QuantConfig(), split(1), {})
    assert whole is not None
    assert some is not None
    assert some.full == whole.full / 4
