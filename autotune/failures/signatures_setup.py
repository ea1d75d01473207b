"""Signatures of what was asked of an engine and cannot be: arguments, port, image, layout, context.

In `source`, V, S and T are vLLM 0.33.0, SGLang 0.5.23 and TensorRT-LLM 1.2 in engine-facts section 5, whose
texts were read in the engines' sources; "seen" is a real log of vLLM 0.32.0 on a CPU in `tests/logs`.
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
        pattern=r"error: (?:unrecognized arguments|ambiguous option"
        r"|argument .*: (?:invalid|expected|ignored))",
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
        pattern=r"pull access denied|Unable to find image|No such image|manifest unknown"
        r"|manifest for .* not found",
        cause="there is no such container image here, and it cannot be fetched",
        advice="check deploy.image, and log in to its registry",
        source="Docker's texts, engine-facts section 5",
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
        source="V, S and T section 5 and 7, S validation_hook.py:199; seen: tensor-parallel-2, "
        "expert-parallel-dense, decode-context-parallel",
    ),
    Signature(
        kind="context_too_long",
        tier=Tier.SETUP,
        texts=("is greater than the derived max_model_len", "is greater than the derived context_length"),
        pattern=r"(?<!Warning: User-specified )(?:max_model_len|context_length) \((\d+)\) is greater"
        r"|To allow overriding this maximum",
        cause="the context length that was asked for is longer than the model's",
        advice="lower serving.max_model_len",
        source="V section 5; S configs/model_config.py:1299, a warning unless it goes on; seen: "
        "max-model-len-9000",
    ),
)

SETUP = (*ARGUMENTS, *LAYOUT)
