"""Number formats of checkpoints, from quantization configurations as they are published."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.plan.architecture import shape_of
from autotune.plan.facts import ModelFacts, Stored
from autotune.plan.quantization import stored_of

DENSE = ModelFacts(source="config.json", layers=32, heads=32, dtype="bf16")
MOE = ModelFacts(source="config.json", layers=48, heads=32, experts=128, dtype="bf16")


def weights(bits: int, kind: str, strategy: str, **more: object) -> dict[str, object]:
    """Arguments of compressed-tensors, as llm-compressor writes them."""
    said = {"actorder": None, "block_structure": None, "dynamic": False, "group_size": None, "num_bits": bits}
    return {**said, "observer": "minmax", "strategy": strategy, "symmetric": True, "type": kind, **more}


def group(stored: Mapping[str, object], inputs: object = None, target: str = "Linear") -> dict[str, object]:
    """A config group of compressed-tensors."""
    return {"input_activations": inputs, "output_activations": None, "targets": [target], "weights": stored}


def compressed(
    *groups: Mapping[str, object], ignore: tuple[str, ...] = ("lm_head",), **more: object
) -> dict[str, Any]:
    """The `quantization_config` of compressed-tensors."""
    named = {f"group_{number}": said for number, said in enumerate(groups)}
    said = {"config_groups": named, "ignore": list(ignore), "kv_cache_scheme": None}
    return {"quant_method": "compressed-tensors", "quantization_status": "compressed", **said, **more}


W4 = weights(4, "int", "group", group_size=128)
W8 = weights(8, "float", "channel")
FP4 = weights(4, "float", "tensor_group", group_size=16)
TOKEN = weights(8, "float", "token", dynamic=True)
BLOCK = weights(8, "float", "block", block_structure=[128, 128])
NO_ATTENTION = tuple(f"model.layers.{n}.self_attn.{p}" for n in range(48) for p in ("q_proj", "o_proj"))
FP8_KV = {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False, "symmetric": True}
AWQ = {"bits": 4, "group_size": 128, "quant_method": "awq", "version": "gemm", "zero_point": True}
GPTQ = {
    "bits": 4,
    "group_size": 128,
    "damp_percent": 0.1,
    "desc_act": True,
    "quant_method": "gptq",
    "sym": True,
}
FP8 = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128]}
BNB4 = {
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "llm_int8_skip_modules": None,
    "quant_method": "bitsandbytes",
}
MXFP4 = {
    "modules_to_not_convert": [
        "model.layers.*.self_attn",
        "model.layers.*.mlp.router",
        "model.embed_tokens",
        "lm_head",
    ],
    "quant_method": "mxfp4",
}
ROUND = {"quant_method": "auto-round", "bits": 4, "data_type": "int", "group_size": 128, "sym": True}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param({}, Stored(method="none", gemm_dtype="bf16"), id="not quantized"),
        pytest.param(AWQ, Stored(method="awq", gemm_dtype="w4a16"), id="AWQ"),
        pytest.param({**AWQ, "bits": None, "w_bit": 4}, Stored(method="awq", gemm_dtype="w4a16"), id="AWQ, as AutoAWQ called it"),
        pytest.param({**AWQ, "modules_to_not_convert": ["visual"]}, Stored(method="awq", gemm_dtype="w4a16"), id="AWQ but what sees"),
        pytest.param(GPTQ, Stored(method="gptq", gemm_dtype="w4a16"), id="GPTQ"),
        pytest.param({**GPTQ, "bits": 8}, Stored(method="gptq", gemm_dtype="w8a16"), id="GPTQ of 8 bits"),
        pytest.param({"quant_method": "fp8", "activation_scheme": "static"}, Stored(method="fp8", gemm_dtype="fp8"), id="FP8, a scale for each tensor"),
        pytest.param(FP8, Stored(method="fp8", gemm_dtype="fp8", block_size=128), id="FP8 in blocks"),
        pytest.param({"quant_method": "w8a8_int8"}, Stored(method="w8a8_int8", gemm_dtype="int8"), id="INT8"),
        pytest.param({"quant_method": "w8a8_fp8"}, Stored(method="w8a8_fp8", gemm_dtype="fp8"), id="FP8 of SGLang"),
        pytest.param(BNB4, Stored(method="bitsandbytes", gemm_dtype="w4a16"), id="bitsandbytes, 4 bits"),
        pytest.param({"quant_method": "bitsandbytes", "load_in_8bit": True}, Stored(method="bitsandbytes", gemm_dtype="int8"), id="bitsandbytes, 8 bits"),
        pytest.param(ROUND, Stored(method="auto-round", gemm_dtype="w4a16"), id="AutoRound"),
        pytest.param({**ROUND, "bits": 8, "data_type": "mx_fp_rceil", "act_bits": 8}, Stored(method="auto-round", gemm_dtype="mxfp8"), id="AutoRound, MXFP8"),
        pytest.param(compressed(group(weights(8, "float", "tensor"), weights(8, "float", "tensor"))), Stored(method="compressed-tensors", gemm_dtype="fp8"), id="compressed-tensors FP8"),
        pytest.param(compressed(group(W8, TOKEN), kv_cache_scheme=FP8_KV), Stored(method="compressed-tensors", gemm_dtype="fp8", kvcache_dtype="fp8"), id="FP8, and the KV cache"),
        pytest.param(compressed(group(BLOCK, TOKEN)), Stored(method="compressed-tensors", gemm_dtype="fp8", block_size=128), id="compressed-tensors FP8 in blocks"),
        pytest.param(compressed(group(W4)), Stored(method="compressed-tensors", gemm_dtype="w4a16"), id="W4A16"),
        pytest.param(compressed(group(W4, TOKEN)), Stored(method="compressed-tensors", gemm_dtype="w4afp8"), id="W4A8-FP8"),
        pytest.param(compressed(group(weights(8, "int", "channel"), weights(8, "int", "token", dynamic=True))), Stored(method="compressed-tensors", gemm_dtype="int8"), id="W8A8"),
        pytest.param(compressed(group(weights(8, "int", "channel"))), Stored(method="compressed-tensors", gemm_dtype="w8a16"), id="W8A16"),
        pytest.param(compressed(group(FP4, FP4)), Stored(method="compressed-tensors", gemm_dtype="nvfp4"), id="NVFP4"),
        pytest.param(compressed(group(weights(4, "float", "group", group_size=32))), Stored(method="compressed-tensors", gemm_dtype="mxfp4"), id="MXFP4"),
        pytest.param(compressed(group(weights(8, "float", "group", group_size=32))), Stored(method="compressed-tensors", gemm_dtype="mxfp8"), id="MXFP8"),
        pytest.param(compressed(group(W4), ignore=("lm_head", "re:.*self_attn.*")), Stored(method="compressed-tensors", gemm_dtype="w4a16"), id="the MLP only"),
        pytest.param(compressed(group(W4), ignore=(r"re:.*layers\.1.mlp\..*", r"re:.*layers\.0.self_attn\..*")), Stored(method="compressed-tensors", gemm_dtype="w4a16"), id="two layers less"),
        pytest.param({"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_scheme": FP8_KV, "ignore": ["lm_head"]}, Stored(method="modelopt", gemm_dtype="fp8", kvcache_dtype="fp8"), id="ModelOpt in config.json"),
    ],
)  # fmt: skip
def test_dense(said: dict[str, Any], expected: Stored) -> None:
    """What a model without experts stores."""
    assert stored_of(said, {}, DENSE) == (expected, ())


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param({}, Stored(method="none", gemm_dtype="bf16", moe_dtype="bf16"), id="not quantized"),
        pytest.param(MXFP4, Stored(method="mxfp4", gemm_dtype="bf16", moe_dtype="mxfp4"), id="gpt-oss"),
        pytest.param(FP8, Stored(method="fp8", gemm_dtype="fp8", moe_dtype="fp8", block_size=128), id="DeepSeek-V3"),
        pytest.param({**FP8, "expert_dtype": "fp4"}, Stored(method="fp8", gemm_dtype="fp8", moe_dtype="mxfp4", block_size=128), id="DeepSeek-V4"),
        pytest.param({"quant_method": "w4afp8"}, Stored(method="w4afp8", gemm_dtype="fp8", moe_dtype="w4afp8"), id="W4AFP8 of SGLang"),
        pytest.param({**AWQ, "modules_to_not_convert": ["gate"]}, Stored(method="awq", gemm_dtype="w4a16", moe_dtype="w4a16"), id="all but the router"),
        pytest.param({**AWQ, "modules_to_not_convert": ["self_attn", "mlp.gate"]}, Stored(method="awq", gemm_dtype="bf16", moe_dtype="w4a16"), id="all but attention"),
        pytest.param({**GPTQ, "dynamic": {"-:.*attn.*": {}, "-:.*mlp.gate$": {}}}, Stored(method="gptq", gemm_dtype="bf16", moe_dtype="w4a16"), id="GPTQModel's rules"),
        pytest.param(compressed(group(W4, TOKEN, "re:.*mlp.experts.*")), Stored(method="compressed-tensors", gemm_dtype="bf16", moe_dtype="w4afp8"), id="experts only"),
        pytest.param(compressed(group(FP4, FP4), ignore=NO_ATTENTION), Stored(method="compressed-tensors", gemm_dtype="bf16", moe_dtype="nvfp4"), id="attention left out, layer by layer"),
        pytest.param(compressed(group(FP4), ignore=("re:.*experts.*",)), Stored(method="compressed-tensors", gemm_dtype="nvfp4", moe_dtype="bf16"), id="experts left out"),
        pytest.param(compressed(group(W8, TOKEN, "re:.*self_attn.(o_proj|q_b_proj).*"), group(FP4, FP4, "re:.*mlp.experts.*")), Stored(method="compressed-tensors", gemm_dtype="fp8", moe_dtype="nvfp4"), id="FP8 attention, NVFP4 experts"),
        pytest.param(compressed(group(W8, TOKEN), group(W4, None, "re:.*experts.*")), Stored(method="compressed-tensors", gemm_dtype="fp8", moe_dtype="w4a16"), id="a name wins over a class"),
        pytest.param(compressed(group(FP4, FP4, r"re:model\.language_model\..*")), Stored(method="compressed-tensors", gemm_dtype="nvfp4", moe_dtype="nvfp4"), id="deeper, in a model that sees"),
    ],
)  # fmt: skip
def test_experts(said: dict[str, Any], expected: Stored) -> None:
    """What a model with experts stores, in attention and in the experts."""
    assert stored_of(said, {}, MOE) == (expected, ())


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param({"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}, ("fp8", "fp8", "fp8"), id="FP8"),
        pytest.param({"quant_algo": "FP8", "kv_cache_quant_algo": None}, ("fp8", "fp8", None), id="no KV scales"),
        pytest.param({"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8", "group_size": 16, "exclude_modules": ["lm_head"]}, ("nvfp4", "nvfp4", "fp8"), id="NVFP4"),
        pytest.param({"quant_algo": "NVFP4", "exclude_modules": [f"model.layers.{n}.self_attn*" for n in range(48)]}, ("bf16", "nvfp4", None), id="NVFP4 without attention"),
        pytest.param({"quant_algo": "NVFP4", "kv_cache_quant_algo": "NVFP4"}, ("nvfp4", "nvfp4", "nvfp4"), id="NVFP4 KV cache"),
        pytest.param({"quant_algo": "W4A8_AWQ"}, ("w4afp8", "w4afp8", None), id="W4A8"),
        pytest.param({"quant_algo": "W4A16_AWQ"}, ("w4a16", "w4a16", None), id="W4A16"),
        pytest.param({"quant_algo": "MXFP8"}, ("mxfp8", "mxfp8", None), id="MXFP8"),
        pytest.param({"quant_algo": "MIXED_PRECISION", "kv_cache_quant_algo": None}, ("fp8", "w4afp8", None), id="DeepSeek-R1-W4AFP8"),
        pytest.param({"quant_algo": "MIXED_PRECISION", "quantized_layers": {"model.layers.3.self_attn.o_proj": {"quant_algo": "FP8"}, "model.layers.3.mlp.experts.0.down_proj": {"quant_algo": "NVFP4", "group_size": 16}}}, ("fp8", "nvfp4", None), id="layer by layer"),
        pytest.param({"quant_algo": None, "kv_cache_quant_algo": "FP8"}, ("bf16", "bf16", "fp8"), id="the KV cache only"),
    ],
)  # fmt: skip
def test_hf_quant_config(said: dict[str, Any], expected: tuple[str | None, ...]) -> None:
    """What ModelOpt says beside config.json: attention, experts, KV cache."""
    stored, notes = stored_of({}, {"producer": {"name": "modelopt"}, "quantization": said}, MOE)
    assert (stored.method, stored.gemm_dtype, stored.moe_dtype, stored.kvcache_dtype) == (
        "modelopt",
        *expected,
    )
    assert notes == ()


@pytest.mark.parametrize(
    ("said", "method", "note"),
    [
        pytest.param({"quant_method": "hqq"}, "hqq", "the checkpoint's quantization hqq is not known here: if engines know it, say its format with model.stored.method=hqq model.stored.gemm_dtype=...", id="method"),
        pytest.param({**GPTQ, "bits": 3}, "gptq", "the number format of the linear layers of this gptq checkpoint is not known here", id="3 bits"),
        pytest.param({"quant_method": "modelopt", "quant_algo": "NEW"}, "modelopt", "the number format of the linear layers of this modelopt checkpoint is not known here", id="algorithm"),
        pytest.param(compressed(group(weights(4, "int", "group"), weights(8, "int", "token"))), "compressed-tensors", "the number format of the linear layers of this compressed-tensors checkpoint is not known here", id="W4A8 of integers"),
    ],
)  # fmt: skip
def test_unknown(said: dict[str, Any], method: str, note: str) -> None:
    """What is not known is None, and a note."""
    assert stored_of(said, {}, DENSE) == (Stored(method=method), (note,))


KEYS = st.sampled_from(
    [
        *(
            "quant_method",
            "quant_algo",
            "config_groups",
            "group_0",
            "weights",
            "targets",
            "ignore",
            "dynamic",
        ),
        *("num_bits", "bits", "type", "strategy", "kv_cache_scheme", "quantization", "quantized_layers"),
        *("text_config", "num_attention_heads", "num_hidden_layers", "layer_types", "rope_scaling", "factor"),
        *("sliding_window", "sliding_window_pattern", "num_experts", "moe_layer_freq", "mlp_only_layers"),
        *(
            "model_type",
            "torch_dtype",
            "weight_block_size",
            "block_structure",
            "rope_type",
            "exclude_modules",
        ),
    ]
)
NAMES = st.sampled_from(
    ["awq", "gptq", "modelopt", "compressed-tensors", "MIXED_PRECISION", "float", "re:(", "[", ""]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=8), st.dictionaries(KEYS, VALUES, max_size=3))
def test_no_content_is_a_traceback(config: dict[str, Any], separate: dict[str, Any]) -> None:
    """Whatever the files say, it is read, or said to be wrong."""
    facts, problems = shape_of(json.loads(json.dumps(config)), "config.json")
    stored, notes = stored_of(config, separate, facts)
    assert stored.method
    assert all(isinstance(said, str) for said in (*problems, *notes))
