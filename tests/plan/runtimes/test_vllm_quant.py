"""vLLM: every number format is an argument, a note or a refusal with what would work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autotune.plan.facts import ModelFacts
from autotune.records import Inventory
from tests.contracts.runtime import DENSE, MLA, MOE, gpus
from tests.plan.runtimes.asking import (
    A100,
    AWQ,
    B200,
    CPU,
    FP8,
    FP8_KV,
    GPT_OSS,
    H100,
    L40S,
    LATENT,
    NOWHERE,
    NVFP4,
    SPARSE,
    UNKNOWN,
    UNREAD,
    W4AFP8,
    ask,
    versions,
)

ONLINE = "quantization"
PARTS = "quantization_config"


@pytest.mark.parametrize("version", versions("vllm"))
@pytest.mark.parametrize(
    ("words", "facts", "inventory", "args"),
    [
        pytest.param("", DENSE, H100, {}, id="default"),
        pytest.param("gemm=bf16", DENSE, H100, {"dtype": "bfloat16"}, id="gemm bf16"),
        pytest.param("gemm=fp16", DENSE, H100, {"dtype": "float16"}, id="gemm fp16"),
        pytest.param("gemm=fp8", DENSE, H100, {ONLINE: "fp8_per_tensor"}, id="gemm fp8"),
        pytest.param("gemm=fp8", DENSE, L40S, {ONLINE: "fp8_per_tensor"}, id="gemm fp8 from 8.9 on"),
        pytest.param("gemm=fp8", MOE, H100, {ONLINE: "fp8_per_tensor"}, id="experts follow"),
        pytest.param("gemm=mxfp8", DENSE, B200, {ONLINE: "mxfp8"}, id="gemm mxfp8"),
        pytest.param("gemm=mxfp4", DENSE, H100, {ONLINE: "mxfp4"}, id="gemm mxfp4"),
        pytest.param("gemm=fp8", NOWHERE, H100, {ONLINE: "fp8_per_tensor"}, id="unknown model"),
        pytest.param("moe=fp8", MOE, H100, {ONLINE: "online", PARTS: {"moe": "fp8_per_tensor"}}, id="moe fp8"),
        pytest.param("moe=mxfp4", MOE, H100, {ONLINE: "online", PARTS: {"moe": "mxfp4"}}, id="moe mxfp4"),
        pytest.param("moe=nvfp4", MOE, B200, {ONLINE: "nvfp4_per_token"}, id="moe nvfp4"),
        pytest.param("gemm=fp8 moe=fp8", MOE, H100, {ONLINE: "fp8_per_tensor"}, id="both fp8"),
        pytest.param("gemm=mxfp4 moe=mxfp4", MOE, H100, {ONLINE: "mxfp4"}, id="both mxfp4"),
        pytest.param("gemm=fp8 moe=mxfp4", MOE, H100, {ONLINE: "online", PARTS: {"linear": "fp8_per_tensor", "moe": "mxfp4"}}, id="they differ"),
        pytest.param("gemm=mxfp8 moe=nvfp4", MOE, B200, {ONLINE: "online", PARTS: {"linear": "mxfp8", "moe": "nvfp4_per_token"}}, id="mxfp8 and nvfp4"),
        pytest.param("gemm=bf16 moe=mxfp4", MOE, H100, {"dtype": "bfloat16", ONLINE: "online", PARTS: {"moe": "mxfp4"}}, id="bf16 and mxfp4"),
        pytest.param("kv=fp8", DENSE, H100, {"kv_cache_dtype": "fp8"}, id="kv fp8"),
        pytest.param("kv=fp8", DENSE, A100, {"kv_cache_dtype": "fp8"}, id="kv fp8 by FlashInfer"),
        pytest.param("kv=fp8", LATENT, L40S, {"kv_cache_dtype": "fp8"}, id="kv fp8 of MLA"),
        pytest.param("kv=fp8", DENSE, CPU, {"kv_cache_dtype": "fp8", "enforce_eager": True}, id="kv fp8 on a CPU"),
        pytest.param("kv=fp8_e5m2", DENSE, H100, {"kv_cache_dtype": "fp8_e5m2"}, id="kv e5m2"),
        pytest.param("kv=fp8_e5m2", AWQ, A100, {"kv_cache_dtype": "fp8_e5m2"}, id="kv e5m2 of AWQ"),
        pytest.param("kv=nvfp4", DENSE, H100, {"kv_cache_dtype": "nvfp4"}, id="kv nvfp4, unpacked"),
        pytest.param("kv=nvfp4", GPT_OSS, B200, {"kv_cache_dtype": "nvfp4"}, id="kv nvfp4 of heads of 64"),
        pytest.param("kv=bf16", DENSE, H100, {}, id="kv bf16 is the default"),
        pytest.param("kv=bf16", FP8_KV, H100, {"kv_cache_dtype": "bfloat16"}, id="kv bf16 against FP8 scales"),
        pytest.param("kv=bf16", SPARSE, H100, {"kv_cache_dtype": "bfloat16"}, id="kv bf16 of sparse MLA, which caches FP8 by default"),
        pytest.param("attention=fp8 kv=fp8", DENSE, H100, {"kv_cache_dtype": "fp8"}, id="attention by FlashAttention 3"),
        pytest.param("attention=fp8 kv=fp8", DENSE, B200, {"kv_cache_dtype": "fp8"}, id="attention by TRT-LLM kernels"),
        pytest.param("attention=fp8 kv=fp8", DENSE, L40S, {"kv_cache_dtype": "fp8", "attention_backend": "TRITON_ATTN"}, id="attention by Triton"),
        pytest.param("attention=fp8 kv=fp8", DENSE, UNKNOWN, {"kv_cache_dtype": "fp8"}, id="attention on what is unknown"),
        pytest.param("attention=fp8 kv=fp8", LATENT, H100, {"kv_cache_dtype": "fp8"}, id="MLA decodes in FP8"),
        pytest.param("attention=fp8 kv=fp8", LATENT, B200, {"kv_cache_dtype": "fp8", "attention_config": {"use_prefill_query_quantization": True}}, id="MLA prefill in FP8"),
        pytest.param("gemm=fp8 kv=fp8 attention=fp8", DENSE, H100, {ONLINE: "fp8_per_tensor", "kv_cache_dtype": "fp8"}, id="dynamic-fp8"),
        pytest.param("gemm=fp8 kv=fp8 attention=fp8", FP8, H100, {"kv_cache_dtype": "fp8"}, id="dynamic-fp8 on FP8"),
        pytest.param("gemm=bf16 kv=fp8", DENSE, H100, {"dtype": "bfloat16", "kv_cache_dtype": "fp8"}, id="bf16-stable"),
        pytest.param("moe=w4afp8 kv=fp8", W4AFP8, H100, {"kv_cache_dtype": "fp8"}, id="aggressive-moe on W4AFP8"),
        pytest.param("gemm=w4a16", AWQ, H100, {}, id="AWQ as it is"),
        pytest.param("gemm=int4", AWQ, H100, {}, id="int4 is w4a16"),
        pytest.param("gemm=bf16 moe=mxfp4", GPT_OSS, H100, {"dtype": "bfloat16"}, id="gpt-oss as it is"),
        pytest.param("", FP8, A100, None, id="FP8 checkpoint on an A100"),
    ],
)  # fmt: skip
def test_a_format_becomes_arguments(
    words: str, facts: ModelFacts, inventory: Inventory, args: dict[str, Any] | None, version: str
) -> None:
    """What 0.32.0 and 0.33.0 are told; None where that is a refusal."""
    mapped = ask("vllm", words, facts=facts, inventory=inventory, version=version)
    assert (dict(mapped.args) if not mapped.reasons else None) == args


@pytest.mark.parametrize(
    ("words", "facts", "inventory", "reason"),
    [
        pytest.param("gemm=int8", DENSE, H100, "quant.gemm_dtype=int8: linear layers need a compressed-tensors W8A8 checkpoint; choose quant.gemm_dtype=fp8", id="int8"),
        pytest.param("gemm=w4a16", DENSE, H100, "quant.gemm_dtype=w4a16: needs an AWQ, GPTQ or compressed-tensors checkpoint", id="w4a16"),
        pytest.param("gemm=w4afp8", DENSE, H100, "quant.gemm_dtype=w4afp8: needs a compressed-tensors W4A8-FP8 checkpoint", id="w4afp8"),
        pytest.param("gemm=nvfp4", DENSE, B200, "quant.gemm_dtype=nvfp4: linear layers need an NVFP4 checkpoint", id="nvfp4"),
        pytest.param("gemm=fp16", replace(DENSE, model_type="gemma3_text"), H100, "quant.gemm_dtype=fp16: gemma3_text models are unstable in it: choose quant.gemm_dtype=bf16", id="fp16 of Gemma 3"),
        pytest.param("gemm=int8", DENSE, A100, "choose quant.gemm_dtype=mxfp4", id="int8 where FP8 is refused too"),
        pytest.param("kv=fp8", replace(GPT_OSS, model_type="gpt_oss"), A100, "needs compute capability 8.9", id="fp8 cache of gpt-oss, whose attention sinks FlashInfer lacks there"),
        pytest.param("moe=nvfp4", MOE, gpus(capability=12.0, model="RTX"), "has kernels for compute capability 10.x only; choose quant.moe_dtype=mxfp4", id="moe nvfp4 on 12.x"),
        pytest.param("moe=w4afp8", MOE, H100, "quant.moe_dtype=w4afp8: needs a compressed-tensors W4A8-FP8 checkpoint; choose quant.moe_dtype=fp8", id="moe w4afp8"),
        pytest.param("moe=fp8", DENSE, H100, "quant.moe_dtype=fp8: org/model has no experts", id="moe of a dense model"),
        pytest.param("gemm=fp8", DENSE, A100, "quant.gemm_dtype=fp8: needs compute capability 8.9 or newer; A100 has 8.0: choose quant.gemm_dtype=auto", id="fp8 on an A100"),
        pytest.param("gemm=mxfp8", DENSE, H100, "needs compute capability 10.0 or newer; H100 has 9.0", id="mxfp8 on an H100"),
        pytest.param("moe=nvfp4", MOE, H100, "quant.moe_dtype=nvfp4: needs compute capability 10.0 or newer; H100 has 9.0", id="nvfp4 on an H100"),
        pytest.param("moe=fp8", MOE, A100, "quant.moe_dtype=fp8: needs compute capability 8.9 or newer; A100 has 8.0", id="moe fp8 on an A100"),
        pytest.param("kv=fp8", LATENT, A100, "quant.kvcache_dtype=fp8: needs compute capability 8.9 or newer; A100 has 8.0", id="kv fp8 of MLA on an A100"),
        pytest.param("kv=fp8_e5m2", MLA, H100, "quant.kvcache_dtype=fp8_e5m2: no kernel for MLA models takes it; choose quant.kvcache_dtype=fp8", id="e5m2 of MLA"),
        pytest.param("kv=fp8_e5m2", FP8, H100, "is not supported with FP8 checkpoints or FP8 KV scales", id="e5m2 of FP8"),
        pytest.param("kv=fp8_e5m2", FP8_KV, H100, "is not supported with FP8 checkpoints or FP8 KV scales", id="e5m2 with FP8 KV scales"),
        pytest.param("kv=nvfp4", MLA, B200, "quant.kvcache_dtype=nvfp4: no kernel for MLA models takes it", id="kv nvfp4 of MLA"),
        pytest.param("kv=nvfp4", GPT_OSS, H100, "misreads heads of 64 below compute capability 10.0", id="kv nvfp4 of heads of 64"),
        pytest.param("gemm=fp16 kv=bf16", DENSE, H100, "quant.kvcache_dtype=bf16: must be the model's own type, fp16", id="kv bf16 of fp16"),
        pytest.param("attention=fp8", DENSE, H100, "quant.attention_dtype=fp8: follows from an FP8 (e4m3) KV cache: set quant.kvcache_dtype=fp8", id="attention alone"),
        pytest.param("attention=fp8 kv=nvfp4", DENSE, B200, "set quant.kvcache_dtype=fp8", id="attention of nvfp4"),
        pytest.param("attention=fp8 kv=fp8", DENSE, A100, "quant.attention_dtype=fp8: needs compute capability 8.9 or newer; A100 has 8.0", id="attention on an A100"),
        pytest.param("attention=fp8 kv=fp8", LATENT, L40S, "MLA kernels compute in FP8 on compute capability 9.x and 10.x only", id="MLA attention on an L40S"),
        pytest.param("gemm=bf16", FP8, H100, "quant.gemm_dtype=bf16: the checkpoint's weights are fp8; choose quant.gemm_dtype=auto or a bf16 checkpoint", id="bf16 of FP8"),
        pytest.param("gemm=fp8", AWQ, H100, "the checkpoint's weights are w4a16; choose quant.gemm_dtype=auto or an fp8 checkpoint", id="fp8 of AWQ"),
        pytest.param("moe=w4afp8", MLA, H100, "quant.moe_dtype=w4afp8: the checkpoint's experts are fp8; choose quant.moe_dtype=auto or a w4afp8 checkpoint", id="w4afp8 of FP8"),
        pytest.param("moe=fp8", GPT_OSS, H100, "the checkpoint's experts are mxfp4", id="fp8 of gpt-oss"),
        pytest.param("", FP8, A100, "the checkpoint's weights are fp8: needs compute capability 8.9 or newer; A100 has 8.0", id="FP8 checkpoint on an A100"),
        pytest.param("", NVFP4, H100, "the checkpoint's weights are nvfp4: needs compute capability 10.0 or newer; H100 has 9.0", id="NVFP4 checkpoint on an H100"),
        pytest.param("", W4AFP8, L40S, "the checkpoint's experts are w4afp8: needs compute capability 9.0", id="W4AFP8 checkpoint on an L40S"),
        pytest.param("gemm=fp8", DENSE, CPU, "quant.gemm_dtype=fp8: vLLM's CPU build cannot quantize weights", id="fp8 on a CPU"),
        pytest.param("moe=mxfp4", MOE, CPU, "quant.moe_dtype=mxfp4: vLLM's CPU build cannot quantize weights", id="moe on a CPU"),
        pytest.param("kv=nvfp4", DENSE, CPU, "vLLM's CPU build has no NVFP4", id="kv nvfp4 on a CPU"),
        pytest.param("attention=fp8 kv=fp8", DENSE, CPU, "vLLM's CPU build has no FP8 attention", id="attention on a CPU"),
        pytest.param("", FP8, CPU, "the checkpoint's weights are fp8, which vLLM's CPU build cannot use", id="FP8 checkpoint on a CPU"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_what_would_work(
    words: str, facts: ModelFacts, inventory: Inventory, reason: str
) -> None:
    """One reason, which names the key."""
    [found] = ask("vllm", words, facts=facts, inventory=inventory).reasons
    assert reason in found


@pytest.mark.parametrize(
    ("words", "facts", "inventory", "note"),
    [
        pytest.param("gemm=w4a16", AWQ, H100, "quant.gemm_dtype=w4a16: the checkpoint is already awq (w4a16): no --quantization", id="stored"),
        pytest.param("moe=w4afp8", W4AFP8, H100, "the checkpoint is already compressed-tensors (w4afp8): no --quantization", id="stored experts"),
        pytest.param("gemm=fp8", UNREAD, H100, "what the checkpoint stores is unknown: judged as not quantized", id="unread"),
        pytest.param("gemm=fp8", DENSE, UNKNOWN, "compute capability unknown: not checked", id="unknown GPU"),
        pytest.param("", FP8, UNKNOWN, "compute capability unknown: not checked", id="unknown GPU, FP8 checkpoint"),
        pytest.param("kv=bf16", DENSE, H100, "quant.kvcache_dtype=bf16: the model's own type, which is the default", id="kv bf16"),
        pytest.param("attention=fp8 kv=fp8", DENSE, H100, "quant.attention_dtype=fp8: follows from the FP8 KV cache, with FlashAttention 3", id="attention"),
        pytest.param("attention=fp8 kv=fp8", LATENT, H100, "prefill stays in 16 bits below 10.0", id="MLA attention"),
    ],
)  # fmt: skip
def test_what_arguments_do_not_say_is_noted(
    words: str, facts: ModelFacts, inventory: Inventory, note: str
) -> None:
    """Nothing is dropped in silence."""
    mapped = ask("vllm", words, facts=facts, inventory=inventory)
    assert mapped.reasons == ()
    assert any(note in found for found in mapped.notes)


@pytest.mark.parametrize("inventory", [H100, UNKNOWN], ids=["known", "unknown"])
def test_nothing_is_said_of_hardware_that_did_not_matter(inventory: Inventory) -> None:
    """Without a format that needs checking there is no note."""
    assert ask("vllm", inventory=inventory).notes == ()


def test_what_was_measured_is_not_judged() -> None:
    """A replayed row ran, wherever that was."""
    for words, facts in (("gemm=fp8", DENSE), ("", FP8), ("kv=fp8", MLA)):
        assert ask("vllm", words, facts=facts, inventory=A100, deploy="replay").reasons == ()


def test_an_origin_names_every_field_that_an_argument_says() -> None:
    """So that a note on what wins over it is whole."""
    mapped = ask("vllm", "gemm=fp8 moe=mxfp4", facts=MOE)
    assert mapped.origin["quantization"] == "quant.gemm_dtype=fp8, quant.moe_dtype=mxfp4"


def test_fp8_attention_takes_the_kv_cache_of_an_explicit_argument() -> None:
    """`runtime.args` count as presets do."""
    assert ask("vllm", "attention=fp8", kv_cache_dtype="fp8_e4m3").reasons == ()
    assert len(ask("vllm", "attention=fp8", kv_cache_dtype="fp8_e5m2").reasons) == 1
