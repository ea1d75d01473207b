"""TensorRT-LLM: number formats. Weights are served as they are stored; only the KV cache is a choice.

Source: TensorRT-LLM docs/source/features/quantization.md (09d4c79b: what each GPU supports),
llmapi/llm_utils.py (0066b2a5: which checkpoints load), _torch/pyexecutor/model_loader.py (KV cache) and
docs/source/deployment-guide for gpt-oss (MXFP4 on Hopper).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.plan.runtimes import stored
from autotune.plan.runtimes.capability import checked, too_old
from autotune.plan.runtimes.mapping import Cell, Refusal, Rule, Told, explicit, with_experts
from autotune.plan.runtimes.protocol import Setup
from autotune.plan.runtimes.tensorrt_llm_layout import argument
from autotune.schema import GemmDtype, KvCacheDtype

KV_DTYPE = "kv_cache_config.dtype"
DTYPES = {"bf16": "bfloat16", "fp16": "float16"}
# Least compute capability that computes in a format. MXFP4 experts run on Hopper in 16 bits (Triton).
FLOORS: Mapping[str, float] = {
    "bf16": 8.0,
    "w4a16": 8.0,
    "fp8": 8.9,
    "w4afp8": 8.9,
    "mxfp4": 9.0,
    "mxfp8": 10.0,
    "nvfp4": 10.0,
}
UNTIL_HOPPER = frozenset({"w4a16", "w4afp8"})
BLACKWELL = 10.0
KV_FLOORS: Mapping[str, float] = {"fp8": 8.0, "nvfp4": 10.0}
FP8_ATTENTION_FLOOR = 8.9
CHECKPOINTS: Mapping[str, str] = {
    "fp8": "an FP8 (ModelOpt) checkpoint and quant.kvcache_dtype=fp8",
    "int8": "an FP8 (ModelOpt) checkpoint, because it has no INT8 kernels",
    "w4a16": "a W4A16_AWQ (ModelOpt) checkpoint",
    "w4afp8": "a W4A8_AWQ (ModelOpt) checkpoint",
    "nvfp4": "an NVFP4 (ModelOpt) checkpoint",
    "mxfp8": "an MXFP8 checkpoint (1.3), or an FP8 (ModelOpt) one",
    "mxfp4": "a checkpoint that stores MXFP4 experts, such as gpt-oss",
}
# `quantization_config.quant_method` that loads; any other is a NotImplementedError at start.
METHODS = frozenset({"modelopt", "fp8", "mxfp4", "compressed-tensors"})
METHODS_OF_1_3 = frozenset({"mxfp8", "nvfp4"})
NOT_IN_COMPRESSED_TENSORS = frozenset({"int8", "w4a16", "w4afp8"})


def _gemm(value: Any, setup: Setup) -> Cell:
    return _weights("gemm_dtype", value, setup)


def _moe(value: Any, setup: Setup) -> Cell:
    return _weights("moe_dtype", value, setup)


def _weights(field: str, value: Any, setup: Setup) -> Cell:
    """Return what becomes of `quant.FIELD=value`: nothing is quantized while it is loaded."""
    name, has = str(value.value), setup.facts.stored
    if has is not None and has.quantized:
        experts = has.moe_dtype or has.gemm_dtype
        return _as_stored(field, name, has.gemm_dtype if field == "gemm_dtype" else experts, has.method)
    old = too_old(setup, FLOORS.get(name))
    if name in DTYPES:
        return Refusal(reason=f"{old}: choose quant.{field}=fp16") if old else {"dtype": DTYPES[name]}
    instead = f"{old}: choose quant.{field}=auto" if old else f"use {CHECKPOINTS[name]}"
    return Refusal(reason=f"TensorRT-LLM has no online quantization: {instead}")


def _as_stored(field: str, name: str, has: str | None, method: str) -> Cell:
    if has == name and name in DTYPES:
        return {"dtype": DTYPES[name]}
    if has == name:
        return Told(note=f"the checkpoint is already {name}: no flag")
    part = "weights" if field == "gemm_dtype" else "experts"
    kept = f"the checkpoint's {part} are {has or f'of the method {method}'}, which TensorRT-LLM keeps"
    return Refusal(reason=f"{kept}: choose quant.{field}=auto or {_checkpoint(name)}")


def _checkpoint(name: str) -> str:
    if name in DTYPES:
        return f"a {name} checkpoint"
    return CHECKPOINTS[name].removesuffix(" and quant.kvcache_dtype=fp8")


def _kv_cache(value: Any, setup: Setup) -> Cell:
    if value is KvCacheDtype.fp8_e5m2:
        return Refusal(reason="TensorRT-LLM has no e5m2 KV cache: choose quant.kvcache_dtype=fp8 (e4m3)")
    return _kv_bf16(setup) if value is KvCacheDtype.bf16 else _kv_quantized(value.value, setup)


def _kv_bf16(setup: Setup) -> Cell:
    """The loader takes `auto`, `fp8` and `nvfp4` only; `auto` is the checkpoint's, else the model's type."""
    gemm, has = setup.config.quant.gemm_dtype, _stored_kv(setup)
    model = gemm.value if gemm in {GemmDtype.bf16, GemmDtype.fp16} else setup.facts.dtype
    if has is not None:
        return Refusal(
            reason=f"the checkpoint is made for a KV cache of {has}, which TensorRT-LLM keeps: choose "
            "quant.kvcache_dtype=auto or a checkpoint without KV scales"
        )
    if model not in {None, "bf16"}:
        return Refusal(reason=f"is the model's own type, {model}: choose quant.kvcache_dtype=auto")
    return Told(note="the model's own type, which the KV cache has without an argument")


def _kv_quantized(name: str, setup: Setup) -> Cell:
    old, has = too_old(setup, KV_FLOORS[name]), _stored_kv(setup)
    args = {argument(KV_DTYPE, setup): name}
    if old:
        lower = too_old(setup, KV_FLOORS["fp8"]) is None and name != "fp8"
        return Refusal(reason=f"{old}: choose quant.kvcache_dtype={'fp8' if lower else 'auto'}")
    if has in {None, name}:
        return args
    if _is_1_3(setup):
        return Told(note=f"overrides the checkpoint's {has}", args=args)
    return Refusal(
        reason=f"TensorRT-LLM {setup.flags.version} cannot override the checkpoint's {has} KV cache: choose "
        "quant.kvcache_dtype=auto or runtime.version=1.3.0rc24"
    )


def _stored_kv(setup: Setup) -> str | None:
    """Return the quantized format that the checkpoint's KV scales are for."""
    kv = setup.facts.stored.kvcache_dtype if setup.facts.stored else None
    return None if kv in {"bf16", "fp16", "fp32"} else kv


