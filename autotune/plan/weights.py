"""Weights on one GPU: parameters of each part of a model × their bits, divided as the part is sharded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from autotune.plan.facts import ModelFacts
from autotune.plan.runtimes.protocol import Layout
from autotune.schema import GemmDtype, MoeDtype, QuantConfig

GIB = 2**30

# Bits for one parameter, scales included. Source: OCP MX 1.0 (8-bit scale for 32: mxfp), NVIDIA NVFP4
# (8-bit scale for 16), AWQ and GPTQ as published (16-bit scale for 128). FP8 scales (a 32-bit one for
# 128 × 128, or for a row) are below 0.1 % and left out. Engines load fp32 checkpoints as 16 bits.
BITS: Mapping[str, float] = {
    "fp32": 16,
    "bf16": 16,
    "fp16": 16,
    "fp8": 8,
    "int8": 8,
    "w8a16": 8.125,
    "mxfp8": 8.25,
    "nvfp4": 4.5,
    "mxfp4": 4.25,
    "w4a16": 4.125,
    "w4afp8": 4.125,
}
UNQUANTIZED = frozenset({"fp32", "bf16", "fp16"})
SHARED_EXPERTS = 2  # at most: DeepSeek-V2 has two, later models one


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Parameters of each part; together they are `ModelFacts.params`."""

    experts: int
    attention: int
    dense: int
    shared: int
    embedding: int
    head: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """GiB on one GPU: as it likely is, and what it is not below."""

    gib: float
    floor_gib: float


def weights_of(facts: ModelFacts, quant: QuantConfig, layout: Layout) -> Weights | None:
    """Return the weights on one GPU; None where parameters or number formats are unknown."""
    return _weights(facts, quant.gemm_dtype, quant.moe_dtype, layout)


@lru_cache(maxsize=1024)
def parts_of(facts: ModelFacts) -> Parts | None:
    """Return the parameters of each part, from the shape; None where the shape is unknown.

    experts = expert layers × experts × 3 · hidden · moe_intermediate; dense = dense layers × 3 · hidden ·
    intermediate; embedding = head = vocabulary · hidden; attention = layers × 2 · hidden · head_dim ·
    (heads + KV heads). The rest is shared by all tokens: shared experts, routers, norms, a vision tower.
    For MLA attention is the rest less `SHARED_EXPERTS` shared experts: what it is at least.
    """
    params, layers, hidden, vocab = params_of(facts), facts.layers, facts.hidden_size, facts.vocab_size
    if not params or not layers or not hidden or not vocab:
        return None
    expert_layers = layers - facts.dense_layers if facts.experts else 0
    one_expert = 3 * hidden * (facts.moe_intermediate_size or 0)
    experts = expert_layers * (facts.experts or 0) * one_expert
    dense = (layers - expert_layers) * 3 * hidden * (facts.intermediate_size or 0)
    embedding, head = vocab * hidden, 0 if facts.tied_embeddings else vocab * hidden
    rest = max(0, params - experts - dense - embedding - head)
    attention = (
        rest - SHARED_EXPERTS * expert_layers * one_expert if facts.mla else _attention(facts, layers, hidden)
    )
    attention = min(max(0, attention), rest)
    return Parts(
        experts=experts,
        attention=attention,
        dense=dense,
        shared=rest - attention,
        embedding=embedding,
        head=head,
    )


def params_of(facts: ModelFacts) -> int | None:
    """Return the parameters: as known, else bytes / 2 of a checkpoint with 16-bit weights."""
    if facts.params is not None or facts.weights_bytes is None or facts.stored is None:
        return facts.params
    half = facts.stored.method == "none" and facts.stored.gemm_dtype in {"bf16", "fp16"}
    return facts.weights_bytes // 2 if half else None


def formats_of(facts: ModelFacts, gemm: GemmDtype, moe: MoeDtype) -> tuple[str | None, str | None]:
    """Return the number formats of linear layers and experts as they are served; None is unknown.

    A quantized checkpoint stays as it is stored. Of another, experts follow the linear layers unless
    they are asked for on their own.
    """
    stored = facts.stored
    stored_gemm = stored.gemm_dtype if stored else None
    stored_moe = (stored.moe_dtype or stored_gemm) if stored else None
    if stored is None or stored.quantized:
        return stored_gemm, stored_moe
    asked = gemm.value if gemm is not GemmDtype.auto else stored_gemm
    if moe is not MoeDtype.auto:
        return asked, moe.value
    return asked, asked if gemm is not GemmDtype.auto else stored_moe


@lru_cache(maxsize=4096)
def _weights(facts: ModelFacts, gemm: GemmDtype, moe: MoeDtype, layout: Layout) -> Weights | None:
    parts = parts_of(facts)
    formats = formats_of(facts, gemm, moe)
    bits = [BITS.get(name) if name else None for name in formats]
    if parts is None or bits[0] is None or (bits[1] is None and parts.experts):
        return None
    per_gpu = _bytes_per_gpu(parts, bits[0] / 8, (bits[1] or 0) / 8, layout) / GIB
    if facts.weights_bytes is None or formats != formats_of(facts, GemmDtype.auto, MoeDtype.auto):
        return Weights(gib=per_gpu, floor_gib=_floor(per_gpu, facts))
    scale = facts.weights_bytes / _bytes_per_gpu(
        parts, bits[0] / 8, (bits[1] or 0) / 8, Layout(gpus=1, world_size=1)
    )
    likely = per_gpu if formats[0] == "fp32" else per_gpu * scale
    return Weights(gib=likely, floor_gib=_floor(per_gpu * min(1, scale), facts))


def _floor(gib: float, facts: ModelFacts) -> float:
    """A checkpoint may hold one layer more, for multi-token prediction, which is not loaded."""
    layers = facts.layers or 1
    return gib if facts.weights_bytes is None else gib * layers / (layers + 1)


def _bytes_per_gpu(parts: Parts, gemm_bytes: float, moe_bytes: float, layout: Layout) -> float:
    """Bytes of the mean pipeline stage; embeddings and the output head are never quantized here.

    Output head and shared experts: over all ranks of a stage, as SGLang does under attention data
    parallelism; vLLM has no more of them than attention has.
    """
    sharding = layout.sharding
    ranks = max(sharding.attention, layout.world_size // sharding.layers)
    linear = parts.attention / sharding.attention + parts.dense / sharding.dense + parts.shared / ranks
    tokens = parts.embedding / sharding.attention + parts.head / ranks
    experts = parts.experts / sharding.experts
    return (linear * gemm_bytes + experts * moe_bytes + tokens * 2) / sharding.layers


def _attention(facts: ModelFacts, layers: int, hidden: int) -> int:
    heads = facts.heads or 0
    head_dim = facts.head_dim or (hidden // heads if heads else 0)
    return layers * 2 * hidden * head_dim * (heads + (facts.kv_heads or heads))
