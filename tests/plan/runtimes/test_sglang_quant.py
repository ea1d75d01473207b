"""SGLang: every number format is an argument, a note or a refusal with what would work."""

from __future__ import annotations

from typing import Any

import pytest

from autotune.plan.facts import ModelFacts
from autotune.records import Inventory
from autotune.schema import ParallelConfig
from tests.contracts.runtime import DENSE, MLA, MOE
from tests.plan.runtimes.asking import (
    A100,
    AWQ,
    B200,
    FP8,
    GPT_OSS,
    H100,
    L40S,
    LATENT,
    NVFP4,
    UNKNOWN,
    W4AFP8,
    ask,
)

Q, KV, BACKEND = "quantization", "kv_cache_dtype", "attention_backend"


@pytest.mark.parametrize(
    ("words", "facts", "inventory", "args"),
    [
        pytest.param("", DENSE, H100, {}, id="default"),
        pytest.param("gemm=bf16", DENSE, H100, {"dtype": "bfloat16"}, id="gemm bf16"),
        pytest.param("gemm=fp16", DENSE, H100, {"dtype": "float16"}, id="gemm fp16"),
        pytest.param("gemm=fp8", DENSE, H100, {Q: "fp8"}, id="gemm fp8"),
        pytest.param("gemm=fp8 moe=fp8", MOE, H100, {Q: "fp8"}, id="both fp8"),
        pytest.param("gemm=mxfp8", DENSE, B200, {Q: "mxfp8"}, id="gemm mxfp8"),
        pytest.param("moe=mxfp4", MOE, H100, {Q: "mxfp4"}, id="moe mxfp4"),
        pytest.param("moe=mxfp4 gemm=bf16", MOE, A100, {"dtype": "bfloat16", Q: "mxfp4"}, id="moe mxfp4, bf16 beside"),
        pytest.param("moe=nvfp4", MOE, B200, {Q: "nvfp4_online"}, id="moe nvfp4"),
        pytest.param("kv=bf16", DENSE, H100, {KV: "bf16"}, id="kv bf16"),
        pytest.param("kv=fp8", DENSE, H100, {KV: "fp8_e4m3"}, id="kv fp8 is e4m3"),
        pytest.param("kv=fp8_e5m2", DENSE, H100, {KV: "fp8_e5m2"}, id="kv e5m2"),
        pytest.param("kv=fp8_e5m2", MLA, H100, {KV: "fp8_e5m2"}, id="kv e5m2 of MLA"),
        pytest.param("kv=nvfp4", DENSE, B200, {KV: "nvfp4"}, id="kv nvfp4"),
        pytest.param("attention=fp8 kv=fp8", DENSE, H100, {KV: "fp8_e4m3", BACKEND: "fa3"}, id="attention on Hopper"),
        pytest.param("attention=fp8 kv=fp8", DENSE, B200, {KV: "fp8_e4m3", BACKEND: "trtllm_mha"}, id="attention on Blackwell"),
        pytest.param("attention=fp8 kv=fp8", LATENT, B200, {KV: "fp8_e4m3", BACKEND: "trtllm_mla"}, id="attention of MLA on Blackwell"),
        pytest.param("attention=fp8 kv=fp8", DENSE, UNKNOWN, {KV: "fp8_e4m3"}, id="attention on what is unknown"),
        pytest.param("gemm=fp8 kv=fp8 attention=fp8", DENSE, H100, {Q: "fp8", KV: "fp8_e4m3", BACKEND: "fa3"}, id="dynamic-fp8"),
        pytest.param("gemm=fp8 kv=fp8 attention=fp8", FP8, H100, {KV: "fp8_e4m3", BACKEND: "fa3"}, id="dynamic-fp8 on FP8"),
        pytest.param("gemm=bf16 kv=fp8", DENSE, H100, {"dtype": "bfloat16", KV: "fp8_e4m3"}, id="bf16-stable"),
        pytest.param("moe=w4afp8 kv=fp8", W4AFP8, H100, {KV: "fp8_e4m3"}, id="aggressive-moe on W4AFP8"),
        pytest.param("gemm=w4a16", AWQ, H100, {}, id="AWQ as it is"),
        pytest.param("moe=mxfp4", GPT_OSS, H100, {}, id="gpt-oss as it is"),
    ],
)  # fmt: skip
def test_a_format_becomes_arguments(
    words: str, facts: ModelFacts, inventory: Inventory, args: dict[str, Any]
) -> None:
    """What 0.5.23 is told."""
    mapped = ask("sglang", words, facts=facts, inventory=inventory)
    assert (dict(mapped.args), mapped.reasons) == (args, ())


