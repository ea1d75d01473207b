"""What SGLang 0.5.23 refuses although its parser accepts it, in its own words; first come, first said.

Source: S is SGLang 0.5.23 below python/sglang/srt/, by way of engine-facts; read there, not executed.
"""

from __future__ import annotations

from autotune.deploy.simulated.cost_model import GIB
from autotune.deploy.simulated.number_formats import CHECKPOINT_QUANTIZATIONS
from autotune.deploy.simulated.situation import Rule

RULES = (
    Rule(
        holds=lambda s: min(s.counts) < 1,
        words="AssertionError",
        source="assumed: a size of 0 divides something by zero or fails an assertion",
    ),
    Rule(
        holds=lambda s: s.asked.attention_dp > 1 and s.asked.replicas > 1,
        words="ValueError: dp_size and attn_dp_size cannot both be larger than 1",
        source="S arg_groups/parallel_hook.py:288-293; the words are assumed",
    ),
    Rule(
        holds=lambda s: s.asked.tp % s.asked.attention_dp != 0,
        words="AssertionError: tp_size must be divisible by attn_dp_size",
        source="S arg_groups/parallel_hook.py:326",
    ),
    Rule(
        holds=lambda s: s.max_model_len > s.model.max_model_len,
        words=(
            "ValueError: context_length ({s.max_model_len}) is greater than the derived context_length "
            "({s.model.max_model_len})."
        ),
        source="engine-facts section 5",
    ),
    Rule(
        holds=lambda s: s.gpus > s.gpus_visible,
        words="torch.AcceleratorError: CUDA error: invalid device ordinal",
        source="engine-facts section 5; replicas take tp·pp GPUs each",
    ),
    Rule(
        holds=lambda s: s.asked.tp % s.asked.decode_cp != 0,
        words=(
            "RuntimeError: tensor_model_parallel_size ({s.asked.tp}) must be divisible by "
            "decode_context_parallel_size ({s.asked.decode_cp})"
        ),
        source="S distributed/parallel_state.py:2665",
    ),
    Rule(
        holds=lambda s: s.asked.quantization in CHECKPOINT_QUANTIZATIONS["sglang"],
        words="ValueError: Cannot find the config file for {s.asked.quantization}",
        source="S model_loader/weight_utils.py, get_quant_config; no model here is quantized",
    ),
    Rule(
        holds=lambda s: s.asked.kv_dtype == "nvfp4" and 0 < s.capability < 100,
        words="ValueError: --kv-cache-dtype=nvfp4 requires Blackwell",
        source="S arg_groups/kv_cache_hook.py:107",
    ),
    Rule(
        holds=lambda s: s.asked.kv_dtype == "mxfp8" and 0 < s.capability < 100,
        words="ValueError: mxfp8 requires an SM100",
        source="S arg_groups/kv_cache_hook.py:129",
    ),
    Rule(
        holds=lambda s: s.model.heads % (s.asked.tp // s.asked.attention_dp) != 0,
        words="AssertionError",
        source="S models/llama.py:183: an assertion without words",
    ),
    Rule(
        holds=lambda s: s.model.intermediate_size % s.asked.tp != 0,
        words="AssertionError: {s.model.intermediate_size} is not divisible by {s.asked.tp}",
        source="engine-facts section 6; the words are vLLM's, whose layers these are: assumed",
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
        holds=lambda s: s.asked.memory_fraction > 1,
        words="torch.OutOfMemoryError: CUDA out of memory.",
        source="assumed: no check of the fraction is known",
    ),
    Rule(
        holds=lambda s: s.kv_tokens <= 0,
        words="ValueError: Loaded weights leave no GPU memory for the KV cache under --mem-fraction-static",
        source="S mem_cache/kv_cache_configurator.py:3051",
    ),
)
