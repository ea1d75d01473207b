"""Number formats that a checkpoint stores, from what its config.json or hf_quant_config.json says.

Every method is brought to one form, `Scheme`: which modules have which format, and which are left out; a
module's name wins over its class, `Linear`. What holds for attention and for the experts is then asked of a
layer in the middle of the model.
Source: vLLM 0.33.0 model_executor/layers/quantization, SGLang 0.5.23 configs/model_config.py:1727-1830,
NVIDIA ModelOpt's export (torch/export/quant_format.py), compressed-tensors' QuantizationConfig.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from autotune.plan.facts import ModelFacts, Stored

Formats = tuple[tuple[tuple[str, ...], str | None], ...]

ATTENTION = ("self_attn.o_proj", "mixer.o_proj")
MLP = ("mlp.down_proj",)
EXPERT = ("mlp.experts.0.down_proj", "block_sparse_moe.experts.0.w2", "mixer.experts.0.down_proj")
EVERYWHERE = ("Linear",)
EXPERTS = ("re:.*experts.*",)
LEFT_OUT = ("modules_to_not_convert", "ignored_layers", "ignore", "exclude_modules", "llm_int8_skip_modules")
WHOLE = {  # methods with one format
    "fp8": "fp8",
    "fbgemm_fp8": "fp8",
    "w8a8_fp8": "fp8",
    "w8a8_int8": "int8",
    "mxfp8": "mxfp8",
    "nvfp4": "nvfp4",
}
WEIGHT_ONLY = {4: "w4a16", 8: "w8a16"}  # integers of so many bits, activations of 16
AUTO_ROUND = {
    ("int", 4): "w4a16",
    ("int", 8): "w8a16",
    ("mx_fp", 4): "mxfp4",
    ("mx_fp", 8): "mxfp8",
    ("nv_fp", 4): "nvfp4",
}
# ModelOpt's quant_algo, upper case. W4A16_NVFP4 and its like store the same weights.
ALGORITHMS = {
    **dict.fromkeys(("FP8", "FP8_PER_CHANNEL_PER_TOKEN", "FP8_PC_PT", "FP8_BLOCK_SCALES"), "fp8"),
    **dict.fromkeys(("FP8_PB_WO", "FP8_PB_REAL"), "fp8"),
    **dict.fromkeys(("NVFP4", "NVFP4_AWQ", "NVFP4_SVDQUANT", "W4A16_NVFP4", "W4A8_NVFP4_FP8"), "nvfp4"),
    **dict.fromkeys(("MXFP4", "W4A16_MXFP4", "W4A8_MXFP4_FP8", "W4A8_MXFP4_MXFP8"), "mxfp4"),
    **dict.fromkeys(("W4A8_AWQ", "W4A8", "W4AFP8"), "w4afp8"),
    **dict.fromkeys(("W4A16_AWQ", "W4A16", "W4A16_GPTQ", "INT4_AWQ"), "w4a16"),
    **dict.fromkeys(("INT8_SQ", "W8A8_SQ_PER_CHANNEL"), "int8"),
    **dict.fromkeys(("W8A16", "INT8_WO", "W8A16_GPTQ"), "w8a16"),
    "MXFP8": "mxfp8",
}
KV_CACHE = {"FP8": "fp8", "NVFP4": "nvfp4", "INT8": "int8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """Formats by the modules that have them, in the order in which they count; the rest is as `dtype`."""

    formats: Formats = ()
    left_out: tuple[str, ...] = ()
    kvcache_dtype: str | None = None
    block_size: int | None = None


def stored_of(
    config: Mapping[str, Any], separate: Mapping[str, Any], facts: ModelFacts
) -> tuple[Stored, tuple[str, ...]]:
    """Return the number formats, and notes on what is unknown of them.

    `config` is the `quantization_config` of config.json, `separate` is hf_quant_config.json; empty where
    there is none.
    """
    if not config and not separate:
        moe = facts.dtype if facts.experts else None
        return Stored(method="none", gemm_dtype=facts.dtype, moe_dtype=moe), ()
    scheme = _scheme(config, _dict(separate, "quantization") or _dict(config, "quantization"), facts)
    method = str(config.get("quant_method") or "modelopt") if config else "modelopt"
    if scheme is None:
        note = (
            f"the checkpoint's quantization {method} is not known here: if engines know it, say its format "
            f"with model.stored.method={method} model.stored.gemm_dtype=..."
        )
        return Stored(method=method), (note,)
    middle = (facts.layers or 2) // 2
    rest = facts.dtype or "bf16"  # what engines load where config.json does not say
    gemm = _format(scheme, (ATTENTION,) if facts.experts else (MLP, ATTENTION), middle, rest)
    moe = _format(scheme, (EXPERT,), middle, rest) if facts.experts else None
    stored = Stored(
        method=method,
        gemm_dtype=gemm,
        moe_dtype=moe,
        kvcache_dtype=scheme.kvcache_dtype,
        block_size=scheme.block_size,
    )
    if gemm and (moe or not facts.experts):
        return stored, ()
    part = "linear layers" if not gemm else "experts"
    return stored, (f"the number format of the {part} of this {method} checkpoint is not known here",)


def _format(scheme: Scheme, parts: Sequence[Sequence[str]], layer: int, dtype: str | None) -> str | None:
    """The format of the first of some parts of a layer that is quantized; a part has several names."""
    for names in parts:
        modules = [f"model.layers.{layer}.{name}" for name in names]
        if any(_covers(pattern, module) for pattern in scheme.left_out for module in modules):
            continue
        for targets, name in sorted(scheme.formats, key=lambda item: item[0] == EVERYWHERE):
            if any(target == "Linear" or _covers(target, module) for target in targets for module in modules):
                return name
    return dtype


def _covers(pattern: str, module: str) -> bool:
    """Whether a name, a glob or a regular expression (`re:`) means this module, or one that it is in.

    The language model of a multimodal one stands deeper: names are compared from `layers.` on.
    """
    if pattern.startswith("re:"):
        deeper = module.replace("model.", "model.language_model.", 1)
        try:
            return any(re.match(pattern[3:], name) for name in (module, deeper))
        except re.error:
            return False
    tail = pattern[max(pattern.find("layers."), 0) :]
    return fnmatchcase(f".{module}.", f"*.{tail.lstrip('*.')}.*")


def _scheme(config: Mapping[str, Any], inner: Mapping[str, Any], facts: ModelFacts) -> Scheme | None:
    """The scheme of a method that is known."""
    both = {**inner, **{key: value for key, value in config.items() if value is not None}}
    method = str(config.get("quant_method") or "modelopt")
    groups = [group for group in _dict(config, "config_groups").values() if isinstance(group, dict)]
    known: Formats | None = None
    if method.startswith(("modelopt", "nvfp4")):
        known = _modelopt(both, named=bool(inner) and not groups)
    if known is None and groups:
        known = tuple((_names(group, "targets"), _of_group(group)) for group in groups)
    if known is None:
        known = _formats(method, config, facts)
    if known is None:
        return None
    left_out = [name for key in LEFT_OUT for name in _names(both, key)]
    left_out += [f"re:{rule[2:]}" for rule in _dict(config, "dynamic") if rule.startswith("-:")]  # GPTQModel
    blocks = [_block(config), *(_block(_dict(group, "weights")) for group in groups)]
    return Scheme(
        formats=known,
        left_out=tuple(left_out),
        kvcache_dtype=_kv_cache(both),
        block_size=next(filter(None, blocks), None),
    )


def _formats(method: str, config: Mapping[str, Any], facts: ModelFacts) -> Formats | None:
    """The formats of a method that has no groups; None where it is not known."""
    if method == "mxfp4":  # gpt-oss: experts, beside bf16
        return (EXPERTS, "mxfp4"), (EVERYWHERE, facts.dtype or "bf16")
    if method == "w4afp8":  # SGLang: the other layers are FP8
        return (EXPERTS, "w4afp8"), (EVERYWHERE, "fp8")
    if method == "fp8" and config.get("expert_dtype") == "fp4":  # DeepSeek-V4
        return (EXPERTS, "mxfp4"), (EVERYWHERE, "fp8")
    if method in {"awq", "gptq", "gptqmodel"}:
        bits = _whole(config, "bits") or _whole(config, "w_bit") or 4
        return ((EVERYWHERE, WEIGHT_ONLY.get(bits)),)
    if method in {"auto-round", "auto_round", "inc"}:
        kind, activations = str(config.get("data_type", "int"))[:5], _whole(config, "act_bits") or 16
        if kind == "int" and activations < 16:
            return ((EVERYWHERE, None),)
        return ((EVERYWHERE, AUTO_ROUND.get((kind, _whole(config, "bits") or 4))),)
    if method == "bitsandbytes":
        four = config.get("load_in_4bit") or config.get("_load_in_4bit")
        return ((EVERYWHERE, "w4a16" if four else "int8"),)
    return ((EVERYWHERE, WHOLE[method]),) if method in WHOLE else None


def _modelopt(said: Mapping[str, Any], *, named: bool) -> Formats | None:
    """ModelOpt's formats: one algorithm, or one for each layer; `named` is whether null means none."""
    algorithm = str(said.get("quant_algo") or "").upper()
    if not algorithm:
        return () if named else None
    if algorithm != "MIXED_PRECISION":
        return ((EVERYWHERE, ALGORITHMS.get(algorithm)),)
    layers = _dict(said, "quantized_layers")
    if not layers:  # the W4AFP8 checkpoints of SGLang and TensorRT-LLM
        return (EXPERTS, "w4afp8"), (EVERYWHERE, "fp8")
    patterns: dict[str, str | None] = {}
    for layer in layers:
        name = str(_dict(layers, layer).get("quant_algo")).upper()
        patterns.setdefault(re.sub(r"\.\d+(?=\.|$)", ".*", layer), ALGORITHMS.get(name))
    return tuple(((pattern,), name) for pattern, name in patterns.items())