def _attention(_value: Any, setup: Setup) -> Cell:
    """No flag says it: kernels compute attention in FP8 where the KV cache is."""
    kv = explicit(setup, argument(KV_DTYPE, setup))
    if kv is None and setup.config.quant.kvcache_dtype is KvCacheDtype.auto:
        kv = _stored_kv(setup)
    without = stored.fp8_attention(setup, kv)
    if without is not None:
        return without
    old = too_old(setup, FP8_ATTENTION_FLOOR)
    if old:
        return Refusal(reason=f"{old}: choose quant.attention_dtype=auto")
    return Told(note="follows from the FP8 KV cache: no flag")


TABLE: dict[str, Rule] = {
    "quant.gemm_dtype": _gemm,
    "quant.kvcache_dtype": _kv_cache,
    "quant.attention_dtype": _attention,
    "quant.moe_dtype": with_experts(_moe, "quant.moe_dtype=auto"),
}


def stored_reasons(setup: Setup) -> list[str]:
    """Return why this version cannot load the checkpoint, or these GPUs not compute in its formats."""
    has = setup.facts.stored
    if has is None or not has.quantized or setup.config.deploy.kind == "replay":
        return []
    formats = dict.fromkeys(filter(None, (has.gemm_dtype, has.moe_dtype)))
    return [*_not_loaded(has.method, formats, setup), *_not_computed(formats, setup)]


def stored_notes(setup: Setup) -> list[str]:
    """Return what the formats of the checkpoint mean on these GPUs."""
    has = setup.facts.stored
    if has is not None and "mxfp4" in {has.gemm_dtype, has.moe_dtype} and too_old(setup, BLACKWELL):
        return [
            "MXFP4 experts compute in 16 bits below compute capability 10.0; the engine's guide to gpt-oss "
            "sets runtime.args.moe_config.backend=TRITON there"
        ]
    return []


def _not_loaded(method: str, formats: Mapping[str, None], setup: Setup) -> list[str]:
    name = method.lower()
    known = METHODS | METHODS_OF_1_3 if _is_1_3(setup) else METHODS
    if name not in known and not name.startswith("modelopt"):
        return [
            f"the checkpoint's method is {method}, which TensorRT-LLM {setup.flags.version} does not load "
            f"(it loads {', '.join(sorted(known))}): choose a ModelOpt or 16-bit checkpoint"
        ]
    wrong = [word for word in formats if word in NOT_IN_COMPRESSED_TENSORS]
    if name != "compressed-tensors" or not wrong:
        return []
    return [
        f"the checkpoint stores {wrong[0]} in compressed-tensors, of which TensorRT-LLM loads FP8 and FP4 "
        "only: choose a ModelOpt checkpoint"
    ]


def _not_computed(formats: Mapping[str, None], setup: Setup) -> list[str]:
    reasons = []
    for name in formats:
        why = too_old(setup, FLOORS.get(name)) or _too_new(name, setup)
        if why:
            reasons.append(f"the checkpoint stores {name}, which {why}: choose a 16-bit checkpoint")
    return reasons


def _too_new(name: str, setup: Setup) -> str | None:
    if name not in UNTIL_HOPPER or not checked(setup):
        return None
    newest = max(setup.inventory.gpus, key=lambda gpu: gpu.compute_capability or 0, default=None)
    have = newest.compute_capability if newest else None
    if newest is None or have is None or have < BLACKWELL:
        return None
    return f"has kernels up to compute capability 9.x; {newest.model} has {have:.1f}"


def _is_1_3(setup: Setup) -> bool:
    """The flag came with the right to override a checkpoint. Source: pull request 11487."""
    return setup.flags.find("--kv_cache_dtype") is not None
