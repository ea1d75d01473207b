"""What is served and how: runtime, model, quantization, parallelism, serving knobs."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

MISSING: Any = "???"  # OmegaConf's mark of a value that must be given


class GemmDtype(Enum):
    """Weights and activations of the linear layers."""

    auto = "auto"
    bf16 = "bf16"
    fp16 = "fp16"
    fp8 = "fp8"
    int8 = "int8"
    w4a16 = "w4a16"
    int4 = "w4a16"  # noqa: PIE796 (another name of it)
    w4afp8 = "w4afp8"
    nvfp4 = "nvfp4"
    mxfp8 = "mxfp8"
    mxfp4 = "mxfp4"


class KvCacheDtype(Enum):
    """Storage type of the KV cache."""

    auto = "auto"
    bf16 = "bf16"
    fp8 = "fp8"
    fp8_e4m3 = "fp8"  # noqa: PIE796 (another name of it)
    fp8_e5m2 = "fp8_e5m2"
    nvfp4 = "nvfp4"


class AttentionDtype(Enum):
    """Compute type of attention."""

    auto = "auto"
    fp8 = "fp8"


class MoeDtype(Enum):
    """Weights and activations of the experts."""

    auto = "auto"
    fp8 = "fp8"
    w4afp8 = "w4afp8"
    mxfp4 = "mxfp4"
    nvfp4 = "nvfp4"


@dataclass
class RuntimeConfig:
    """An inference engine, its version and its own arguments."""

    kind: str = MISSING  # key of plan.runtimes: vllm, sglang, tensorrt_llm
    version: str = MISSING  # engine version; its flag list must be known
    image: str = MISSING  # container image; {version} is filled in
    shm_gib: float = 16.0  # docker: shared memory of the container
    ipc: str = "private"  # docker: `host` shares the host's, with what killed engines left there
    args: dict[str, Any] = field(default_factory=dict)  # engine arguments by name, underscores
    env: dict[str, str] = field(default_factory=dict)  # environment of the engine


@dataclass
class StoredConfig:
    """Number formats of the checkpoint as it is stored: bf16, fp8, w4a16, mxfp4, ...; null: unknown."""

    method: str | None = None  # as its config.json names it: fp8, awq, mxfp4, ...; none: not quantized
    gemm_dtype: str | None = None  # linear layers, attention included
    moe_dtype: str | None = None  # experts
    kvcache_dtype: str | None = None  # what its KV scales are for
    block_size: int | None = None  # rows and columns of FP8 weights that share a scale


@dataclass
class ModelConfig:
    """What is served, and the architecture facts that bound validity; null: unknown, or has none."""

    path: str = MISSING  # local folder, GGUF file or hub name
    served_name: str | None = None  # name in the API; null: the path
    trust_remote_code: bool = False
    describes: str | None = None  # whose facts these are; null: of `path`
    model_type: str | None = None  # the family, as config.json names it: llama, qwen3_moe, ...
    params: int | None = None  # parameters in all
    layers: int | None = None
    hidden_size: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    intermediate_size: int | None = None  # of a dense layer
    vocab_size: int | None = None
    max_model_len: int | None = None  # longest context the model was made for, tokens
    tied_embeddings: bool = False  # input and output embeddings are one matrix
    experts: int | None = None  # routed experts in a layer
    experts_per_token: int | None = None
    moe_intermediate_size: int | None = None  # of one expert
    dense_layers: int = 0  # layers without experts, in a model that has them
    kv_lora_rank: int | None = None  # MLA: width of the latent that is cached
    qk_rope_head_dim: int | None = None  # MLA: cached beside it
    index_topk: int | None = None  # sparse attention: tokens that each one looks at (DeepSeek-V3.2)
    sliding_window: int | None = None  # tokens that a sliding layer sees
    sliding_layers: int = 0  # layers that see no more than the window
    dtype: str | None = None  # what is not quantized: bf16, fp16
    stored: StoredConfig = field(default_factory=StoredConfig)


@dataclass
class QuantConfig:
    """Normalized quantization; `auto` leaves the choice to the checkpoint and the engine."""

    gemm_dtype: GemmDtype = GemmDtype.auto
    kvcache_dtype: KvCacheDtype = KvCacheDtype.auto
    attention_dtype: AttentionDtype = AttentionDtype.auto
    moe_dtype: MoeDtype = MoeDtype.auto


@dataclass
class ParallelConfig:
    """Normalized parallelism; every field is a number of ranks, 1 is off."""

    tp: int = 1  # tensor parallel
    pp: int = 1  # pipeline parallel
    dp: int = 1  # replicas
    attn_dp: int = 1  # attention data parallel
    ep: int = 1  # expert parallel
    dcp: int = 1  # decode context parallel
    cp: int = 1  # (prefill) context parallel
    moe_tp: int | None = None  # tensor parallel inside the experts; null: the engine's
    moe_dense_tp: int | None = None  # tensor parallel of dense layers in MoE models; null: the engine's


@dataclass
class ServingConfig:
    """Engine knobs that every runtime has; null leaves the engine's default."""

    max_running_requests: int | None = None
    max_batched_tokens: int | None = None
    max_model_len: int | None = None  # tokens
    prefix_caching: bool | None = None
    chunked_prefill: bool | None = None
