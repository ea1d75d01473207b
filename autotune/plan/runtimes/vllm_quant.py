"""vLLM: number formats. Weights are quantized while they are loaded, by `--quantization`.

Linear layers and experts can differ: `--quantization online --quantization-config '{"linear": ...,
"moe": ...}'`. `--quantization fp8` is for FP8 checkpoints only. 0.32.0 and 0.33.0 know the same formats.

Source: vLLM 0.32.0 (read) and 0.33.0 config/quantization.py, config/cache.py, platforms/cuda.py and
v1/attention/backends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.plan.runtimes import stored
from autotune.plan.runtimes.capability import WEIGHT_FLOORS, capability_of, checked, nearest, too_old
from autotune.plan.runtimes.mapping import Cell, Refusal, Rule, Told, explicit, with_experts
from autotune.plan.runtimes.protocol import Setup
from autotune.records import InventoryKind
from autotune.schema import GemmDtype, KvCacheDtype, MoeDtype

DTYPES = {"bf16": "bfloat16", "fp16": "float16"}
NOT_FP16 = frozenset({"gemma2", "gemma3", "gemma3_text", "glm4"})  # numerically unstable: config/model.py
ONLINE_LINEAR = {"fp8": "fp8_per_tensor", "mxfp8": "mxfp8", "mxfp4": "mxfp4"}
ONLINE_MOE = {"fp8": "fp8_per_tensor", "mxfp4": "mxfp4", "nvfp4": "nvfp4_per_token"}
CHECKPOINT_ONLY = {  # what is needed, and the nearest format that is made while loading
    "int8": ("linear layers need a compressed-tensors W8A8 checkpoint", "fp8"),
    "w4a16": ("needs an AWQ, GPTQ or compressed-tensors checkpoint", "mxfp4"),
    "w4afp8": ("needs a compressed-tensors W4A8-FP8 checkpoint", "fp8"),
    "nvfp4": ("linear layers need an NVFP4 checkpoint", "mxfp4"),
}
NO_W4AFP8 = "needs a compressed-tensors W4A8-FP8 checkpoint"
ON_A_CPU = "vLLM's CPU build cannot quantize weights: choose quant.{field}=auto"
# FlashInfer reads it from 8.0 on; the Triton kernel, which MLA and attention sinks are left to on older GPUs,
# needs FP8 instructions. Source: v1/attention/backends/flashinfer.py, triton_attn.py.
FP8_KV_FLOOR = 8.0
FP8_KV_FLOOR_TRITON = 8.9
SINKS = frozenset({"gpt_oss"})


def _gemm(value: Any, setup: Setup) -> Cell:
    name = str(value.value)
    kept = stored.kept("gemm_dtype", value, setup)
    if kept is not None:
        return kept
    if refused := _refused_gemm(name, setup):
        return refused
    return {"dtype": DTYPES[name]} if name in DTYPES else _weights(setup)


def _moe(value: Any, setup: Setup) -> Cell:
    kept = stored.kept("moe_dtype", value, setup)
    if kept is not None:
        return kept
    return _refused_moe(str(value.value), setup) or _weights(setup)


def _refused_gemm(name: str, setup: Setup) -> Refusal | None:
    if setup.inventory.kind is InventoryKind.CPU and name not in DTYPES:
        return Refusal(reason=ON_A_CPU.format(field="gemm_dtype"))
    if name == "fp16" and setup.facts.model_type in NOT_FP16:
        return Refusal(
            reason=f"{setup.facts.model_type} models are unstable in it: choose quant.gemm_dtype=bf16"
        )
    if name in CHECKPOINT_ONLY:
        needs, near = CHECKPOINT_ONLY[name]
        return Refusal(reason=f"{needs}; {nearest(setup, 'quant.gemm_dtype', near, 'mxfp4')}")
    return _old_weights(name, "quant.gemm_dtype", setup)


def _refused_moe(name: str, setup: Setup) -> Refusal | None:
    if setup.inventory.kind is InventoryKind.CPU:
        return Refusal(reason=ON_A_CPU.format(field="moe_dtype"))
    if name == "w4afp8":
        return Refusal(reason=f"{NO_W4AFP8}; {nearest(setup, 'quant.moe_dtype', 'nvfp4', 'fp8', 'mxfp4')}")
    if name == "nvfp4" and checked(setup) and (capability_of(setup) or 0) >= 11:
        instead = nearest(setup, "quant.moe_dtype", "mxfp4")
        return Refusal(reason=f"has kernels for compute capability 10.x only; {instead}")
    return _old_weights(name, "quant.moe_dtype", setup)


def _weights(setup: Setup) -> Mapping[str, Any]:
    """Return the arguments for linear layers and experts together; a refused part is left out."""
    quant = setup.config.quant
    gemm = quant.gemm_dtype.value
    linear = ONLINE_LINEAR.get(gemm) if not _refused_gemm(gemm, setup) else None
    moe = None
    if quant.moe_dtype is not MoeDtype.auto and not _refused_moe(quant.moe_dtype.value, setup):
        moe = ONLINE_MOE[quant.moe_dtype.value]
    if moe is None or moe == linear:
        return {"quantization": linear}  # experts follow the linear layers
    if linear is None and moe == "nvfp4_per_token":
        return {"quantization": moe}  # for experts only, as it is
    parts = {"linear": linear, "moe": moe} if linear else {"moe": moe}
    return {"quantization": "online", "quantization_config": parts}


def _kv_cache(value: Any, setup: Setup) -> Cell:
    rules = {
        KvCacheDtype.bf16: _kv_bf16,
        KvCacheDtype.fp8: _kv_fp8,
        KvCacheDtype.fp8_e5m2: _kv_e5m2,
        KvCacheDtype.nvfp4: _kv_nvfp4,
    }
    return rules[value](setup)


def _kv_bf16(setup: Setup) -> Cell:
    """An explicit type must be the model's; `auto` keeps that unless the checkpoint says FP8."""
    gemm, facts = setup.config.quant.gemm_dtype, setup.facts
    model = gemm.value if gemm in {GemmDtype.bf16, GemmDtype.fp16} else facts.dtype
    if model not in {None, "bf16"}:
        return Refusal(
            reason=f"must be the model's own type, {model}; choose quant.kvcache_dtype=auto"
            " or quant.gemm_dtype=bf16"
        )
    has_scales = facts.stored is not None and facts.stored.kvcache_dtype is not None
    fp8_by_default = has_scales or facts.index_topk is not None  # DeepSeek-V3.2
    if model is not None and fp8_by_default:
        return {"kv_cache_dtype": "bfloat16"}
    return Told(note="the model's own type, which is the default: no --kv-cache-dtype")


