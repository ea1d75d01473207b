"""SGLang: `sglang serve --model-path MODEL ...`.

Source: SGLang 0.5.23 python/sglang/srt/arg_groups and server_args.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autotune.plan.runtimes import sglang_layout, sglang_quant, stored
from autotune.plan.runtimes.capability import UNKNOWN
from autotune.plan.runtimes.counts import count, fraction
from autotune.plan.runtimes.mapping import Cell, Refusal, Rule, Told, map_all, to_argument
from autotune.plan.runtimes.methods import SGLANG, method_reasons
from autotune.plan.runtimes.protocol import KvBudget, Layout, Mapped, Setup
from autotune.records import InventoryKind, Readiness
from autotune.schema import ParallelConfig

MIB = 1024  # MiB in a GiB
# Tokens of a chunk by the memory of a GPU, GiB below which. Source: arg_groups/memory_hook.py.
CHUNKS = ((20, 2048), (60, 4096), (160, 8192))
LARGEST_CHUNK = 16384
UNCHUNKED = 16384  # max_prefill_tokens, which counts where chunking is off


def _prefix_caching(value: Any, _setup: Setup) -> Cell:
    """The radix cache is on unless disabled; there is no flag that turns it on."""
    return Told(note="the radix cache is on by default") if value else {"disable_radix_cache": True}


def _chunked_prefill(value: Any, setup: Setup) -> Cell:
    """Chunking is on by default and sized by `serving.max_batched_tokens`; -1 turns it off."""
    if value:
        return Told(note="on by default")
    if setup.config.serving.max_batched_tokens is not None:
        return Refusal(
            reason="SGLang's token budget for a step is its chunk size: unset serving.max_batched_tokens"
        )
    return {"chunked_prefill_size": -1}


def _for_each_rank(name: str) -> Rule:
    """Return the rule for a limit that SGLang shares between the ranks of attention data parallelism.

    Source: arg_groups/parallel_hook.py:331, model_executor/pool_configurator.py:956.
    """

    def rule(value: Any, setup: Setup) -> Cell:
        ranks = setup.config.parallel.attn_dp
        if ranks == 1:
            return {name: value}
        return Told(note=f"SGLang shares {value * ranks} between {ranks} ranks", args={name: value * ranks})

    return rule


TABLE: dict[str, Rule] = {
    **sglang_layout.TABLE,
    **sglang_quant.TABLE,
    "serving.max_running_requests": _for_each_rank("max_running_requests"),
    "serving.max_batched_tokens": _for_each_rank("chunked_prefill_size"),
    "serving.max_model_len": to_argument("context_length"),
    "serving.prefix_caching": _prefix_caching,
    "serving.chunked_prefill": _chunked_prefill,
}


class Sglang:
    """The SGLang adapter; see `protocol.Runtime`."""

    readiness = Readiness(path="/health")
    layout_args: Mapping[str, str] = sglang_layout.LAYOUT_ARGS

    def layout(self, parallel: ParallelConfig) -> Layout:
        """Return the GPUs and ranks of a parallel layout."""
        return sglang_layout.layout(parallel)

    def mapped(self, setup: Setup) -> Mapped:
        """Return SGLang's arguments for the presets."""
        mapped = map_all(setup, TABLE)
        reasons = [
            *mapped.reasons,
            *stored.too_old_for_stored(setup),
            *method_reasons(SGLANG, setup),
        ]
        if setup.inventory.kind is InventoryKind.CPU:
            reasons.append("gpus=cpu: SGLang is not served on a CPU here: use runtime=vllm")
        notes = [*mapped.notes, *stored.unread(setup)]
        if stored.skipped(setup):
            notes.append(UNKNOWN)
        return replace(mapped, reasons=tuple(reasons), notes=tuple(notes))

    def command(self, model: str) -> tuple[str, ...]:
        """`sglang serve --model-path MODEL`."""
        return ("sglang", "serve", "--model-path", model)

    def kv_budget(self, args: Mapping[str, Any], *, gpu_gib: float, weights_gib: float) -> KvBudget:
        """KV ≤ fraction × the memory that is free before loading - weights.

        Without `mem_fraction_static` SGLang reserves, in MiB, 512 + 1.5 · max(chunk, 2048) + 128 · tp · pp
        and its CUDA graphs (left out here: this is a bound), 10 GiB at the least on more than 60 GiB.
        Source: arg_groups/memory_hook.py:281-341, mem_cache/kv_cache_configurator.py:2990-3060.
        """
        part = fraction(args.get("mem_fraction_static"))
        if part is not None:
            return KvBudget(
                gib=part * gpu_gib - weights_gib,
                arithmetic=f"{part:g} × {gpu_gib:.1f} - {weights_gib:.2f} GiB",
            )
        reserved = _reserved_gib(args, gpu_gib)
        return KvBudget(
            gib=gpu_gib - reserved - weights_gib,
            arithmetic=f"{gpu_gib:.1f} - {reserved:.2f} - {weights_gib:.2f} GiB",
        )


def _reserved_gib(args: Mapping[str, Any], gpu_gib: float) -> float:
    chunk = args.get("chunked_prefill_size")
    if chunk is None:
        tokens = next((size for below, size in CHUNKS if gpu_gib < below), LARGEST_CHUNK)
    else:
        tokens = count(chunk) or count(args.get("max_prefill_tokens")) or UNCHUNKED
    ranks = (count(args.get("tp_size")) or 1) * (count(args.get("pp_size")) or 1)
    reserved = 512 + 1.5 * max(tokens, 2048) + 128 * ranks
    return max(reserved, 10 * MIB if gpu_gib > 60 else 0) / MIB
