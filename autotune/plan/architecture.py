"""The shape of a model, from its config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from autotune.plan.facts import ModelFacts

# The keys that each fact has in the config.json files of model families, the commonest first.
KEYS: Mapping[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "hidden_size": ("hidden_size", "n_embd", "d_model"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads", "multi_query_group_num"),
    "head_dim": ("head_dim", "kv_channels"),
    "intermediate_size": ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size"),
    "vocab_size": ("vocab_size", "padded_vocab_size"),
    "max_model_len": ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length"),
    "experts": ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"),
    "experts_per_token": ("num_experts_per_tok", "experts_per_token", "num_experts_per_token", "moe_k"),
    "moe_intermediate_size": ("moe_intermediate_size",),
    "kv_lora_rank": ("kv_lora_rank",),
    "qk_rope_head_dim": ("qk_rope_head_dim",),
    "index_topk": ("index_topk",),
    "sliding_window": ("sliding_window", "attention_chunk_size"),
}
NEVER_ZERO = frozenset({"layers", "hidden_size", "heads", "kv_heads", "vocab_size", "max_model_len"})
LARGEST = 2**40  # nothing in a config.json is larger; products of a few such numbers still compute

# What a config.json leaves out because it is the default of its class.
# Source: transformers 4.57, Gemma3TextConfig, Gemma2Config, GemmaConfig.
CLASS_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "gemma3_text": {
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "vocab_size": 262208,
        "max_position_embeddings": 131072,
        "sliding_window_pattern": 6,
        "tie_word_embeddings": True,
    },
    "gemma2": {"sliding_window_pattern": 2, "tie_word_embeddings": True},
    "gemma": {"tie_word_embeddings": True},
}
TEXT_PARTS = ("text_config", "llm_config", "language_config")  # of models that also see or hear
DTYPES = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "float": "fp32"}
SLIDING = frozenset({"sliding_attention", "chunked_attention"})
CACHELESS = frozenset({"linear_attention", "mamba", "mamba2", "conv", "recurrent"})
AS_LONG_AS_SAID = frozenset({"su", "longrope", "llama3"})  # rope scalings that max_position_embeddings has


def text_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a config.json says of the language model: its part's keys, else the file's own."""
    part: dict[str, Any] = next(
        (config[name] for name in TEXT_PARTS if isinstance(config.get(name), dict)), {}
    )
    told = {**config, **{key: value for key, value in part.items() if value is not None}}
    return {**CLASS_DEFAULTS.get(str(told.get("model_type")), {}), **told}


def shape_of(config: Mapping[str, Any], source: str) -> tuple[ModelFacts, list[str]]:
    """Return the shape that a config.json describes, and what is wrong with it."""
    text = text_of(config)
    numbers, problems = _numbers(text)
    if not numbers.get("layers") and not numbers.get("heads") and not problems:
        named = text.get("model_type") or text.get("architectures")
        problems = [] if named else ["describes no model: no model_type, layers or heads"]
    numbers = _with_experts(_with_heads(numbers), text)
    layers = numbers.get("layers") or 0
    tied, family = text.get("tie_word_embeddings"), text.get("model_type")
    sliding = _sliding_layers(text, layers) if numbers.get("sliding_window") else 0
    return ModelFacts(
        source=source,
        model_type=family if isinstance(family, str) else None,
        **{**numbers, "max_model_len": _longest(text, numbers.get("max_model_len"))},
        tied_embeddings=tied if isinstance(tied, bool) else None,
        dense_layers=_dense_layers(text, layers) if numbers.get("experts") else 0,
        sliding_layers=min(sliding, layers),
        cacheless_layers=_cacheless_layers(text),
        dtype=_dtype(text),
    ), problems