def _kv_fp8(setup: Setup) -> Cell:
    return _old(_kv_floor(setup), "quant.kvcache_dtype=auto", setup) or {"kv_cache_dtype": "fp8"}


def _kv_floor(setup: Setup) -> float:
    triton = setup.facts.mla or setup.facts.model_type in SINKS
    return FP8_KV_FLOOR_TRITON if triton else FP8_KV_FLOOR


def _kv_e5m2(setup: Setup) -> Cell:
    """FlashAttention and every NVIDIA MLA kernel refuse it; FlashInfer and Triton take it."""
    has = setup.facts.stored
    if setup.facts.mla:
        return Refusal(reason="no kernel for MLA models takes it; choose quant.kvcache_dtype=fp8")
    if has is not None and (has.kvcache_dtype is not None or "fp8" in {has.gemm_dtype, has.moe_dtype}):
        return Refusal(
            reason="is not supported with FP8 checkpoints or FP8 KV scales; choose quant.kvcache_dtype=fp8"
        )
    return _old(_kv_floor(setup), "quant.kvcache_dtype=auto", setup) or {"kv_cache_dtype": "fp8_e5m2"}


def _kv_nvfp4(setup: Setup) -> Cell:
    """FlashInfer only: TRT-LLM kernels on 10.x, FlashAttention 2 that unpacks it elsewhere."""
    capability = capability_of(setup)
    if setup.inventory.kind is InventoryKind.CPU:
        return Refusal(reason="vLLM's CPU build has no NVFP4; choose quant.kvcache_dtype=fp8")
    if setup.facts.mla:
        return Refusal(reason="no kernel for MLA models takes it; choose quant.kvcache_dtype=fp8")
    below = capability is not None and int(capability) != 10 and checked(setup)
    if setup.config.parallel.dcp > 1 and below:
        return Refusal(
            reason="is not read with decode context parallelism below compute capability 10.0; choose "
            "quant.kvcache_dtype=fp8 or parallel.dcp=1"
        )
    if below and setup.facts.head_dim == 64:
        return Refusal(
            reason="misreads heads of 64 below compute capability 10.0; choose quant.kvcache_dtype=fp8"
        )
    return _old(8.0, "quant.kvcache_dtype=auto", setup) or {"kv_cache_dtype": "nvfp4"}


