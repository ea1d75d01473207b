"""Memory of one GPU: weights, KV cache and overhead, by the engine's own meaning of its memory fraction.

A candidate is rejected only where bounds exclude it: what weights and one request are at least, against
what the engine takes at most, without overhead. All else is an estimate and becomes a note.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autotune.plan.account import Account, account, gpu_gib_of, mean_tokens
from autotune.plan.advice import shorter, what_fits
from autotune.plan.arguments import canonical
from autotune.plan.facts import ModelFacts
from autotune.plan.loads import fixed_loads
from autotune.plan.runtimes.protocol import Layout, Runtime, Setup
from autotune.plan.weights import formats_of, params_of, weights_of
from autotune.records import InventoryKind, Memory
from autotune.schema import LoadMode

CLOSE = 0.95  # of the GPU: from here a candidate may fail for what is only estimated

# Engine arguments that change what is held in ways that are not modelled here.
UNMODELLED = frozenset(
    {
        *("load_format", "model_loader_extra_config", "custom_weight_loader", "config_format"),
        *("quant_config", "modelopt_quant", "quantize_and_serve"),
        *("hf_overrides", "hf_config_path", "json_model_override_args", "model_class_overrides"),
        *("cpu_offload_gb", "cpu_offload_params", "offload_backend", "offload_group_size", "offload_params"),
        *("ple_offload_embedding", "enable_paged_experts", "paged_experts_num_resident"),
        *("kv_cache_memory_bytes", "num_gpu_blocks_override", "max_total_tokens"),
        *("kv_cache_config.max_tokens", "kv_cache_config.max_gpu_total_bytes", "kv_cache_config.use_uvm"),
        *("kv_cache_config.max_attention_window", "model_kwargs", "force_dynamic_quantization"),
        *("kv_cache_dtype_skip_layers", "kv_sharing_fast_prefill", "prefill_only_disable_kv_cache"),
        *("language_model_only", "language_only", "limit_mm_per_prompt", "mm_encoder_only"),
    }
)
MAPPED = ("quantization", "quantization_config")  # what quant.* becomes is known; the user's own is not
WIDE_DTYPES = frozenset({"float32", "float"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A memory estimate, why the candidate certainly does not fit, and what is close or unknown."""

    estimate: Memory | None
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def estimate(runtime: Runtime, setup: Setup, layout: Layout, args: Mapping[str, Any]) -> Judged:
    """Return what the candidate needs of each GPU, GiB."""
    if setup.inventory.kind in {InventoryKind.CPU, InventoryKind.FOREIGN}:
        return Judged(estimate=None)  # there the KV cache is a setting of its own, or somebody else's
    if setup.config.deploy.kind == "replay":
        return Judged(estimate=None)  # it has been measured
    unmodelled = _unmodelled(setup, args)
    if unmodelled is not None:
        unknown = Memory(weights_gib=None, kv_cache_gib=None, per_gpu_gib=None, fits=None)
        note = f"memory not estimated: how runtime.args.{unmodelled} changes it is not modelled"
        return Judged(estimate=unknown, notes=(note,))
    gpu_gib = gpu_gib_of(setup.inventory)
    if gpu_gib is None:
        return _without_gpu(setup, layout)
    held = account(runtime, setup, layout, args, gpu_gib)
    if held is None:
        return Judged(estimate=None, notes=(_why_not(setup),))
    reasons = _reasons(runtime, setup, args, held)
    return Judged(estimate=_memory(held, rejected=bool(reasons)), reasons=reasons, notes=_notes(setup, held))


def _memory(held: Account, *, rejected: bool) -> Memory:
    return Memory(
        weights_gib=round(held.weights.gib, 2),
        kv_cache_gib=round(held.kv_gib, 2),
        per_gpu_gib=round(held.total_gib, 2),
        fits=False if rejected else None if held.tight else True,
        kv_tokens=held.kv_tokens,
        concurrency=round(held.requests, 1),
    )


