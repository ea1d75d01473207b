"""Signatures of a model that cannot be had or cannot be served: missing, gated, unknown, wrong number format.

V, S, T and "seen" as in `signatures_setup`.
"""

from __future__ import annotations

from autotune.failures.signatures import Signature, Tier

CHECKPOINT = (
    Signature(
        kind="model_gated",
        tier=Tier.SETUP,
        texts=(
            "Cannot access gated repo",
            "GatedRepoError",
            "You are trying to access a gated repo",
            "is a gated repository",
        ),
        cause="the model's licence has not been accepted, or the token given does not show that it has",
        advice="accept the licence on the model's page on the hub, and export HF_TOKEN of that account",
        source="huggingface_hub utils/_http.py and transformers utils/hub.py, of those that vLLM 0.32.0 "
        "installs",
    ),
    Signature(
        kind="model_missing",
        tier=Tier.SETUP,
        texts=(
            "is not a local folder and is not a valid model identifier",
            "Repository Not Found for url",
            "Revision Not Found for url",
            "is not a valid git identifier",
            "Repo id must be",
            "Invalid repository ID or local directory specified",
        ),
        cause="there is no model of that name or in that folder",
        advice="check model.path; a private model needs HF_TOKEN",
        source="huggingface_hub, transformers; V section 5; seen: missing-model, no-config",
    ),
    Signature(
        kind="model_missing",
        tier=Tier.SETUP,
        texts=("outgoing traffic has been disabled",),
        cause="the model is not in the local cache, and looking for it on the hub is switched off",
        advice="fetch the model first, or unset HF_HUB_OFFLINE",
        source="huggingface_hub _snapshot_download.py, file_download.py; seen: missing-hub-model",
    ),
    Signature(
        kind="model_missing",
        tier=Tier.SETUP,
        texts=("Cannot find any model weights with", "Error while deserializing header", "config.json'"),
        pattern=r"Cannot find any model weights with|SafetensorError: Error while deserializing header"
        r"|No such file or directory: .*[/']config\.json'",
        cause="the model's folder is incomplete",
        advice="fetch the model again: its weights or its configuration are missing or cut off",
        source="V model_loader/default_loader.py:260, safetensors; seen: no-weights, truncated-weights",
    ),
    Signature(
        kind="architecture_unsupported",
        tier=Tier.SETUP,
        texts=(
            "Model architectures ",
            "but Transformers does not recognize this architecture",
            "Unknown architecture",
        ),
        pattern=r"architectures .* are not supported|does not recognize this architecture"
        r"|Unknown architecture",
        cause="this version of the engine does not know the model's architecture",
        advice="choose another runtime or a newer runtime.version",
        source="V and S models/registry.py; transformers; T section 5, not verified; "
        "seen: unsupported-architecture, unknown-model-type",
    ),
    Signature(
        kind="architecture_unsupported",
        tier=Tier.LOOSE,
        texts=("failed to be inspected",),
        cause="the engine could not load its own code for the model's architecture",
        advice="read engine.log: the reason stands above; choose another runtime.version",
        source="V and S models/registry.py: what comes first may be any error",
    ),
)

FORMATS = (
    Signature(
        kind="quantization_unsupported",
        tier=Tier.SETUP,
        texts=(
            "is not supported for the current GPU",
            "requires Blackwell",
            "requires an SM100",
            "requires SM89+",
        ),
        cause="the GPU is too old for this number format",
        advice="choose another quant preset, or GPUs that have the format",
        source="V config/vllm.py:931, S model_loader/loader.py:262, S section 5, V "
        "attention/backends/triton_attn.py",
    ),
    Signature(
        kind="quantization_unsupported",
        tier=Tier.SETUP,
        texts=(
            "no longer supports online quantization",
            "Unknown quantization method",
            "Invalid quantization method",
            "does not match the quantization method specified in the",
            "Cannot find the config file for",
            "static_scaled_fp8_quant",
            "Unsupported quantization_config",
            "from HF quant config",
        ),
        cause="the model cannot be served with the quantization that was asked for",
        advice="choose another quant preset or a checkpoint that is quantized already",
        source="V, S, T section 5; seen: quantization-fp8 (what only a CPU says), unknown-quantization, "
        "awq-on-bf16",
    ),
    Signature(
        kind="quantization_unsupported",
        tier=Tier.SETUP,
        texts=(
            "Invalid kv_cache_dtype",
            "kv-cache is not supported with fp8",
            "No valid attention backend found for",
        ),
        cause="no attention kernel of the engine takes a KV cache of this number format here",
        advice="choose another quant.kvcache_dtype",
        source="V section 5 and 7, V layers/attention/attention.py:219, V platforms/cuda.py:471",
    ),
)

MODEL = (*CHECKPOINT, *FORMATS)