def _attention(_value: Any, setup: Setup) -> Cell:
    """No flag says it: an FP8 KV cache makes the kernel quantize queries too, where it can."""
    without = stored.fp8_attention(setup, explicit(setup, "kv_cache_dtype"))
    if without is not None:
        return without
    if setup.inventory.kind is InventoryKind.CPU:
        return Refusal(reason="vLLM's CPU build has no FP8 attention; choose quant.attention_dtype=auto")
    capability = capability_of(setup)
    if capability is None or not checked(setup):
        return Told(note="follows from the FP8 KV cache, where the attention kernel has it")
    return _attention_mla(int(capability)) if setup.facts.mla else _attention_heads(capability, setup)


def _attention_heads(capability: float, setup: Setup) -> Cell:
    """FlashAttention 3 on 9.x, FlashInfer's TRT-LLM kernels on 10.x, Triton elsewhere."""
    kernels = {9: "FlashAttention 3", 10: "FlashInfer's TRT-LLM kernels"}
    if int(capability) in kernels:
        return Told(note=f"follows from the FP8 KV cache, with {kernels[int(capability)]}")
    old = _old(8.9, "quant.attention_dtype=auto", setup)
    return old or {"attention_backend": "TRITON_ATTN"}


def _attention_mla(major: int) -> Cell:
    """FlashMLA decodes in FP8 on 9.x; only 10.x has FP8 kernels for the prefill."""
    if major == 10:
        return {"attention_config": {"use_prefill_query_quantization": True}}
    if major == 9:
        return Told(note="follows from the FP8 KV cache in decoding; prefill stays in 16 bits below 10.0")
    return Refusal(
        reason="MLA kernels compute in FP8 on compute capability 9.x and 10.x only; "
        "choose quant.attention_dtype=auto"
    )


def _old_weights(name: str, field: str, setup: Setup) -> Refusal | None:
    old = too_old(setup, WEIGHT_FLOORS.get(name))
    return Refusal(reason=f"{old}: {nearest(setup, field, 'fp8')}") if old else None


def _old(floor: float | None, choice: str, setup: Setup) -> Refusal | None:
    old = too_old(setup, floor)
    return Refusal(reason=f"{old}: choose {choice}") if old else None


TABLE: dict[str, Rule] = {
    "quant.gemm_dtype": _gemm,
    "quant.kvcache_dtype": _kv_cache,
    "quant.attention_dtype": _attention,
    "quant.moe_dtype": with_experts(_moe, "quant.moe_dtype=auto"),
}


def stored_reasons(setup: Setup) -> list[str]:
    """Return why this build or these GPUs cannot compute in the formats that the checkpoint stores."""
    has = setup.facts.stored
    if setup.inventory.kind is not InventoryKind.CPU:
        return stored.too_old_for_stored(setup)
    if setup.config.deploy.kind == "replay" or has is None:
        return []
    wanting = {has.gemm_dtype, has.moe_dtype} & {"fp8", "mxfp8", "mxfp4", "nvfp4", "w4afp8"}
    return [
        f"the checkpoint's weights are {name}, which vLLM's CPU build cannot use: choose a bf16 checkpoint"
        for name in sorted(filter(None, wanting))
    ]
