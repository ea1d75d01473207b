"""Signatures of what was asked of an engine and cannot be: arguments, model, layout, formats, image, port.

V, S and T are vLLM 0.33.0, SGLang 0.5.23 and TensorRT-LLM 1.2 in engine-facts section 5, the engines' texts
read in their sources; "seen" is a real log of vLLM 0.32.0 on a CPU in `tests/logs`.
"""

from __future__ import annotations

from autotune.failures.signatures import Signature, Tier

VLLM = ("vllm",)
SGLANG = ("sglang",)
TENSORRT_LLM = ("tensorrt_llm",)

ARGUMENTS = (
    Signature(
        kind="bad_arguments",
        tier=Tier.SETUP,
        texts=("error: unrecognized arguments", "error: argument ", "error: ambiguous option"),
        pattern=r"error: (?:unrecognized arguments|ambiguous option|argument .*: (?:invalid|expected|ignored))",
        cause="the engine's command line has an argument that this version of the engine refuses",
        advice="change runtime.args, or runtime.version to the engine that is installed",
        source="argparse; V, S section 5; seen: unknown-flag, invalid-choice, kv-cache-dtype-int8",
    ),
    Signature(
        kind="bad_arguments",
        tier=Tier.SETUP,
        texts=(
            "No such option: ",
            "No such option '",
            "Invalid value for '",
            "Extra inputs are not permitted",
        ),
        cause="the engine's command line or its options file has an entry that this version refuses",
        advice="change runtime.args, or runtime.version to the engine that is installed",
        source="click and pydantic; T section 5",
        runtimes=TENSORRT_LLM,
    ),
    Signature(
        kind="bad_arguments",
        tier=Tier.SETUP,
        texts=("max_num_batched_tokens (", "kv_cache_dtype="),
        pattern=r"max_num_batched_tokens \(\d+\) (?:must be|is smaller)|kv_cache_dtype=\S+ is incompatible",
        cause="two of the engine's arguments contradict each other",
        advice="change runtime.args or the serving preset",
        source="V section 7; seen: batched-tokens-64",
        runtimes=VLLM,
    ),
    Signature(
        kind="bad_arguments",
        tier=Tier.SETUP,
        texts=("trust_remote_code=True",),
        pattern=r"Please pass the argument `trust_remote_code=True`",
        cause="the model brings code of its own, which the engine runs only if it is told to",
        advice="set runtime.args.trust_remote_code=true if you trust the model's authors",
        source="transformers; seen: remote-code",
    ),
    Signature(
        kind="bad_arguments",
        tier=Tier.SETUP_UNNAMED,
        texts=("validation error for ", "validation errors for "),
        pattern=r"\d+ validation errors? for (\w+)",
        cause="the engine refuses its configuration ({0})",
        advice="read the lines that follow in engine.log, and change runtime.args or a preset",
        source="pydantic; V section 7, T section 5: the texts that are known stand in earlier tiers",
    ),
    Signature(
        kind="port_in_use",
        tier=Tier.SETUP,
        texts=("Address already in use", "address already in use", "EADDRINUSE", "[Errno 98]"),
        cause="a port that the engine wanted is taken by another program",
        advice="leave deploy.port unset to get a free one",
        source="errno 98 in Python, uvicorn and torch's TCPStore (texts of libtorch 2.13); seen: port-in-use",
    ),
    Signature(
        kind="port_in_use",
        tier=Tier.SETUP,
        texts=("Port is already in use.", "bootstrap_port ", "Failed to bind socket to "),
        pattern=r"Port is already in use\.|bootstrap_port \d+ is already in use|Failed to bind socket to ",
        cause="a port that the engine wanted is taken by another program",
        advice="leave deploy.port unset to get a free one",
        source="S server_args.py:886 and entrypoints/engine.py:1196; T section 5",
        runtimes=SGLANG + TENSORRT_LLM,
    ),
)

MODEL = (
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
        source="huggingface_hub utils/_http.py and transformers utils/hub.py, of those that vLLM 0.32.0 installs",
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
        pattern=r"architectures .* are not supported|does not recognize this architecture|Unknown architecture",
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
    Signature(
        kind="image_missing",
        tier=Tier.SETUP,
        texts=(
            "pull access denied",
            "Unable to find image",
            "No such image",
            "manifest unknown",
            "manifest for ",
        ),
        pattern=r"pull access denied|Unable to find image|No such image|manifest unknown|manifest for .* not found",
        cause="there is no such container image here, and it cannot be fetched",
        advice="check deploy.image, and log in to its registry",
        source="Docker's texts, engine-facts section 5",
    ),
    Signature(
        kind="context_too_long",
        tier=Tier.SETUP,
        texts=("is greater than the derived max_model_len", "is greater than the derived context_length"),
        pattern=r"(?<!Warning: User-specified )(?:max_model_len|context_length) \((\d+)\) is greater"
        r"|To allow overriding this maximum",
        cause="the context length that was asked for is longer than the model's",
        advice="lower serving.max_model_len",
        source="V section 5; S configs/model_config.py:1299, a warning unless it goes on; seen: max-model-len-9000",
    ),
)

LAYOUT = (
    Signature(
        kind="layout_invalid",
        tier=Tier.SETUP,
        texts=("must be divisible by ", "is not divisible by "),
        pattern=r"(?:heads|size)(?:=\d+| \(\d+\))? must be divisible by"
        r"|\d+ is not divisible by (?:\d|weight quantization block)",
        cause="the model cannot be cut into the pieces that the parallel layout asks for",
        advice="choose another parallel preset",
        source="V and S section 5, V config/parallel.py:597; seen: tensor-parallel-3",
    ),
    Signature(
        kind="layout_invalid",
        tier=Tier.SETUP,
        texts=("World size (", "invalid device ordinal"),
        pattern=r"World size \(\d+\) is larger than|invalid device ordinal",
        cause="the parallel layout needs more GPUs than the engine sees",
        advice="choose another parallel preset",
        source="V config/parallel.py:1053; CUDA's error 101, V, S and T section 5",
    ),
    Signature(
        kind="layout_invalid",
        tier=Tier.SETUP,
        texts=(
            "Decode context parallelism for GQA/MQA requires",
            "Number of experts in the model must be greater",
            "Model Runner V1 does not support",
            "Not enough allowed NUMA nodes to bind threads",
            "multi-node data-parallel replicas are not supported",
            "cannot both be larger than 1",
            "world_size must equal to tp_size",
            "must equal to moe_world_size",
        ),
        cause="the engine cannot serve this model with this parallel layout",
        advice="choose another parallel preset",
        source="V, S and T section 5 and 7, S validation_hook.py:199; seen: tensor-parallel-2, expert-parallel-dense, decode-context-parallel",
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
        source="V config/vllm.py:931, S model_loader/loader.py:262, S section 5, V attention/backends/triton_attn.py",
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
        source="V, S, T section 5; seen: quantization-fp8 (what only a CPU says), unknown-quantization, awq-on-bf16",
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

SETUP = (*ARGUMENTS, *MODEL, *LAYOUT, *FORMATS)
