"""Values that must agree with each other, over the arguments as the engine gets them.

Presets and `runtime.args` are merged by then, so it does not matter who gave a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from autotune.plan.account import mean_last_tokens
from autotune.plan.runtimes.capability import capability_of, checked
from autotune.plan.runtimes.counts import count, fraction
from autotune.plan.runtimes.protocol import Setup
from autotune.schema import WorkloadKind

# Variables that let an engine go beyond the model's own length. Source: vLLM 0.33.0 envs.py, SGLang 0.5.23
# environ.py.
LONGER = {"vllm": "VLLM_ALLOW_LONG_MAX_MODEL_LEN", "sglang": "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN"}
LENGTHS = {"vllm": "max_model_len", "sglang": "context_length", "tensorrt_llm": "max_seq_len"}
KV_CACHE = re.compile(
    r"(b?float16|fp8(_e4m3|_e5m2|_inc|_ds_mla|_per_token_head)?|nvfp4(_ds_mla|_4over6)?|int[48]_per_token_head"
    r"|(turboquant|octave|ultraquant)_\w+)"
)
RESHAPED = ("hf_overrides", "rope_scaling", "json_model_override_args")  # the model has another length then
# Backends that share a sequence's tokens. Source: SGLang 0.5.23 layers/attention; fa3 and trtllm_mha do not.
SHARE_TOKENS = frozenset({"triton"})
SHARE_TOKENS_MLA = SHARE_TOKENS | {"flashinfer", "flashmla", "trtllm_mla", "cutedsl_mla", "tokenspeed_mla"}
# What these backends set, whatever is asked for. Source: SGLang 0.5.23 arg_groups/attention_hook.py.
PAGES = dict.fromkeys(("trtllm_mha", "trtllm_mla", "flashmla", "cutedsl_mla", "hpc_ops"), 64)
# Compute capabilities, by their whole numbers, of kernels. Source: vLLM 0.32.0 v1/attention/backends
# (supports_compute_capability); SGLang 0.5.23 arg_groups/attention_hook.py:199-235, overrides.py:1212.
MAJORS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "vllm": {
        "FLASHMLA": (9, 10),
        "FLASH_ATTN_MLA": (9,),
        **dict.fromkeys(("CUTLASS_MLA", "FLASHINFER_MLA", "TOKENSPEED_MLA"), (10,)),
    },
    "sglang": {"trtllm_mha": (9, 10, 12), "trtllm_mla": (10, 12), "mxfp8": (10, 11), "nvfp4": (10, 12)},
}
BACKENDS = ("attention_backend", "prefill_attention_backend", "decode_attention_backend")

# Counts of at least one, and shares of a GPU's memory. Source: vLLM 0.33.0 config/scheduler.py and
# config/cache.py; SGLang 0.5.23 fails on others when it divides or allocates; TensorRT-LLM 1.2 llm_args.py.
COUNTS: Mapping[str, tuple[str, ...]] = {
    "vllm": ("max_num_seqs", "max_num_batched_tokens", "block_size", "stream_interval"),
    "sglang": ("max_running_requests", "page_size", "stream_interval", "num_continuous_decode_steps"),
    "tensorrt_llm": ("max_batch_size", "max_num_tokens", "max_beam_width", "stream_interval"),
}
SHARES: Mapping[str, str] = {
    "vllm": "gpu_memory_utilization",
    "sglang": "mem_fraction_static",
    "tensorrt_llm": "kv_cache_free_gpu_memory_fraction",
}

Rule = Callable[[Setup, Mapping[str, Any]], list[str]]


def argument_reasons(setup: Setup, args: Mapping[str, Any]) -> list[str]:
    """Return why the engine would refuse these arguments together; `args` by canonical names."""
    if setup.config.deploy.kind == "replay":
        return []  # what was measured could run
    return [reason for rule in RULES.get(setup.config.runtime.kind, ()) for reason in rule(setup, args)]


def _bounds(setup: Setup, args: Mapping[str, Any]) -> list[str]:
    """What is no number is for `arguments.check` to tell."""
    kind = setup.config.runtime.kind
    counts = {name: fraction(args.get(name)) for name in COUNTS[kind]}
    reasons = [
        f"runtime.args.{name}={args[name]}: must be at least 1"
        for name, value in counts.items()
        if value is not None and value < 1
    ]
    share = fraction(args.get(SHARES[kind]))
    if share is not None and not 0 < share <= 1:
        reasons.append(f"runtime.args.{SHARES[kind]}={share:g}: must be above 0 and at most 1")
    return reasons


def _batch(_setup: Setup, args: Mapping[str, Any]) -> list[str]:
    """Source: vLLM 0.33.0 config/scheduler.py."""
    tokens, requests = count(args.get("max_num_batched_tokens")), count(args.get("max_num_seqs"))
    if tokens is None or requests is None or tokens >= requests:
        return []
    return [
        f"max_num_batched_tokens={tokens} is below max_num_seqs={requests}: set serving.max_batched_tokens "
        f"to {requests} or more, or serving.max_running_requests to {tokens} or less"
    ]


def _whole_prompts(setup: Setup, args: Mapping[str, Any]) -> list[str]:
    """Without chunks a step must hold the longest prompt. Source: vLLM 0.33.0 config/scheduler.py."""
    tokens = count(args.get("max_num_batched_tokens"))
    longest = count(args.get("max_model_len")) or setup.facts.max_model_len
    if args.get("enable_chunked_prefill") is not False or tokens is None or longest is None:
        return []
    if tokens >= longest:
        return []
    return [
        f"max_num_batched_tokens={tokens} is below max_model_len={longest} with chunked prefill off: "
        f"set serving.max_batched_tokens to {longest} or more, serving.max_model_len to {tokens} or less, "
        "or serving.chunked_prefill=true"
    ]


def _length(name: str) -> Rule:
    """Return the rule that a context is not longer than the model's own."""

    def rule(setup: Setup, args: Mapping[str, Any]) -> list[str]:
        asked, known = count(args.get(name)), setup.facts.max_model_len
        config = setup.config
        allowed = config.runtime.env.get(LONGER[config.runtime.kind], "0") in {"1", "true", "True"}
        if asked is None or known is None or asked <= known or allowed:
            return []
        if any(args.get(other) is not None for other in RESHAPED):
            return []
        return [f"{name}={asked} is above the model's own {known}: set serving.max_model_len={known} or less"]

    return rule


