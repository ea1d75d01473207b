"""Which number formats each engine knows, and what they ask of a GPU or of a checkpoint."""

from __future__ import annotations

CHECKPOINT_QUANTIZATIONS = {
    "vllm": (
        *("awq", "auto_awq", "awq_marlin", "gptq", "auto_gptq", "gptq_marlin", "compressed-tensors"),
        *("fbgemm_fp8", "fp_quant", "modelopt", "modelopt_fp4", "modelopt_mxfp8", "modelopt_mixed"),
        *("moe_wna16", "quark", "gpt_oss_mxfp4", "deepseek_v4_fp8"),
    ),
    "sglang": (
        *("awq", "awq_marlin", "gptq", "gptq_marlin", "compressed-tensors", "modelopt", "modelopt_fp8"),
        *("modelopt_fp4", "modelopt_mixed", "moe_wna16", "petit_nvfp4", "quark", "w4afp8", "w8a8_int8"),
    ),
}
"""Methods that read what a quantized checkpoint says. Source: engine-facts sections 2.1 and 2.2."""

VLLM_QUANTIZATIONS = (
    *CHECKPOINT_QUANTIZATIONS["vllm"],
    *("fp8", "experts_int8", "torchao", "inc", "mxfp4", "humming", "fp8_per_tensor", "fp8_per_block"),
    *("fp8_per_channel", "mxfp8", "int8_per_channel_weight_only", "nvfp4_per_token", "online"),
)
"""Source: vLLM 0.33.0 model_executor/layers/quantization/__init__.py:15, config/quantization.py:195-240."""

VLLM_KV_DTYPES = (
    *("auto", "float16", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc", "fp8_ds_mla"),
    *("nvfp4_ds_mla", "ultraquant_4bit", "int4_per_token_head", "int8_per_token_head"),
    *("fp8_per_token_head", "nvfp4", "nvfp4_4over6"),
)
"""Source: vLLM 0.33.0 config/cache.py:44; the families of `VLLM_KV_FAMILIES` besides."""

VLLM_KV_FAMILIES = ("turboquant_", "octave_")

MINIMUM_CAPABILITY = {
    ("vllm", "fp8_per_channel"): 89,
    ("vllm", "fp8_per_tensor"): 75,
    ("vllm", "fp8_per_block"): 75,
    ("vllm", "mxfp4"): 80,
    ("vllm", "nvfp4_per_token"): 100,
    ("sglang", "fp8"): 80,
    ("sglang", "mxfp8"): 100,
    ("sglang", "mxfp4"): 80,
    ("sglang", "nvfp4_online"): 100,
    ("sglang", "w8a8_fp8"): 89,
}
"""Compute capability times 10 by engine and online quantization. Source: engine-facts section 2.3."""
