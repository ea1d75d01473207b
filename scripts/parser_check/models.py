"""Model folders of the right shape: a config.json from each preset's numbers, and no weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """An architecture, and what its config.json says beside the numbers that every preset has.

    `experts` names the key of the number of experts. A value that is a preset's field name in braces is that
    field.
    """

    architecture: str
    experts: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


# By the model's type. Source: config.json of the models.
FAMILIES: Mapping[str, Family] = {
    "llama": Family(architecture="LlamaForCausalLM"),
    "mistral": Family(architecture="MistralForCausalLM"),
    "mixtral": Family(architecture="MixtralForCausalLM", experts="num_local_experts"),
    "qwen3": Family(architecture="Qwen3ForCausalLM"),
    "qwen3_moe": Family(
        architecture="Qwen3MoeForCausalLM",
        experts="num_experts",
        extra={"decoder_sparse_step": 1, "norm_topk_prob": True, "mlp_only_layers": []},
    ),
    "deepseek_v3": Family(
        architecture="DeepseekV3ForCausalLM",
        experts="n_routed_experts",
        extra={
            "first_k_dense_replace": "{dense_layers}",
            "kv_lora_rank": "{kv_lora_rank}",
            "qk_rope_head_dim": "{qk_rope_head_dim}",
            "q_lora_rank": 1536,
            "qk_nope_head_dim": 128,
            "v_head_dim": 128,
            "n_shared_experts": 1,
            "n_group": 8,
            "topk_group": 4,
            "topk_method": "noaux_tc",
            "scoring_func": "sigmoid",
            "routed_scaling_factor": 2.5,
            "norm_topk_prob": True,
            "moe_layer_freq": 1,
            "num_nextn_predict_layers": 1,
        },
    ),
    "gpt_oss": Family(
        architecture="GptOssForCausalLM",
        experts="num_local_experts",
        extra={"sliding_window": "{sliding_window}", "swiglu_limit": 7.0, "attention_bias": True},
    ),
    "gemma3_text": Family(  # the half of Gemma 3 that reads
        architecture="Gemma3ForCausalLM",
        extra={"sliding_window": "{sliding_window}", "query_pre_attn_scalar": 168},
    ),
}
# What a checkpoint says of its own quantization, by the preset's `stored.method`.
METHODS: Mapping[str, Mapping[str, Any]] = {
    "fp8": {"fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]},
    "mxfp4": {"modules_to_not_convert": ["model.layers.*.self_attn", "model.embed_tokens", "lm_head"]},
    "awq": {"bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"},
    "bitsandbytes": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "experts_int8": {},
    "gptq": {"bits": 4, "group_size": 128, "desc_act": False, "sym": True},
}
SHAPE = {
    "num_hidden_layers": "layers",
    "hidden_size": "hidden_size",
    "num_attention_heads": "heads",
    "num_key_value_heads": "kv_heads",
    "head_dim": "head_dim",
    "intermediate_size": "intermediate_size",
    "vocab_size": "vocab_size",
    "max_position_embeddings": "max_model_len",
    "num_experts_per_tok": "experts_per_token",
    "moe_intermediate_size": "moe_intermediate_size",
    "tie_word_embeddings": "tied_embeddings",
}
DTYPES = {"bf16": "bfloat16", "fp16": "float16", None: "bfloat16"}


def model_folder(model: Mapping[str, Any], root: Path) -> Path:
    """Return the folder of a composed model node, written once.

    Raises: ValueError for a model or a quantization method that no template is known of.
    """
    text = json.dumps(config_json(model), indent=1, sort_keys=True)
    folder = root / hashlib.sha256(text.encode()).hexdigest()[:12]
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(text, "utf-8")
    return folder


def config_json(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of config.json for a composed model node."""
    family = _family(str(model["model_type"]))
    content = {key: model[name] for key, name in SHAPE.items() if model[name] is not None}
    content |= {
        "architectures": [family.architecture],
        "model_type": model["model_type"],
        "torch_dtype": DTYPES[model["dtype"]],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "rope_theta": 500000.0,
        **{key: _filled(value, model) for key, value in family.extra.items()},
    }
    if family.experts is not None:
        content[family.experts] = model["experts"]
        # Some families have one width, that of an expert.
        content.setdefault("intermediate_size", model["moe_intermediate_size"])
    if model["sliding_layers"]:
        content["layer_types"] = _layer_types(model["layers"], model["sliding_layers"])
    method = model["stored"]["method"]
    if method not in {None, "none"}:
        content["quantization_config"] = {"quant_method": method, **_method(method)}
    return content


def _family(model_type: str) -> Family:
    if model_type not in FAMILIES:
        raise ValueError(f"no template of a config.json for {model_type}: add one to {Path(__file__).name}")
    return FAMILIES[model_type]


def _method(method: str) -> Mapping[str, Any]:
    if method not in METHODS:
        raise ValueError(
            f"no template of a quantization_config for {method}: add one to {Path(__file__).name}"
        )
    return METHODS[method]


def _filled(value: Any, model: Mapping[str, Any]) -> Any:
    if isinstance(value, str) and value.startswith("{"):
        return model[value.strip("{}")]
    return value


def _layer_types(layers: int, sliding: int) -> list[str]:
    """Full attention after every so many sliding layers."""
    period = layers // max(1, layers - sliding)
    full = {n for n in range(layers) if n % period == period - 1}
    return ["full_attention" if n in full else "sliding_attention" for n in range(layers)]
