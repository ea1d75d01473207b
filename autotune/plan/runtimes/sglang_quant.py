"""SGLang: number formats. One `--quantization` method for the whole model, some of them for experts only.

Source: SGLang 0.5.23 arg_groups/choices.py, arg_groups/kv_cache_hook.py, arg_groups/overrides.py,
arg_groups/attention_hook.py, arg_groups/model_override_base.py and layers/quantization.
"""

from __future__ import annotations

from typing import Any

from autotune.plan.runtimes import stored
from autotune.plan.runtimes.capability import WEIGHT_FLOORS, capability_of, checked, nearest, too_old
from autotune.plan.runtimes.mapping import Cell, Refusal, Rule, Told, explicit, with_experts
from autotune.plan.runtimes.protocol import Setup
from autotune.schema import GemmDtype, KvCacheDtype, MoeDtype

DTYPES = {GemmDtype.bf16: "bfloat16", GemmDtype.fp16: "float16"}
ONLINE_GEMM = {GemmDtype.fp8: "fp8", GemmDtype.mxfp8: "mxfp8"}  # linear layers and experts
ONLINE_MOE = {MoeDtype.mxfp4: "mxfp4", MoeDtype.nvfp4: "nvfp4_online"}  # experts only
CHECKPOINT_ONLY = {
    "int8": "needs a compressed-tensors W8A8 checkpoint",
    "w4a16": "needs an AWQ or GPTQ checkpoint, or runtime.args.quantization=bitsandbytes",
    "w4afp8": "needs a W4AFP8 checkpoint",
    "nvfp4": "linear layers need an NVFP4 checkpoint",
    "mxfp4": "is for experts only on NVIDIA GPUs",
}
NO_W4AFP8 = "needs a W4AFP8 checkpoint"
# FlashInfer; Triton, to which MLA, attention sinks and shared tokens are left, needs FP8 instructions.
FP8_KV_FLOOR = 8.0
FP8_KV_FLOOR_TRITON = 8.9
SINKS = frozenset({"gpt_oss"})


def _gemm(value: Any, setup: Setup) -> Cell:
    kept = stored.kept("gemm_dtype", value, setup)
    if kept is not None:
        return kept
    if value.value in CHECKPOINT_ONLY:
        experts = value is GemmDtype.mxfp4 and not setup.facts.dense
        instead = nearest(setup, "quant.gemm_dtype", "fp8") + (
            " or auto with quant.moe_dtype=mxfp4" if experts else ""
        )
        return Refusal(reason=f"{CHECKPOINT_ONLY[value.value]}; {instead}")
    old = too_old(setup, WEIGHT_FLOORS.get(value.value))
    if old:
        return Refusal(reason=f"{old}: {nearest(setup, 'quant.gemm_dtype', 'fp8')}")
    return {"dtype": DTYPES[value]} if value in DTYPES else {"quantization": ONLINE_GEMM[value]}


def _moe(value: Any, setup: Setup) -> Cell:
    """Experts differ from the linear layers only by the methods that are for experts alone."""
    kept = stored.kept("moe_dtype", value, setup)
    if kept is not None:
        return kept
    if value is MoeDtype.w4afp8:
        return Refusal(reason=f"{NO_W4AFP8}; {nearest(setup, 'quant.moe_dtype', 'nvfp4', 'mxfp4')}")
    old = too_old(setup, WEIGHT_FLOORS[value.value])
    if old:
        return Refusal(reason=f"{old}: choose quant.moe_dtype=auto")
    gemm = setup.config.quant.gemm_dtype
    if value is MoeDtype.fp8:
        if gemm is GemmDtype.fp8:
            return {"quantization": "fp8"}
        return Refusal(reason="SGLang quantizes experts to FP8 with all layers: set quant.gemm_dtype=fp8")
    if gemm in ONLINE_GEMM:
        return Refusal(
            reason=f"SGLang has one method for the whole model, and quant.gemm_dtype={gemm.value} takes it: "
            "set quant.gemm_dtype=auto"
        )
    return {"quantization": ONLINE_MOE[value]}


def _kv_cache(value: Any, setup: Setup) -> Cell:
    """There is no plain `fp8`; e4m3 is the native one."""
    triton = setup.facts.mla or setup.facts.model_type in SINKS or setup.config.parallel.dcp > 1
    floor = FP8_KV_FLOOR_TRITON if triton else FP8_KV_FLOOR
    if value is KvCacheDtype.bf16:
        return {"kv_cache_dtype": "bf16"}
    if value is KvCacheDtype.nvfp4:
        if setup.facts.mla:
            return Refusal(reason="no kernel for MLA models decodes it; choose quant.kvcache_dtype=fp8")
        if setup.config.parallel.dcp > 1:
            return Refusal(
                reason="the backend that knows decode context parallelism does not read it; choose "
                "quant.kvcache_dtype=fp8 or parallel.dcp=1"
            )
        floor = 10.0
    old = too_old(setup, floor)
    if old:
        return Refusal(reason=f"{old}: choose quant.kvcache_dtype={'fp8' if floor == 10.0 else 'auto'}")
    if value is KvCacheDtype.fp8_e5m2:
        return _e5m2(setup)
    return {"kv_cache_dtype": "nvfp4" if value is KvCacheDtype.nvfp4 else "fp8_e4m3"}


def _e5m2(setup: Setup) -> Cell:
    """FlashAttention 3, the default on 9.x, gives way to Triton. Source: arg_groups/overrides.py:1263."""
    args = {"kv_cache_dtype": "fp8_e5m2"}
    major = _major(setup)
    if major == 10 and setup.facts.mla:
        return Refusal(reason="TRT-LLM's MLA kernels refuse it; choose quant.kvcache_dtype=fp8")
    if major == 9:
        return Told(note="SGLang gives up FlashAttention 3 for Triton with it", args=args)
    return args


def _attention(_value: Any, setup: Setup) -> Cell:
    """No flag says it: kernels that read an e4m3 cache quantize the queries too."""
    without = stored.fp8_attention(setup, explicit(setup, "kv_cache_dtype"))
    if without is not None:
        return without
    major, mla = _major(setup), setup.facts.mla
    if major is None:
        return Told(note="follows from the FP8 KV cache, where the attention backend has it")
    if major == 10:
        return {"attention_backend": "trtllm_mla" if mla else "trtllm_mha"}
    if major == 9 and mla:  # fa3 takes the cache back to 16 bits where heads are wider than 256
        return Refusal(
            reason="kernels for MLA models compute in 16 bits on compute capability 9.x; choose "
            "quant.attention_dtype=auto"
        )
    if major == 9:
        return {"attention_backend": "fa3"}
    return Refusal(
        reason="attention backends compute in FP8 on compute capability 9.x (fa3) and 10.x (trtllm) only; "
        "choose quant.attention_dtype=auto"
    )


def _major(setup: Setup) -> int | None:
    capability = capability_of(setup) if checked(setup) else None
    return None if capability is None else int(capability)


TABLE: dict[str, Rule] = {
    "quant.gemm_dtype": _gemm,
    "quant.kvcache_dtype": _kv_cache,
    "quant.attention_dtype": _attention,
    "quant.moe_dtype": with_experts(_moe, "quant.moe_dtype=auto"),
}
