"""What a checkpoint or a model preset says of a model."""

from __future__ import annotations

from dataclasses import dataclass

from autotune.schema import ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Number formats of a checkpoint; `method` is `none` where it is not quantized.

    `method` is what its config.json (or hf_quant_config.json) calls it. The formats have the names of
    `schema.GemmDtype`, of which bf16, fp16 and fp32 are not quantized; None is unknown, or has none.
    """

    method: str
    gemm_dtype: str | None = None
    moe_dtype: str | None = None
    kvcache_dtype: str | None = None
    block_size: int | None = None  # rows and columns of the weights that share a scale

    @property
    def quantized(self) -> bool:
        """Whether an engine finds the weights quantized."""
        return self.method != "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Shape and storage of a model; the fields mean what they mean in `schema.ModelConfig`.

    None is unknown where `shaped` is false, and has none where it is true. `weights_bytes` is the size of
    the checkpoint's weights, where it can be read. `source` says where the facts are from. Some facts have
    no field there: `cacheless_layers` are those of linear attention and the like, which keep a state instead
    of a KV cache.
    """

    source: str
    model_type: str | None = None
    params: int | None = None
    layers: int | None = None
    hidden_size: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    intermediate_size: int | None = None
    vocab_size: int | None = None
    max_model_len: int | None = None
    tied_embeddings: bool | None = False  # None: a checkpoint does not tell
    experts: int | None = None
    experts_per_token: int | None = None
    moe_intermediate_size: int | None = None
    dense_layers: int = 0
    kv_lora_rank: int | None = None
    qk_rope_head_dim: int | None = None
    index_topk: int | None = None
    sliding_window: int | None = None
    sliding_layers: int = 0
    cacheless_layers: int = 0
    dtype: str | None = None
    stored: Stored | None = None
    weights_bytes: int | None = None

    @property
    def shaped(self) -> bool:
        """Whether the architecture is known, so that what is None is not there."""
        return self.heads is not None and self.layers is not None

    @property
    def dense(self) -> bool:
        """Whether it is known to have no experts."""
        return self.shaped and not self.experts

    @property
    def mla(self) -> bool:
        """Whether attention caches one latent for all heads."""
        return self.kv_lora_rank is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a readable checkpoint says; `problems` are what is wrong with it and keep it from being served."""

    facts: ModelFacts
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def facts_of_preset(model: ModelConfig) -> ModelFacts:
    """Return what the model preset says."""
    stored = model.stored
    formats = None
    if stored.method is not None:
        formats = Stored(
            method=stored.method,
            gemm_dtype=stored.gemm_dtype,
            moe_dtype=stored.moe_dtype,
            kvcache_dtype=stored.kvcache_dtype,
            block_size=stored.block_size,
        )
    return ModelFacts(
        source="the model preset",
        model_type=model.model_type,
        params=model.params,
        layers=model.layers,
        hidden_size=model.hidden_size,
        heads=model.heads,
        kv_heads=model.kv_heads,
        head_dim=model.head_dim,
        intermediate_size=model.intermediate_size,
        vocab_size=model.vocab_size,
        max_model_len=model.max_model_len,
        tied_embeddings=model.tied_embeddings,
        experts=model.experts,
        experts_per_token=model.experts_per_token,
        moe_intermediate_size=model.moe_intermediate_size,
        dense_layers=model.dense_layers,
        kv_lora_rank=model.kv_lora_rank,
        qk_rope_head_dim=model.qk_rope_head_dim,
        index_topk=model.index_topk,
        sliding_window=model.sliding_window,
        sliding_layers=model.sliding_layers,
        dtype=model.dtype,
        stored=formats,
    )
