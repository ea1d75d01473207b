"""TensorRT-LLM: `trtllm-serve MODEL ...`, with the PyTorch backend.

What has no flag goes to its options file. The versions differ in what has one: an FP8 KV cache is
`kv_cache_config: {dtype: fp8}` in 1.2 and `--kv_cache_dtype fp8` in 1.3; the flag list says which.

Source: TensorRT-LLM tensorrt_llm/commands/serve.py, llmapi/llm_args.py and llmapi/llm.py; the commits stand
in the flag lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autotune.plan.runtimes import stored, tensorrt_llm_layout, tensorrt_llm_quant
from autotune.plan.runtimes.capability import UNKNOWN
from autotune.plan.runtimes.counts import count
from autotune.plan.runtimes.mapping import Cell, Rule, Told, explicit, map_all
from autotune.plan.runtimes.protocol import KvBudget, Layout, Mapped, Setup
from autotune.plan.runtimes.tensorrt_llm_layout import argument
from autotune.records import InventoryKind, Readiness
from autotune.schema import ParallelConfig
from autotune.workload.lengths import mean_total, own_tokens

# No usage reports during a measurement; 1.2 makes none and ignores it. Source: tensorrt_llm/usage.
BASE_ENV = {"TRTLLM_NO_USAGE_STATS": "1"}
MAX_NUM_TOKENS = 8192  # by default
FRACTION = 0.9  # of what is left after the weights, by default
SPREADS = 3  # standard deviations above the mean that some prompt of a workload is likely to reach


def _for_each_rank(option: str) -> Rule:
    """Return the rule for a limit that each rank of attention data parallelism has for itself."""

    def rule(value: Any, setup: Setup) -> Cell:
        args = {argument(option, setup): value}
        ranks = setup.config.parallel.attn_dp
        return Told(note=f"for each of the {ranks} attention ranks", args=args) if ranks > 1 else args

    return rule


def _to_option(option: str) -> Rule:
    return lambda value, setup: {argument(option, setup): value}


TABLE: dict[str, Rule] = {
    **tensorrt_llm_layout.TABLE,
    **tensorrt_llm_quant.TABLE,
    "serving.max_running_requests": _for_each_rank("max_batch_size"),
    "serving.max_batched_tokens": _for_each_rank("max_num_tokens"),
    "serving.max_model_len": _to_option("max_seq_len"),
    "serving.prefix_caching": _to_option("kv_cache_config.enable_block_reuse"),
    "serving.chunked_prefill": _to_option("enable_chunked_prefill"),
}


class TensorrtLlm:
    """The TensorRT-LLM adapter; see `protocol.Runtime`."""

    readiness = Readiness(path="/health")
    layout_args: Mapping[str, str] = tensorrt_llm_layout.LAYOUT_ARGS

    def layout(self, parallel: ParallelConfig) -> Layout:
        """Return the GPUs and ranks of a parallel layout."""
        return tensorrt_llm_layout.layout(parallel)

    def mapped(self, setup: Setup) -> Mapped:
        """Return TensorRT-LLM's arguments for the presets."""
        mapped = map_all(setup, TABLE)
        long, longer = _prompts(setup)
        reasons = [*mapped.reasons, *tensorrt_llm_quant.stored_reasons(setup), *long]
        if setup.inventory.kind is InventoryKind.CPU:
            reasons.append("gpus=cpu: TensorRT-LLM needs NVIDIA GPUs: use runtime=vllm")
        notes = [*mapped.notes, *stored.unread(setup), *tensorrt_llm_quant.stored_notes(setup), *longer]
        if stored.skipped(setup):
            notes.append(UNKNOWN)
        notes += _unnamed(setup)
        return replace(mapped, env=dict(BASE_ENV), reasons=tuple(reasons), notes=tuple(notes))

    def command(self, model: str) -> tuple[str, ...]:
        """`trtllm-serve MODEL`; the model is positional."""
        return ("trtllm-serve", model)

    def kv_budget(self, args: Mapping[str, Any], *, gpu_gib: float, weights_gib: float) -> KvBudget:
        """KV ≤ fraction × (memory - weights): the fraction is of what remains after the weights."""
        given = args.get("kv_cache_free_gpu_memory_fraction")
        fraction = FRACTION if given is None else float(given)
        return KvBudget(
            gib=fraction * (gpu_gib - weights_gib),
            arithmetic=f"{fraction:g} × ({gpu_gib:.1f} - {weights_gib:.1f} GiB)",
        )


def _prompts(setup: Setup) -> tuple[list[str], list[str]]:
    """Return why prompts certainly do not fit, and a note where long ones may not.

    Without chunked prefill, which is off by default, a prompt of more than `max_num_tokens` is answered
    with an error. Source: llmapi/llm.py `_check_arguments`.
    """
    workload = setup.config.workload
    limit, given = _token_limit(setup), workload.input_tokens
    if limit is None or not isinstance(given, int) or setup.config.deploy.kind == "replay":
        return [], []
    tokens = mean_total(workload, last=True) - (workload.output_tokens or 0)  # with the history
    history = f" with {workload.turns} turns" if workload.turns > 1 else ""
    said = (
        f"workload.input_tokens={given}{history}: without chunked prefill a prompt must fit in "
        f"max_num_tokens={limit}"
    )
    advice = "serving.chunked_prefill=true or serving.max_batched_tokens"
    if tokens > limit:
        return [f"{said}: set {advice}={tokens}"], []
    longest = int(tokens + SPREADS * workload.input_spread * own_tokens(workload))
    return [], [f"{said}; for the longest set {advice}={longest}"] if longest > limit else []


def _token_limit(setup: Setup) -> int | None:
    """Return the tokens that a prompt must fit in; None where it is cut into chunks."""
    serving = setup.config.serving
    chunked = explicit(setup, argument("enable_chunked_prefill", setup))
    if serving.chunked_prefill if chunked is None else chunked:
        return None
    given = explicit(setup, argument("max_num_tokens", setup))
    return count(given) or serving.max_batched_tokens or MAX_NUM_TOKENS


def _unnamed(setup: Setup) -> list[str]:
    name = setup.config.model.served_name
    if name is None or setup.flags.spelling("served_model_name"):
        return []
    return [
        f"model.served_name={name}: TensorRT-LLM {setup.flags.version} cannot be told a name and lists the "
        "model by its path or folder; 1.3.0rc24 can"
    ]
