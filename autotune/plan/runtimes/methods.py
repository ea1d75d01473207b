"""Quantization methods: which a checkpoint may have, and what `--quantization` may be told beside it.

Source: vLLM 0.32.0 and 0.33.0 model_executor/layers/quantization/__init__.py and config/model.py
`_verify_quantization`; SGLang 0.5.23 layers/quantization/__init__.py, configs/model_config.py:2060-2150.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from autotune.plan.facts import Stored
from autotune.plan.runtimes.capability import WEIGHT_FLOORS, too_old
from autotune.plan.runtimes.mapping import explicit
from autotune.plan.runtimes.protocol import Setup


@dataclass(frozen=True, slots=True, kw_only=True)
class Methods:
    """What one engine knows.

    `stored` are those of checkpoints; `loading` quantize while a checkpoint is loaded, each with the format
    that it makes; `beside` says which of a checkpoint's methods another may be asked for; `plugins` what
    would load the rest.
    """

    engine: str
    stored: frozenset[str]
    loading: Mapping[str, str | None]
    beside: Mapping[str, frozenset[str]] = field(default_factory=dict)
    plugins: Mapping[str, str] = field(default_factory=dict)


_BOTH = (
    *("awq", "awq_marlin", "gptq", "gptq_marlin", "fp8", "modelopt", "modelopt_fp4", "modelopt_mixed"),
    *("compressed-tensors", "quark", "moe_wna16", "mxfp4", "mxfp8", "auto-round", "auto_round", "humming"),
)
VLLM = Methods(
    engine="vLLM",
    stored=frozenset(
        {
            *_BOTH,
            *("auto_awq", "auto_gptq", "modelopt_mxfp8", "experts_int8", "torchao", "inc"),
            *("gpt_oss_mxfp4", "deepseek_v4_fp8", "compressed_tensors"),
        }
    ),
    loading={
        **dict.fromkeys(("fp8_per_tensor", "fp8_per_block", "fp8_per_channel"), "fp8"),
        "mxfp8": "mxfp8",
        "mxfp4": "mxfp4",
        "nvfp4_per_token": "nvfp4",
        **dict.fromkeys(("int8_per_channel_weight_only", "experts_int8", "humming")),
    },
    beside={
        **dict.fromkeys(("awq_marlin", "auto_awq"), frozenset({"awq"})),
        **dict.fromkeys(("gptq_marlin", "auto_gptq"), frozenset({"gptq"})),
        "moe_wna16": frozenset({"awq", "gptq"}),
    },
    plugins={
        "bitsandbytes": "the plugin vllm-bnb-plugin",
        "gguf": "the plugin vllm-gguf-plugin",
        **dict.fromkeys(("fbgemm_fp8", "fp_quant"), "an older vLLM, because it is deprecated"),
    },
)
_COMPRESSED = frozenset({"compressed-tensors"})
SGLANG = Methods(
    engine="SGLang",
    stored=frozenset(
        {
            *_BOTH,
            *("modelopt_fp8", "w8a8_int8", "w8a8_fp8", "blockwise_int8", "bitsandbytes", "gguf", "w4afp8"),
            *("auto-round-int8", "modelslim"),
        }
    ),
    loading={
        "fp8": "fp8",
        "mxfp8": "mxfp8",
        "mxfp4": "mxfp4",
        **dict.fromkeys(("nvfp4_online", "modelopt_fp4"), "nvfp4"),
        **dict.fromkeys(("bitsandbytes", "unquant", "humming", "modelopt_fp8", "modelopt")),
    },
    beside={
        "modelopt_fp8": frozenset({"modelopt"}),
        "modelopt_fp4": frozenset({"modelopt", "fp8"}),
        "modelopt_mixed": frozenset({"modelopt"}),
        "nvfp4_online": frozenset({"fp8", "modelopt_fp8"}),
        "w8a8_int8": _COMPRESSED,
        "w8a8_fp8": _COMPRESSED,
        "auto-round-int8": _COMPRESSED,
        **dict.fromkeys(("awq_marlin", "moe_wna16"), frozenset({"awq", "gptq"})),
        "gptq_marlin": frozenset({"gptq"}),
    },
)


def method_reasons(methods: Methods, setup: Setup) -> list[str]:
    """Return why the engine does not load the checkpoint, or refuses the `quantization` of `runtime.args`."""
    if setup.config.deploy.kind == "replay":
        return []
    stored = setup.facts.stored
    reasons = _not_loaded(methods, stored) if stored is not None and stored.quantized else []
    asked = explicit(setup, "quantization")
    if not isinstance(asked, str) or setup.flags.setting("quantization"):
        return reasons
    return [*reasons, *(f"runtime.args.quantization={asked}: {why}" for why in _asked(methods, asked, setup))]


def _not_loaded(methods: Methods, stored: Stored) -> list[str]:
    name = stored.method
    if name.lower() in methods.stored:
        return []
    plugin = methods.plugins.get(name)
    instead = f"it needs {plugin}: choose another checkpoint" if plugin else _nearest(name, methods)
    return [f"the checkpoint's method is {name}, which {methods.engine} does not load: {instead}"]


def _nearest(name: str, methods: Methods) -> str:
    near = difflib.get_close_matches(name, methods.stored, n=1)
    known = ", ".join(sorted(methods.stored))
    return f"did you mean model.stored.method={near[0]}?" if near else f"it loads {known}"


def _asked(methods: Methods, asked: str, setup: Setup) -> list[str]:
    stored = setup.facts.stored
    known = sorted(
        {*methods.stored, *methods.loading, "online"} - ({"online"} if methods is SGLANG else set())
    )
    if asked not in known:
        return [f"{methods.engine} has no such method: {_known_name(asked, tuple(known))}"]
    if stored is not None and stored.quantized:
        beside = asked == "humming" or stored.method in methods.beside.get(asked, ())
        fits = asked == stored.method or beside
        return [] if fits else [f"the checkpoint is already {stored.method}: unset it"]
    if asked == "online" and explicit(setup, "quantization_config"):
        return []
    if stored is not None and asked not in methods.loading:
        online = ", ".join(name for name, makes in methods.loading.items() if makes)
        return [f"the checkpoint is not quantized; while loading {methods.engine} can make {online}"]
    old = too_old(setup, WEIGHT_FLOORS.get(methods.loading.get(asked) or ""))
    return [old] if old else []


@lru_cache(maxsize=256)
def _known_name(asked: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(asked, known, n=1)
    return f"did you mean {near[0]}?" if near else f"it knows {', '.join(known)}"