def _reasons(runtime: Runtime, setup: Setup, args: Mapping[str, Any], held: Account) -> tuple[str, ...]:
    """What certainly exceeds the engine's share: one request of mean length, or vLLM's longest one."""
    if not held.excludes_mean and not held.excludes_longest:
        return ()
    left = f"{held.budget.arithmetic} = {held.budget.gib:.1f} GiB"
    weights = f"weights take {held.weights.floor_gib:.1f} GiB of each GPU, which leaves {left}"
    ways = [*filter(None, [held.budget.instead]), *what_fits(runtime, setup, args, held.gpu_gib)]
    if held.excludes_mean:
        request = f"one request of {held.mean_tokens:,} tokens needs {held.least(held.mean_gib):.2f} GiB"
        reason = f"does not fit: {weights} for a KV cache; {request}"
    else:
        longest = f"one request of max_model_len={held.longest_tokens:,} tokens"
        needs = f"which needs {held.least(held.longest_gib):.2f} GiB of KV cache"
        reason = f"does not start: vLLM keeps room for {longest}, {needs}; {weights}"
        ways = [*shorter(held), *ways]
    advice = " or ".join(ways) or "GPUs with more memory, or a smaller checkpoint"
    return (f"{reason}: use {advice}",)


def _notes(setup: Setup, held: Account) -> tuple[str, ...]:
    if held.excludes_mean or held.excludes_longest:
        return ()
    notes = []
    workload = setup.config.workload
    lowest = min(fixed_loads(workload), default=1) if workload.mode is LoadMode.concurrency else 1
    if held.requests < lowest:
        fitting = f"{_counted(held.requests)} of {held.mean_tokens:,} tokens"
        notes.append(f"KV cache for {fitting}, fewer than the lowest load of {lowest:g}: requests will wait")
    if held.tight or held.total_gib > CLOSE * held.gpu_gib:
        total = f"{held.total_gib:.1f} of {held.gpu_gib:.1f} GiB"
        parts = f"weights {held.weights.gib:.1f} + KV cache {held.kv_gib:.1f}"
        end = ": it may not start" if held.tight else ""
        overhead = f"overhead of about {held.overhead_gib:.1f}"
        notes.append(f"memory is close: {parts} + {overhead} = {total}{end}")
    return tuple(notes)


def _counted(requests: float) -> str:
    whole = int(requests)
    return "less than one request" if whole < 1 else f"{whole:,} request{'s' if whole > 1 else ''}"


def _without_gpu(setup: Setup, layout: Layout) -> Judged:
    held = weights_of(setup.facts, setup.config.quant, layout)
    if held is None:
        return Judged(estimate=None, notes=(_why_not(setup),))
    memory = Memory(weights_gib=round(held.gib, 2), kv_cache_gib=None, per_gpu_gib=None, fits=None)
    return Judged(estimate=memory, notes=("memory not judged: the memory of the GPUs is unknown",))


def _why_not(setup: Setup) -> str:
    facts = setup.facts
    unknown = _unknown_facts(facts)
    if unknown:
        keys = ", ".join(f"model.{name}" for name in unknown)
        return f"memory not estimated: {facts.source} does not say {keys}"
    workload = setup.config.workload
    if not mean_tokens(workload):
        return "memory not estimated: workload.input_tokens and workload.output_tokens are not given"
    if facts.stored is None:
        return f"memory not estimated: {facts.source} does not say model.stored.method and .gemm_dtype"
    formats = formats_of(facts, setup.config.quant.gemm_dtype, setup.config.quant.moe_dtype)
    shown = "/".join(str(name) for name in formats)
    return f"memory not estimated: no size is known for weights of {shown}, or for this KV cache"


def _unknown_facts(facts: ModelFacts) -> list[str]:
    needed = ("layers", "heads", "hidden_size", "vocab_size")
    unknown = [name for name in needed if getattr(facts, name) is None]
    return unknown if params_of(facts) is not None else ["params", *unknown]


def _unmodelled(setup: Setup, args: Mapping[str, Any]) -> str | None:
    """The argument that changes sizes unaccountably."""
    name = next((name for name in args if name in UNMODELLED and args[name] is not None), None)
    if name is not None or str(args.get("dtype")) in WIDE_DTYPES:
        return name or "dtype"
    if not setup.config.runtime.args:
        return None
    explicit, _ = canonical(setup.config.runtime.args, setup.flags)
    return next((name for name in MAPPED if explicit.get(name) is not None), None)
