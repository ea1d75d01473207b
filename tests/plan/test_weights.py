"""Weights on one GPU against sums that are written out here, GiB = 2**30 bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune.plan.facts import Stored
from autotune.plan.runtimes.protocol import Layout, Sharding
from autotune.plan.weights import weights_of
from autotune.schema import GemmDtype, MoeDtype, QuantConfig
from tests.plan.candidates import FP8, facts, layout, split

DEEPSEEK_EXPERTS = 58 * 256 * 3 * 7168 * 2048
DEEPSEEK_DENSE = 3 * 3 * 7168 * 18432
DEEPSEEK_MATRIX = 129280 * 7168  # embeddings, and the output head
DEEPSEEK_SHARED = 58 * 2 * 3 * 7168 * 2048  # two experts at most
DEEPSEEK_REST = 671_026_419_200 - DEEPSEEK_EXPERTS - DEEPSEEK_DENSE - 2 * DEEPSEEK_MATRIX
QWEN_EXPERTS = 94 * 128 * 3 * 4096 * 1536
QWEN_MATRIX = 151_936 * 4096
QWEN_ATTENTION = 94 * 2 * 4096 * 128 * (64 + 4)
QWEN_REST = 235_093_634_560 - QWEN_EXPERTS - 2 * QWEN_MATRIX - QWEN_ATTENTION  # routers and norms
OSS_EXPERTS = 36 * 128 * 3 * 2880 * 2880

WEIGHTS = {
    "8B tp1: 8.03e9 × 2": ("llama3_1_8b", None, layout(1), 8_030_261_248 * 2),
    "8B tp2: half": ("llama3_1_8b", None, layout(2), 8_030_261_248),
    "8B tp2 pp2: a quarter": (
        "llama3_1_8b",
        None,
        Layout(gpus=4, world_size=4, sharding=split(2, layers=2)),
        8_030_261_248 * 2 / 4,
    ),
    "70B tp2: 7.06e10 × 2 / 2": ("llama3_1_70b", None, layout(2), 70_553_706_496),
    "70B tp4": ("llama3_1_70b", None, layout(4), 70_553_706_496 / 2),
    "70B tp8": ("llama3_1_70b", None, layout(8), 70_553_706_496 / 4),
    "70B tp4 fp8: 1 byte, two matrices of 128,256 × 8,192 stay at 2": (
        "llama3_1_70b",
        FP8,
        layout(4),
        (70_553_706_496 + 2 * 128_256 * 8192) / 4,
    ),
    "8B mxfp8: 8.25 bits": (
        "llama3_1_8b",
        QuantConfig(gemm_dtype=GemmDtype.mxfp8),
        layout(1),
        (8_030_261_248 - 2 * 128_256 * 4096) * 8.25 / 8 + 2 * 128_256 * 4096 * 2,
    ),
    "DeepSeek-V3 tp8: stored in fp8, two matrices of 129,280 × 7,168 at 2 bytes": (
        "deepseek_v3",
        None,
        layout(8),
        (671_026_419_200 + 2 * DEEPSEEK_MATRIX) / 8,
    ),
    "DeepSeek-V3 attention DP 8: attention and embeddings whole, two shared experts and the head split": (
        "deepseek_v3",
        None,
        layout(8, attention=1, kv_heads=1, caches=8),
        DEEPSEEK_REST
        - DEEPSEEK_SHARED
        + 2 * DEEPSEEK_MATRIX
        + (DEEPSEEK_EXPERTS + DEEPSEEK_DENSE + DEEPSEEK_SHARED + 2 * DEEPSEEK_MATRIX) / 8,
    ),
    "Mixtral tp2: 4.67e10 × 2 / 2": ("mixtral_8x7b", None, layout(2), 46_702_792_704),
    "Mixtral with fp8 experts: 32 × 8 × 3 × 4,096 × 14,336 at 1 byte": (
        "mixtral_8x7b",
        QuantConfig(moe_dtype=MoeDtype.fp8),
        layout(1),
        46_702_792_704 * 2 - 32 * 8 * 3 * 4096 * 14336,
    ),
    "Mixtral fp8: the experts follow the linear layers": (
        "mixtral_8x7b",
        FP8,
        layout(1),
        46_702_792_704 + 2 * 32_000 * 4096,
    ),
    "Qwen3-235B tp8 ep8": ("qwen3_235b_a22b", None, layout(8), 235_093_634_560 * 2 / 8),
    "Qwen3-235B, eight vLLM replicas that share the experts": (
        "qwen3_235b_a22b",
        None,
        Layout(gpus=8, world_size=1, sharding=Sharding(experts=8, caches=8)),
        2 * (QWEN_EXPERTS / 8 + QWEN_ATTENTION + QWEN_REST + 2 * QWEN_MATRIX),
    ),
    "gpt-oss-120b: experts of 4.25 bits, the rest at 2 bytes; OpenAI's model card says 60.8 GiB": (
        "gpt_oss_120b",
        None,
        layout(1),
        OSS_EXPERTS * 4.25 / 8 + (116_829_156_672 - OSS_EXPERTS) * 2,
    ),
    "Gemma 3: one matrix is input and output": ("gemma3_27b", None, layout(1), 27_432_406_640 * 2),
    "Gemma 3 fp8: one matrix of 262,208 × 5,376 at 2 bytes": (
        "gemma3_27b",
        FP8,
        layout(1),
        27_432_406_640 + 262_208 * 5376,
    ),
}


@pytest.mark.parametrize(("name", "quant", "where", "expected"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights(name: str, quant: QuantConfig | None, where: Layout, expected: float) -> None:
    """Parts × bytes / ranks."""
    weights = weights_of(facts(name), quant or QuantConfig(), where)
    assert weights is not None
    assert weights.gib * 2**30 == pytest.approx(expected, rel=1e-9)
    assert weights.floor_gib == weights.gib


def test_the_weights_of_gpt_oss_are_those_of_its_model_card() -> None:
    """Published: 60.8 GiB and 12.8 GiB. Source: gpt-oss model card, table 1."""
    for name, published in (("gpt_oss_120b", 60.8), ("gpt_oss_20b", 12.8)):
        weights = weights_of(facts(name), QuantConfig(), layout(1))
        assert weights is not None
        assert weights.gib == pytest.approx(published, abs=0.05)


def test_a_checkpoints_size_is_believed_and_bounded_below() -> None:
    """16 GiB of files for 14.96 counted: 16 is likely; the bound stays, less one layer of 33."""
    read = replace(facts("llama3_1_8b"), source="its config.json", weights_bytes=16 * 2**30)
    weights = weights_of(read, QuantConfig(), layout(1))
    assert weights is not None
    assert weights.gib == pytest.approx(16)
    assert weights.floor_gib == pytest.approx(14.9575 * 32 / 33, rel=1e-4)
    small = weights_of(replace(read, weights_bytes=8 * 2**30), QuantConfig(), layout(2))
    assert small is not None
    assert small.gib == pytest.approx(4)
    assert small.floor_gib == pytest.approx(4 * 32 / 33)
    online = weights_of(read, FP8, layout(1))
    assert online is not None
    assert online.gib == pytest.approx((8_030_261_248 + 2 * 128_256 * 4096) / 2**30)


def test_parameters_follow_from_a_checkpoint_of_16_bit_weights() -> None:
    """Two bytes each; of quantized files nothing follows."""
    read = replace(facts("llama3_1_8b"), params=None, weights_bytes=8_030_261_248 * 2)
    weights = weights_of(read, QuantConfig(), layout(1))
    assert weights is not None
    assert weights.gib == pytest.approx(14.9575, rel=1e-4)
    packed = replace(read, stored=Stored(method="awq", gemm_dtype="w4a16"))
    assert weights_of(packed, QuantConfig(), layout(1)) is None


def test_fp32_files_are_loaded_at_16_bits() -> None:
    """Twice the bytes on disk are not twice the memory."""
    wide = Stored(method="none", gemm_dtype="fp32")
    read = replace(facts("llama3_1_8b"), weights_bytes=8_030_261_248 * 4, stored=wide)
    weights = weights_of(read, QuantConfig(), layout(1))
    assert weights is not None
    assert weights.gib == pytest.approx(14.9575, rel=1e-4)
