"""What vLLM 0.33.0 refuses although its parser accepts it, in its own words; first come, first said.

Source: V is vLLM 0.33.0, by way of engine-facts; `executed` there where that page says so.
"""

from __future__ import annotations

from autotune.deploy.simulated.cost_model import GIB
from autotune.deploy.simulated.number_formats import (
    CHECKPOINT_QUANTIZATIONS,
    VLLM_KV_DTYPES,
    VLLM_KV_FAMILIES,
    VLLM_QUANTIZATIONS,
)
from autotune.deploy.simulated.situation import Rule, Situation


def _kv_heads_fit(s: Situation) -> bool:
    return s.model.kv_heads % s.asked.tp == 0 or s.asked.tp % s.model.kv_heads == 0


def _gqa_decode_cp_fits(s: Situation) -> bool:
    heads, kv_heads, dcp = s.model.heads, s.model.kv_heads, s.asked.decode_cp
    return s.asked.tp > kv_heads and dcp <= s.asked.tp // kv_heads and heads // kv_heads % dcp == 0


RULES = (
    Rule(
        holds=lambda s: min(s.counts) < 1,
        words="Input should be greater than or equal to 1",
        source="assumed: pydantic's words for a bounded field of V config/parallel.py, config/scheduler.py",
        config="EngineArgs",
    ),
    Rule(
        holds=lambda s: not 0 < s.asked.memory_fraction <= 1,
        words="Input should be greater than 0 and less than or equal to 1",
        source="assumed: pydantic's words for the bounded field gpu_memory_utilization of V config/cache.py",
        config="CacheConfig",
    ),
    Rule(
        holds=lambda s: s.asked.quantization not in {None, *VLLM_QUANTIZATIONS},
        words="Unknown quantization method: {s.asked.quantization}. Must be one of ['awq', ...].",
        source="engine-facts section 7, executed; the list is cut short",
        config="ModelConfig",
    ),
    Rule(
        holds=lambda s: (
            s.asked.kv_dtype not in VLLM_KV_DTYPES and not s.asked.kv_dtype.startswith(VLLM_KV_FAMILIES)
        ),
        words="Invalid kv_cache_dtype: '{s.asked.kv_dtype}'",
        source="engine-facts section 7, executed",
        config="CacheConfig",
    ),
    Rule(
        holds=lambda s: s.asked.kv_dtype in {"float16", "bfloat16"} and s.asked.kv_dtype != s.dtype,
        words='kv_cache_dtype="{s.asked.kv_dtype}" is incompatible with dtype="{s.dtype}"',
        source="engine-facts section 7, executed",
        config="VllmConfig",
    ),
    Rule(
        holds=lambda s: s.max_model_len > s.model.max_model_len,
        words=(
            "User-specified max_model_len ({s.max_model_len}) is greater than the derived max_model_len "
            "(max_position_embeddings={s.model.max_model_len} or model_max_length=None in model's "
            "config.json)."
        ),
        source="engine-facts section 5, executed",
        config="ModelConfig",
    ),
    Rule(
        holds=lambda s: s.ranks > s.gpus_visible,
        words=(
            "World size ({s.ranks}) is larger than the number of available GPUs ({s.gpus_visible}) in this "
            "node."
        ),
        source="V config/parallel.py:1072: of one replica (tp·pp·pcp), executed",
        config="ParallelConfig",
    ),
    Rule(
        holds=lambda s: s.asked.context_parallel == 1 and s.asked.tp % s.asked.decode_cp != 0,
        words="tp_size={s.asked.tp} must be divisible by dcp_size={s.asked.decode_cp}.",
        source="V config/parallel.py:597-600, executed",
        config="ParallelConfig",
    ),
    Rule(
        holds=lambda s: s.asked.context_parallel > 1,
        words="Model Runner V1 does not support: prefill context parallel",
        source="V config/vllm.py:3092, engine-facts section 7: no dense model's runner supports it",
        config="VllmConfig",
    ),
    Rule(
        holds=lambda s: s.asked.max_step_tokens < s.asked.max_sequences,
        words=(
            "max_num_batched_tokens ({s.asked.max_step_tokens}) must be greater than or equal to "
            "max_num_seqs ({s.asked.max_sequences})."
        ),
        source="engine-facts section 7, executed",
        config="SchedulerConfig",
    ),
    Rule(
        holds=lambda s: not s.asked.chunked_prefill and s.asked.max_step_tokens < s.max_model_len,
        words=(
            "max_num_batched_tokens ({s.asked.max_step_tokens}) is smaller than max_model_len "
            "({s.max_model_len})."
        ),
        source="engine-facts section 7, executed",
        config="SchedulerConfig",
    ),
    Rule(
        holds=lambda s: s.model.heads % s.asked.tp != 0,
        words=(
            "Total number of attention heads ({s.model.heads}) must be divisible by tensor parallel size "
            "({s.asked.tp})."
        ),
        source="V config/model.py:1559-1564, executed",
        config="VllmConfig",
    ),
    Rule(
        holds=lambda s: s.asked.expert_parallel,
        words="Number of experts in the model must be greater than 0 when expert parallelism is enabled.",
        source="V config/model.py:1499, executed; every model here is dense",
        config="VllmConfig",
    ),
    Rule(
        holds=lambda s: s.asked.decode_cp > 1 and not _gqa_decode_cp_fits(s),
        words="Decode context parallelism for GQA/MQA requires another tp size than {s.asked.tp}",
        source="V config/model.py:1578-1607, executed; the rest of the sentence is assumed",
        config="VllmConfig",
    ),
    Rule(
        holds=lambda s: s.asked.quantization in CHECKPOINT_QUANTIZATIONS["vllm"],
        words="Cannot find the config file for {s.asked.quantization}",
        source="vLLM model_loader/weight_utils.py, get_quant_config; no model here is quantized",
        config="VllmConfig",
    ),
    Rule(
        holds=lambda s: s.asked.quantization == "fp8",
        words=(
            "ValueError: The `fp8` quantization method no longer supports online quantization. Please use "
            "`--quantization fp8_per_tensor`"
        ),
        source="V model_executor/layers/quantization/fp8.py:106-112",
    ),
    Rule(
        holds=lambda s: s.gpus > s.gpus_visible,
        words="torch.AcceleratorError: CUDA error: invalid device ordinal",
        source="engine-facts section 5; V checks one replica, not data parallelism",
    ),
    Rule(
        holds=lambda s: not _kv_heads_fit(s) and s.asked.tp < s.model.kv_heads,
        words="AssertionError: {s.model.kv_heads} is not divisible by {s.asked.tp}",
        source="V distributed/utils.py:51-55: fewer ranks than KV heads share them out",
    ),
    Rule(
        holds=lambda s: not _kv_heads_fit(s),
        words="AssertionError: {s.asked.tp} is not divisible by {s.model.kv_heads}",
        source="V distributed/utils.py:51-55: more ranks than KV heads repeat them",
    ),
    Rule(
        holds=lambda s: s.model.intermediate_size % s.asked.tp != 0,
        words="AssertionError: {s.model.intermediate_size} is not divisible by {s.asked.tp}",
        source="V distributed/utils.py:51-55",
    ),
    Rule(
        holds=lambda s: s.asked.pp > s.model.layers,
        words="ValueError: {s.model.layers} layers cannot be split into {s.asked.pp} pipeline stages",
        source="engine-facts section 6; the words are assumed",
    ),
    Rule(
        holds=lambda s: s.deployment.weights_per_gpu > s.deployment.gpu.memory_gib * GIB,
        words="torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {s.weights_gib:.2f} GiB.",
        source="engine-facts section 5",
    ),
    Rule(
        holds=lambda s: s.kv_tokens <= 0,
        words=(
            "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` "
            "when initializing the engine."
        ),
        source="V v1/core/kv_cache_planning.py:58",
    ),
    Rule(
        holds=lambda s: not s.asked.fit_model_len and s.kv_tokens < s.max_model_len,
        words=(
            "ValueError: To serve at least one request with the model's max seq len ({s.max_model_len}), "
            "({s.request_gib:.2f} GiB KV cache is needed. Based on the available memory, the estimated "
            "maximum model length is {s.kv_tokens}."
        ),
        source="engine-facts section 5",
    ),
)
