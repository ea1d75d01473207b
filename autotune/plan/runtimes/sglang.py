"""SGLang: `sglang serve --model-path MODEL ...`.

Source: SGLang 0.5.23 python/sglang/srt/arg_groups and server_args.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autotune.plan.runtimes import sglang_layout, sglang_memory, sglang_quant, stored
from autotune.plan.runtimes.capability import UNKNOWN
from autotune.plan.runtimes.mapping import Cell, Refusal, Rule, Told, map_all, to_argument
from autotune.plan.runtimes.methods import SGLANG, method_reasons
from autotune.plan.runtimes.protocol import KvBudget, Layout, Mapped, Setup
from autotune.records import InventoryKind, Readiness
from autotune.schema import ParallelConfig


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
        """Return what is left for the KV cache; see `sglang_memory`."""
        return sglang_memory.kv_budget(args, gpu_gib=gpu_gib, weights_gib=weights_gib)
