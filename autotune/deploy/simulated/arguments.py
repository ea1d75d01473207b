"""What the engine's command line means: both engines' flags in one vocabulary, with each engine's defaults.

Only the flag lists are shared with the rest of autotune. What a flag means is written here once more, on
purpose: a mistake of the mapper shows as a wrong engine, not as an agreement of two mistakes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autotune.deploy.simulated.command_line import FIT, CommandLine, UsageError, read_command_line
from autotune.deploy.simulated.cost_model import (
    SGLANG_MAX_SEQUENCES,
    SGLANG_STATIC_FRACTION,
    VLLM_MEMORY_UTILIZATION,
)
from autotune.plan.runtimes.flags import FlagList

UNTIMED = {
    "vllm": ("--decode-context-parallel-size", "--enable-expert-parallel"),
    "sglang": ("--attn-dp-size", "--dcp-size", "--ep-size", "--enable-dp-attention"),
}
"""Flags whose rules are known to `refusals`, and that the cost model knows nothing about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineArguments:
    """What the command line asks for, in words that both engines have; GPUs and tokens are counts.

    `fit_model_len` asks for the longest context that the KV cache holds. `without_effect` are the flags given
    that change nothing in a simulated engine.
    """

    model: str
    served_name: str
    host: str
    port: int
    tp: int
    pp: int
    context_parallel: int
    replicas: int
    attention_dp: int
    decode_cp: int
    expert_parallel: bool
    max_sequences: int
    max_step_tokens: int
    max_model_len: int | None
    fit_model_len: bool
    chunked_prefill: bool
    prefix_caching: bool
    memory_fraction: float
    quantization: str | None
    dtype: str
    kv_dtype: str
    metrics: bool
    without_effect: tuple[str, ...]


def parse(argv: Sequence[str], flags: FlagList, *, gpu_model: str, memory_gib: float) -> EngineArguments:
    """Return what the engine would do on GPUs of this model and memory.

    Raises: UsageError in the engine's words.
    """
    if flags.engine == "vllm":
        return _vllm(argv, flags, _vllm_defaults(gpu_model, memory_gib))
    return _sglang(argv, flags, _sglang_chunk(memory_gib))


def _vllm(argv: Sequence[str], flags: FlagList, defaults: tuple[int, int]) -> EngineArguments:
    if list(argv[:2]) != ["vllm", "serve"]:
        raise UsageError(f"vllm: error: expected `vllm serve`, got `{' '.join(argv[:2])}`")
    line = read_command_line(argv[2:], flags, program="vllm", command="vllm serve", max_positional=1)
    model = line.text("--model", line.positional[0] if line.positional else "")
    sequences, step_tokens = defaults
    fit = line.text("--max-model-len") in FIT
    return EngineArguments(
        model=model,
        served_name=line.text("--served-model-name", model),
        host=line.text("--host", "0.0.0.0"),  # noqa: S104  (the engine's own default)
        port=line.number("--port", 8000),
        tp=line.number("--tensor-parallel-size", 1),
        pp=line.number("--pipeline-parallel-size", 1),
        context_parallel=line.number("--prefill-context-parallel-size", 1),
        replicas=line.number("--data-parallel-size", 1),
        attention_dp=1,
        decode_cp=line.number("--decode-context-parallel-size", 1),
        expert_parallel=line.switch("--enable-expert-parallel", default=False),
        max_sequences=line.number("--max-num-seqs", sequences),
        max_step_tokens=line.number("--max-num-batched-tokens", step_tokens),
        max_model_len=None if fit else line.number_or_none("--max-model-len"),
        fit_model_len=fit,
        chunked_prefill=line.switch("--enable-chunked-prefill", default=True),
        prefix_caching=line.switch("--enable-prefix-caching", default=True),
        memory_fraction=line.fraction("--gpu-memory-utilization", VLLM_MEMORY_UTILIZATION),
        quantization=line.text("--quantization") or None,
        dtype=line.text("--dtype", "auto"),
        kv_dtype=line.text("--kv-cache-dtype", "auto"),
        metrics=True,
        without_effect=line.without_effect(UNTIMED["vllm"]),
    )


def _vllm_defaults(gpu_model: str, memory_gib: float) -> tuple[int, int]:
    """Sequences and step tokens by GPU. Source: vLLM 0.33.0 engine/arg_utils.py:2940-3006."""
    large = memory_gib >= 70 and "A100" not in gpu_model
    if memory_gib >= 160:
        return 1024, 16384
    return (1024, 8192) if large else (256, 2048)


def _sglang(argv: Sequence[str], flags: FlagList, default_chunk: int) -> EngineArguments:
    line = _sglang_line(argv, flags)
    model = line.text("--model-path")
    chunk = line.number("--chunked-prefill-size", default_chunk)
    replicas, attention_dp = _sglang_data_parallel(line)
    return EngineArguments(
        model=model,
        served_name=line.text("--served-model-name", model),
        host=line.text("--host", "127.0.0.1"),
        port=line.number("--port", 30000),
        tp=line.number("--tp-size", 1),
        pp=line.number("--pp-size", 1),
        context_parallel=1,
        replicas=replicas,
        attention_dp=attention_dp,
        decode_cp=line.number("--dcp-size", 1),
        expert_parallel=line.number("--ep-size", 1) > 1,
        max_sequences=line.number("--max-running-requests", SGLANG_MAX_SEQUENCES),
        max_step_tokens=chunk if chunk > 0 else line.number("--max-prefill-tokens", 16384),
        max_model_len=line.number_or_none("--context-length"),
        fit_model_len=True,
        chunked_prefill=chunk > 0,
        prefix_caching=not line.switch("--disable-radix-cache", default=False),
        memory_fraction=line.fraction("--mem-fraction-static", SGLANG_STATIC_FRACTION),
        quantization=line.text("--quantization") or None,
        dtype=line.text("--dtype", "auto"),
        kv_dtype=line.text("--kv-cache-dtype", "auto"),
        metrics=line.switch("--enable-metrics", default=False),
        without_effect=line.without_effect(UNTIMED["sglang"]),
    )


def _sglang_line(argv: Sequence[str], flags: FlagList) -> CommandLine:
    words = list(argv)
    starts = {"sglang serve": 2, "python -m sglang.launch_server": 3, "python3 -m sglang.launch_server": 3}
    start = next((s for s, count in starts.items() if " ".join(words[:count]) == s), None)
    if start is None:
        raise UsageError(f"sglang: error: expected `sglang serve`, got `{' '.join(words[:2])}`")
    program = "sglang serve" if start == "sglang serve" else "launch_server.py"
    return read_command_line(words[starts[start] :], flags, program=program, command=program)


def _sglang_data_parallel(line: CommandLine) -> tuple[int, int]:
    """Replicas and attention data parallelism.

    Source: SGLang 0.5.23 arg_groups/parallel_hook.py:39-66: the old spelling `--dp-size N
    --enable-dp-attention` means `--attn-dp-size N`.
    """
    replicas, attention_dp = line.number("--dp-size", 1), line.number("--attn-dp-size", 1)
    if line.switch("--enable-dp-attention", default=False) and attention_dp == 1:
        return 1, replicas
    return replicas, attention_dp


def _sglang_chunk(memory_gib: float) -> int:
    """Default chunk by memory in GiB. Source: SGLang 0.5.23 arg_groups/memory_hook.py."""
    sizes = ((20, 2048), (60, 4096), (160, 8192))
    return next((size for limit, size in sizes if memory_gib < limit), 16384)