@pytest.mark.parametrize(
    ("words", "facts", "inventory", "reason"),
    [
        pytest.param("gemm=int8", DENSE, H100, "quant.gemm_dtype=int8: needs a compressed-tensors W8A8 checkpoint; choose quant.gemm_dtype=fp8", id="int8"),
        pytest.param("gemm=w4a16", DENSE, H100, "needs an AWQ or GPTQ checkpoint, or runtime.args.quantization=bitsandbytes; choose quant.gemm_dtype=fp8", id="w4a16"),
        pytest.param("gemm=int8", DENSE, A100, "needs a compressed-tensors W8A8 checkpoint; choose quant.gemm_dtype=auto", id="int8 where FP8 is refused too"),
        pytest.param("attention=fp8 kv=fp8", LATENT, H100, "kernels for MLA models compute in 16 bits on compute capability 9.x; choose quant.attention_dtype=auto", id="attention of MLA on Hopper"),
        pytest.param("gemm=w4afp8", DENSE, H100, "quant.gemm_dtype=w4afp8: needs a W4AFP8 checkpoint", id="w4afp8"),
        pytest.param("gemm=nvfp4", DENSE, B200, "quant.gemm_dtype=nvfp4: linear layers need an NVFP4 checkpoint", id="nvfp4"),
        pytest.param("gemm=mxfp4", MOE, H100, "is for experts only on NVIDIA GPUs; choose quant.gemm_dtype=fp8 or auto with quant.moe_dtype=mxfp4", id="mxfp4"),
        pytest.param("gemm=mxfp4", DENSE, H100, "is for experts only on NVIDIA GPUs; choose quant.gemm_dtype=fp8", id="mxfp4 of a dense model"),
        pytest.param("moe=fp8", MOE, H100, "quant.moe_dtype=fp8: SGLang quantizes experts to FP8 with all layers: set quant.gemm_dtype=fp8", id="moe fp8 alone"),
        pytest.param("gemm=fp8 moe=mxfp4", MOE, H100, "quant.moe_dtype=mxfp4: SGLang has one method for the whole model, and quant.gemm_dtype=fp8 takes it", id="they differ"),
        pytest.param("moe=w4afp8", MOE, H100, "quant.moe_dtype=w4afp8: needs a W4AFP8 checkpoint; choose quant.moe_dtype=mxfp4", id="moe w4afp8"),
        pytest.param("moe=mxfp4", DENSE, H100, "quant.moe_dtype=mxfp4: org/model has no experts", id="moe of a dense model"),
        pytest.param("gemm=fp8", DENSE, A100, "quant.gemm_dtype=fp8: needs compute capability 8.9 or newer; A100 has 8.0", id="fp8 on an A100"),
        pytest.param("moe=nvfp4", MOE, H100, "quant.moe_dtype=nvfp4: needs compute capability 10.0 or newer; H100 has 9.0", id="nvfp4 on an H100"),
        pytest.param("kv=nvfp4", DENSE, H100, "quant.kvcache_dtype=nvfp4: needs compute capability 10.0 or newer; H100 has 9.0: choose quant.kvcache_dtype=fp8", id="kv nvfp4 on an H100"),
        pytest.param("kv=nvfp4", LATENT, B200, "quant.kvcache_dtype=nvfp4: no kernel for MLA models decodes it", id="kv nvfp4 of MLA"),
        pytest.param("kv=fp8", LATENT, A100, "quant.kvcache_dtype=fp8: needs compute capability 8.9", id="kv fp8 of MLA on an A100"),
        pytest.param("kv=fp8_e5m2", LATENT, B200, "TRT-LLM's MLA kernels refuse it; choose quant.kvcache_dtype=fp8", id="e5m2 of MLA on Blackwell"),
        pytest.param("attention=fp8", DENSE, H100, "quant.attention_dtype=fp8: follows from an FP8 (e4m3) KV cache: set quant.kvcache_dtype=fp8", id="attention alone"),
        pytest.param("attention=fp8 kv=fp8", DENSE, L40S, "compute in FP8 on compute capability 9.x (fa3) and 10.x (trtllm) only", id="attention on an L40S"),
        pytest.param("gemm=bf16", MLA, H100, "the checkpoint's weights are fp8; choose quant.gemm_dtype=auto or a bf16 checkpoint", id="bf16 of FP8"),
        pytest.param("", NVFP4, H100, "the checkpoint's weights are nvfp4: needs compute capability 10.0", id="NVFP4 checkpoint on an H100"),
        pytest.param("", FP8, A100, "the checkpoint's weights are fp8: needs compute capability 8.9", id="FP8 checkpoint on an A100"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_what_would_work(
    words: str, facts: ModelFacts, inventory: Inventory, reason: str
) -> None:
    """One reason, which names the key."""
    [found] = ask("sglang", words, facts=facts, inventory=inventory).reasons
    assert reason in found


def test_e5m2_on_hopper_costs_the_fast_kernel() -> None:
    """SGLang changes the backend by itself, and the plan says so."""
    assert ask("sglang", "kv=fp8_e5m2").notes == (
        "quant.kvcache_dtype=fp8_e5m2: SGLang gives up FlashAttention 3 for Triton with it",
    )
    assert ask("sglang", "kv=fp8_e5m2", inventory=A100).notes == ()


def test_fp8_attention_and_decode_context_parallelism_need_different_backends() -> None:
    """Except for MLA on Blackwell, where one does both."""
    parallel = ParallelConfig(tp=8, dcp=2)
    [reason] = ask("sglang", "kv=fp8 attention=fp8", facts=MOE, parallel=parallel).reasons
    assert "parallel.dcp=2: the backend that computes FP8 attention does not know it" in reason
    both = ask("sglang", "kv=fp8 attention=fp8", facts=LATENT, inventory=B200, parallel=parallel)
    assert (both.reasons, both.args["attention_backend"]) == ((), "trtllm_mla")