def _pages(setup: Setup, args: Mapping[str, Any]) -> list[str]:
    """Source: SGLang 0.5.23 arg_groups/validation_hook.py:244; attention DP divides the chunk first."""
    chunk = count(args.get("chunked_prefill_size"))
    backends = {str(args[name]) for name in BACKENDS if args.get(name) is not None}
    if args.get("attention_backend") is None and checked(setup) and int(capability_of(setup) or 0) == 10:
        backends.add("trtllm_mha")  # the default there, trtllm_mla for MLA models
    page = max([count(args.get("page_size")) or 1, *(PAGES.get(backend, 1) for backend in backends)])
    share = count(args.get("attn_dp_size")) or 1
    if not chunk or chunk // share % page == 0:
        return []
    return [
        f"chunked_prefill_size={chunk}{f' / attn_dp_size={share}' if share > 1 else ''} is not a multiple of "
        f"page_size={page}: set serving.max_batched_tokens to a multiple of {page}"
    ]


def _shared_tokens(setup: Setup, args: Mapping[str, Any]) -> list[str]:
    """A backend that knows nothing of decode context parallelism reads a part of the cache as the whole."""
    able = SHARE_TOKENS_MLA if setup.facts.mla else SHARE_TOKENS
    if (count(args.get("dcp_size")) or 1) == 1:
        return []
    return [
        f"{name}={args[name]} does not know decode context parallelism (parallel.dcp): "
        f"possible are {', '.join(sorted(able))}"
        for name in ("attention_backend", "decode_attention_backend")
        if args.get(name) is not None and args[name] not in able
    ]