def _of_group(group: Mapping[str, Any]) -> str | None:
    """The format of a config group of compressed-tensors: weights and input activations."""
    weights, inputs = _dict(group, "weights"), _dict(group, "input_activations")
    bits, size = _whole(weights, "num_bits"), _whole(weights, "group_size")
    if weights.get("type") == "float":
        if bits == 8:
            return "mxfp8" if size == 32 else "fp8"
        in_blocks = size == 16 or weights.get("strategy") == "tensor_group"
        return None if bits != 4 else "nvfp4" if in_blocks else "mxfp4" if size == 32 else None
    if not inputs:
        return WEIGHT_ONLY.get(bits or 0)
    if bits == 4 and inputs.get("type") == "float" and inputs.get("num_bits") == 8:
        return "w4afp8"
    return "int8" if bits == 8 and inputs.get("type") == "int" else None


def _block(config: Mapping[str, Any]) -> int | None:
    """Rows of the square tiles of weights that share a scale."""
    block = config.get("weight_block_size") or config.get("block_structure")
    if not isinstance(block, list) or len(block) != 2 or block[0] != block[1]:
        return None
    return block[0] if isinstance(block[0], int) and block[0] > 1 else None


def _kv_cache(said: Mapping[str, Any]) -> str | None:
    """The format that the checkpoint has scales of the KV cache for."""
    algorithm, scheme = said.get("kv_cache_quant_algo"), _dict(said, "kv_cache_scheme")
    if algorithm is not None:
        return KV_CACHE.get(str(algorithm).upper())
    bits, kind = _whole(scheme, "num_bits"), scheme.get("type")
    return {8: "fp8", 4: "nvfp4"}.get(bits or 0) if kind == "float" else "int8" if bits == 8 else None


def _whole(config: Mapping[str, Any], key: str) -> int | None:
    value = config.get(key)
    return value if isinstance(value, int) else None


def _dict(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def _names(config: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = config.get(key)
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, list) else ()
