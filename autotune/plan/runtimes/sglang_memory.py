"""SGLang: what its KV cache gets of a GPU.

    with --mem-fraction-static:  KV ≤ fraction × memory free before loading - weights
    without it:                  KV ≤ memory - reserved - weights
                                 reserved = max(512 + 1.5 · chunk + 128 · tp · pp + graphs, 10240) MiB

The chunk is that of all attention ranks together: it is shared between them only afterwards.
Source: SGLang 0.5.23 arg_groups/memory_hook.py:85-400, mem_cache/kv_cache_configurator.py:2990-3060.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.plan.runtimes.counts import count, fraction
from autotune.plan.runtimes.protocol import KvBudget

MIB = 1024  # MiB in a GiB
# Below so many GiB: tokens of a chunk, and the largest batch with a CUDA graph for tp < 4, and for more.
DEFAULTS = ((20, 2048, 8, 8), (35, 4096, 48, 160), (60, 4096, 32, 160), (160, 8192, 256, 512))
LARGEST = (16384, 512, 512)
UNCHUNKED = 16384  # max_prefill_tokens, which counts where chunking is off
MUCH_GIB, BY_HAND = 20, 0.85  # from so much on, a fraction set by hand leaves more


def kv_budget(args: Mapping[str, Any], *, gpu_gib: float, weights_gib: float) -> KvBudget:
    """Return the budget; CUDA graphs are no part of the bound, but of what is likely."""
    part = fraction(args.get("mem_fraction_static"))
    if part is not None:
        return KvBudget(
            gib=part * gpu_gib - weights_gib,
            arithmetic=f"{part:g} × {gpu_gib:.1f} - {weights_gib:.2f} GiB",
        )
    tokens, graphs = _step(args, gpu_gib), _graphs_mib(args, gpu_gib)
    ranks = (count(args.get("tp_size")) or 1) * (count(args.get("pp_size")) or 1)
    needed, least = 512 + 1.5 * tokens + 128 * ranks, 10 * MIB if gpu_gib > 60 else 0
    reserved = max(needed, least) / MIB
    why = f"else {reserved:.0f} GiB are reserved for such chunks"
    by_hand = f"runtime.args.mem_fraction_static={BY_HAND} ({why})"
    return KvBudget(
        gib=gpu_gib - reserved - weights_gib,
        arithmetic=f"{gpu_gib:.1f} - {reserved:.2f} - {weights_gib:.2f} GiB",
        kept_gib=max(needed + graphs, least) / MIB - reserved,
        instead=by_hand
        if reserved > MUCH_GIB and BY_HAND * gpu_gib > max(weights_gib, gpu_gib - reserved)
        else None,
    )


def _step(args: Mapping[str, Any], gpu_gib: float) -> int:
    """Tokens of a step; -1, which turns chunking off, is no count."""
    if args.get("chunked_prefill_size") is None:
        return max(_defaults(gpu_gib)[0], 2048)
    tokens = count(args["chunked_prefill_size"]) or count(args.get("max_prefill_tokens")) or UNCHUNKED
    return max(tokens, 2048)


def _graphs_mib(args: Mapping[str, Any], gpu_gib: float) -> float:
    _, few, many = _defaults(gpu_gib)
    batch = count(args.get("cuda_graph_max_bs_decode"))
    if batch is None:
        limit = count(args.get("max_running_requests"))
        batch = min(many if (count(args.get("tp_size")) or 1) >= 4 else few, limit or LARGEST[1])
    ranks = count(args.get("attn_dp_size")) or 1
    padding = batch * ranks * (4.5 if batch > 300 else 3) if ranks > 1 else 0
    return batch * 2 + padding


def _defaults(gpu_gib: float) -> tuple[int, int, int]:
    return next((row[1:] for row in DEFAULTS if gpu_gib < row[0]), LARGEST)