def _all_to_all(_setup: Setup, args: Mapping[str, Any]) -> list[str]:
    """The engine would set it without a word. Source: SGLang 0.5.23 arg_groups/overrides.py:1605."""
    backend, tp = args.get("moe_a2a_backend"), count(args.get("tp_size")) or 1
    if backend in {None, "none"} or (count(args.get("ep_size")) or 1) == tp:
        return []
    return [f"runtime.args.moe_a2a_backend={backend}: spreads experts over all ranks: set parallel.ep={tp}"]


def _mean_request(setup: Setup, args: Mapping[str, Any]) -> list[str]:
    """What the context cannot hold is cut short, or answered with an error."""
    name = LENGTHS[setup.config.runtime.kind]
    workload = setup.config.workload
    asked, needed = count(args.get(name)), mean_last_tokens(workload)
    longest = context_of(setup, args)
    if longest is None or longest >= needed:
        return []
    if workload.kind is not WorkloadKind.synthetic:
        return []  # what is too long in a file is told by its share
    said = f"{name}={asked}" if asked else f"the model's context of {longest}"
    instead = f"set serving.max_model_len={needed} or more, or" if asked else "set"
    return [
        f"{said} is below a mean request of the workload, {needed} tokens with its answer"
        f"{' and history' if workload.turns > 1 else ''}: {instead} shorter "
        f"workload.input_tokens or workload.output_tokens{', or fewer turns' if workload.turns > 1 else ''}"
    ]


def context_of(setup: Setup, args: Mapping[str, Any]) -> int | None:
    """Return the longest request with its answer that the engine takes; None where it is unknown."""
    if any(args.get(other) is not None for other in RESHAPED):
        return None
    name = LENGTHS.get(setup.config.runtime.kind)  # a new runtime may have no such argument
    return count(args.get(name) if name else None) or setup.facts.max_model_len


def _kernels(setup: Setup, args: Mapping[str, Any]) -> list[str]:
    """Backends and cache types that the user names are for some GPUs only."""
    known, capability = MAJORS[setup.config.runtime.kind], capability_of(setup)
    if capability is None or not checked(setup):
        return []
    named = {name: str(args.get(name)) for name in (*BACKENDS, "kv_cache_dtype")}
    wrong = {n: v for n, v in named.items() if v in known and int(capability) not in known[v]}
    return [
        f"{name}={value}: needs compute capability {' or '.join(f'{n}.x' for n in known[value])}; the GPUs "
        f"have {capability:.1f}: choose another, or leave it to the engine"
        for name, value in wrong.items()
    ]


def _eplb(_setup: Setup, args: Mapping[str, Any]) -> list[str]:
    """Source: vLLM 0.33.0 config/parallel.py."""
    if args.get("enable_eplb") is not True or args.get("enable_expert_parallel"):
        return []
    return ["runtime.args.enable_eplb: needs expert parallelism: set parallel.ep to the ranks of the layout"]


def _kv_cache_dtype(setup: Setup, args: Mapping[str, Any]) -> list[str]:
    """A name is looked up late; 16 bits must be the model's own. Source: vLLM 0.33.0 config/cache.py:44."""
    asked, model = args.get("kv_cache_dtype"), str(args.get("dtype") or setup.facts.dtype)
    flag = setup.flags.find("--kv-cache-dtype")
    if not isinstance(asked, str) or asked == "auto":
        return []
    if (flag is None or flag.choices is None) and not KV_CACHE.fullmatch(asked):
        return [f"runtime.args.kv_cache_dtype={asked}: vLLM has no such type: set quant.kvcache_dtype=fp8"]
    wide = {"bfloat16": {"bf16", "bfloat16"}, "float16": {"fp16", "float16", "half"}}.get(asked)
    if wide is None or model in {*wide, "None", "auto"}:
        return []
    return [f"runtime.args.kv_cache_dtype={asked}: must be the model's own type, {model}, or an FP8 one"]


RULES: Mapping[str, tuple[Rule, ...]] = {
    "vllm": (
        *(_bounds, _batch, _whole_prompts, _length("max_model_len"), _mean_request),
        *(_eplb, _kv_cache_dtype, _kernels),
    ),
    "sglang": (
        _bounds,
        _pages,
        _length("context_length"),
        _mean_request,
        _shared_tokens,
        _all_to_all,
        _kernels,
    ),
    "tensorrt_llm": (_bounds, _mean_request),
}