def _numbers(text: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Facts that are whole numbers; a list (a value for each layer) is as good as not told."""
    numbers: dict[str, Any] = {}
    problems = []
    for fact, keys in KEYS.items():
        key = next((key for key in keys if text.get(key) is not None), None)
        value = text[key] if key else None
        if value is None or isinstance(value, list | dict):
            continue
        least = 1 if fact in NEVER_ZERO else 0
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST:
            problems.append(f"{key} is {_short(value)}: must be a whole number of at least {least}")
        else:
            numbers[fact] = value or None
    return numbers, problems


def _with_heads(numbers: dict[str, Any]) -> dict[str, Any]:
    heads, hidden = numbers.get("heads"), numbers.get("hidden_size")
    if heads and not numbers.get("kv_heads"):
        numbers["kv_heads"] = heads
    if heads and hidden and not numbers.get("head_dim") and not numbers.get("kv_lora_rank"):
        numbers["head_dim"] = hidden // heads
    return numbers


def _with_experts(numbers: dict[str, Any], text: Mapping[str, Any]) -> dict[str, Any]:
    """Where experts have no width of their own, the width is theirs: Mixtral, gpt-oss, Llama 4."""
    if not numbers.get("experts"):
        return {**numbers, "experts_per_token": None, "moe_intermediate_size": None}
    if numbers.get("moe_intermediate_size"):
        return numbers
    dense = text.get("intermediate_size_mlp")  # Llama 4
    width = dense if isinstance(dense, int) and 0 < dense <= LARGEST else None
    return {
        **numbers,
        "moe_intermediate_size": numbers.get("intermediate_size"),
        "intermediate_size": width,
    }


def _longest(text: Mapping[str, Any], said: int | None) -> int | None:
    """The longest context, tokens: yarn extends the original one, other scalings the one that is said.

    Source: vLLM config/model.py, _get_and_verify_max_len; Gemma 3 says the extended length.
    """
    rope = text.get("rope_scaling") or text.get("rope_parameters")
    if not said or not isinstance(rope, dict) or str(text.get("model_type")).startswith("gemma3"):
        return said
    kind, factor = str(rope.get("rope_type") or rope.get("type")), rope.get("factor")
    if kind in AS_LONG_AS_SAID or not _positive(factor):
        return said
    original = rope.get("original_max_position_embeddings")
    return int((original if kind == "yarn" and _positive(original) else said) * factor)


def _positive(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LARGEST


def _dense_layers(text: Mapping[str, Any], layers: int) -> int:
    """Layers without experts: the first ones, every so many, or those that are listed."""
    listed = text.get("moe_layers")  # Llama 4
    if isinstance(listed, list):
        return max(0, layers - len(listed))
    frequency = text.get("moe_layer_freq")
    if isinstance(frequency, list):  # a flag for each layer
        return sum(not flag for flag in frequency[:layers])
    first, every = _count(text, "first_k_dense_replace"), _count(text, "moe_layer_freq") or 1
    if first or every > 1:
        return layers - len(range(-(-first // every) * every, layers, every))
    step = _count(text, "decoder_sparse_step") or _count(text, "interleave_moe_layer_step") or 1
    sparse = range(step - 1, layers, step)
    only = text.get("mlp_only_layers")
    excluded = {n for n in only if isinstance(n, int)} if isinstance(only, list) else set()
    return layers - len(sparse) + sum(n in sparse for n in excluded)


def _sliding_layers(text: Mapping[str, Any], layers: int) -> int:
    """Layers that see no more than the window; the others see everything."""
    if text.get("use_sliding_window", "max_window_layers" not in text) is False:
        return 0
    kinds = text.get("layer_types")
    if isinstance(kinds, list):
        return sum(kind in SLIDING for kind in kinds if isinstance(kind, str))
    if text.get("sliding_window") is None:
        return 0
    pattern = text.get("sliding_window_pattern") or text.get("_sliding_window_pattern")
    if isinstance(pattern, str):  # EXAONE 4: a letter for each layer, L for local
        whole, rest = divmod(layers, len(pattern))
        return whole * pattern.count("L") + pattern[:rest].count("L")
    if isinstance(pattern, int) and pattern > 0:  # every so many layers, one sees everything
        return layers - layers // pattern
    if text.get("use_sliding_window") is True and "max_window_layers" in text:  # Qwen 2: the last ones
        return max(0, layers - _count(text, "max_window_layers"))
    return layers


def _cacheless_layers(text: Mapping[str, Any]) -> int:
    kinds, every = text.get("layer_types"), _count(text, "full_attention_interval")
    if every and not isinstance(kinds, list):  # Qwen3-Next: one in so many has a cache
        return _count(text, "num_hidden_layers") - _count(text, "num_hidden_layers") // every
    return sum(kind in CACHELESS for kind in kinds if isinstance(kind, str)) if isinstance(kinds, list) else 0


def _count(text: Mapping[str, Any], key: str) -> int:
    value = text.get(key)
    return value if isinstance(value, int) and 0 < value <= LARGEST else 0


def _dtype(text: Mapping[str, Any]) -> str | None:
    name = text.get("dtype") or text.get("torch_dtype")
    return DTYPES.get(name.removeprefix("torch.")) if isinstance(name, str) else None


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:36]} ..."
