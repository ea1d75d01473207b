"""What a checkpoint stores, against what is asked for: quantized weights stay as they are."""

from __future__ import annotations

from typing import Any

from autotune.plan.runtimes.capability import WEIGHT_FLOORS, too_old, unknown
from autotune.plan.runtimes.mapping import Cell, Refusal, Told
from autotune.plan.runtimes.protocol import Setup
from autotune.schema import GemmDtype, KvCacheDtype, MoeDtype, QuantConfig

SIXTEEN_BITS = frozenset({"bf16", "fp16", "fp32"})


def kept(field: str, value: Any, setup: Setup) -> Cell | None:
    """Return what becomes of `quant.FIELD=value` on a quantized checkpoint; None if it is not quantized.

    A quantized checkpoint never gets a flag that quantizes: engines refuse another method than its own.
    Source: vLLM 0.33.0 config/model.py:1383-1463, SGLang 0.5.23 configs/model_config.py:2143.
    """
    stored = setup.facts.stored
    if stored is None or not stored.quantized:
        return None
    has = stored.gemm_dtype if field == "gemm_dtype" else stored.moe_dtype or stored.gemm_dtype
    part = "weights" if field == "gemm_dtype" else "experts"
    asked = value.value
    if has == asked:
        if asked in SIXTEEN_BITS:
            return {"dtype": {"bf16": "bfloat16", "fp16": "float16"}[asked]}
        return Told(note=f"the checkpoint is already {stored.method} ({has}): no --quantization")
    if has is None:
        return Refusal(
            reason=f"the checkpoint is already {stored.method}, in a format that is not known here; "
            f"choose quant.{field}=auto"
        )
    return Refusal(
        reason=f"the checkpoint's {part} are {has}; choose quant.{field}=auto or {_article(asked)} checkpoint"
    )


def unread(setup: Setup) -> list[str]:
    """Return the note that what the checkpoint stores is unknown, where quantization is asked for."""
    quant = setup.config.quant
    asked = quant.gemm_dtype is not GemmDtype.auto or quant.moe_dtype is not MoeDtype.auto
    if setup.facts.stored is not None or not asked:
        return []
    return ["what the checkpoint stores is unknown: judged as not quantized (model.stored.method says it)"]


def too_old_for_stored(setup: Setup) -> list[str]:
    """Return why the GPUs cannot compute in the formats that the checkpoint stores."""
    stored = setup.facts.stored
    if stored is None or not stored.quantized:
        return []
    reasons = []
    for part, name in (("weights", stored.gemm_dtype), ("experts", stored.moe_dtype)):
        old = too_old(setup, WEIGHT_FLOORS.get(name or ""))
        if old and not (part == "experts" and name == stored.gemm_dtype):
            reasons.append(f"the checkpoint's {part} are {name}: {old}: choose a bf16 checkpoint")
    return reasons


def skipped(setup: Setup) -> bool:
    """Whether a format is asked for or stored that could not be checked against the hardware."""
    stored = setup.facts.stored
    asked = setup.config.quant != QuantConfig()
    return unknown(setup) and (asked or (stored is not None and stored.quantized))


def fp8_attention(setup: Setup, kv_cache_dtype: Any) -> Cell | None:
    """Return the refusal of FP8 attention without an e4m3 KV cache; None where it has one.

    `kv_cache_dtype` is what `runtime.args` say. The contradiction with e5m2 is refused for every engine
    alike (`rules.contradictions`).
    """
    kv = setup.config.quant.kvcache_dtype
    if kv is KvCacheDtype.fp8_e5m2:
        return Told(note="contradicts quant.kvcache_dtype=fp8_e5m2")
    if kv_cache_dtype in {"fp8", "fp8_e4m3"} or (kv is KvCacheDtype.fp8 and kv_cache_dtype is None):
        return None
    if kv_cache_dtype is not None:
        return Refusal(
            reason=f"follows from an FP8 (e4m3) KV cache; runtime.args make it {kv_cache_dtype}: unset that"
        )
    return Refusal(reason="follows from an FP8 (e4m3) KV cache: set quant.kvcache_dtype=fp8")


def _article(name: str) -> str:
    return f"an {name}" if name[0] in "fimn" else f"a {name}"
