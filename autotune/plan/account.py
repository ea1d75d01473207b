"""What one GPU holds: weights, KV cache and overhead, and the bounds on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autotune.plan.facts import ModelFacts
from autotune.plan.kv_cache import KvCache, kv_cache_of
from autotune.plan.runtimes.counts import count
from autotune.plan.runtimes.protocol import KvBudget, Layout, Runtime, Setup
from autotune.plan.weights import GIB, Weights, weights_of
from autotune.records import Inventory
from autotune.schema import WorkloadConfig
from autotune.workload.lengths import mean_total

# Overhead is assumed, not measured. CUDA context and the libraries' workspaces; captured graphs; NCCL's
# buffers; activations of one step of 8,192 tokens (what the engines profile on an H100), in which about
# four vectors of the hidden size and two of the MLP's are alive.
CONTEXT_GIB = 0.75
GRAPHS_GIB = 0.75
NCCL_GIB = 0.5
STEP_TOKENS = 8192
# Engines whose memory fraction leaves room for the overhead beside itself. Source: SGLang 0.5.23
# mem_cache/kv_cache_configurator.py; vLLM takes activations and graphs off its fraction.
OVERHEAD_BESIDE = frozenset({"sglang"})
HOLDS_LONGEST = frozenset({"vllm"})  # refuses to start without room for one request of max_model_len


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """GiB on one GPU; `mean` is a request of the workload's mean length, `longest` the engine's longest.

    `longest` is 0 where the engine needs no room for it. `budget` is the most that the engine gives to its KV
    cache, `kv_gib` what it likely gives.
    """

    gpu_gib: float
    weights: Weights
    overhead_gib: float
    budget: KvBudget
    cache: KvCache
    kv_gib: float
    caches: int
    mean_tokens: int
    mean_gib: float
    longest_tokens: int
    longest_gib: float

    def least(self, gib: float) -> float:
        """Return what a KV cache of likely so many GiB takes at least."""
        return gib * self.cache.floor

    @property
    def excludes_mean(self) -> bool:
        """Whether not even one request of mean length can find room."""
        return self.least(self.mean_gib) > self.budget.gib

    @property
    def excludes_longest(self) -> bool:
        """Whether the engine's longest request cannot find room."""
        return self.least(self.longest_gib) > self.budget.gib

    @property
    def tight(self) -> bool:
        """Whether one request, of mean length or the engine's longest, likely finds no room."""
        return self.kv_gib < max(self.mean_gib, self.longest_gib)

    @property
    def total_gib(self) -> float:
        """Return weights + KV cache + overhead."""
        return self.weights.gib + self.kv_gib + self.overhead_gib

    @property
    def requests(self) -> float:
        """Return the requests of mean length that all KV caches of the engine hold together."""
        return self.kv_gib / self.mean_gib * self.caches

    @property
    def kv_tokens(self) -> int:
        """Return the tokens of so many requests."""
        return int(self.requests * self.mean_tokens)


def gpu_gib_of(inventory: Inventory) -> float | None:
    """Return the memory of the smallest GPU; None where it is unknown of one."""
    sizes = [gpu.memory_gib for gpu in inventory.gpus]
    known = [size for size in sizes if size is not None]
    return min(known) if known and len(known) == len(sizes) else None


def account(
    runtime: Runtime, setup: Setup, layout: Layout, args: Mapping[str, Any], gpu_gib: float
) -> Account | None:
    """Return what one GPU would hold; None where the model's shape or formats are unknown."""
    config, facts = setup.config, setup.facts
    mean = mean_tokens(config.workload)
    weights = weights_of(facts, config.quant, layout)
    cache = kv_cache_of(facts, config.quant, layout.sharding, args)
    if weights is None or cache is None or not mean:
        return None
    budget = runtime.kv_budget(args, gpu_gib=gpu_gib, weights_gib=weights.floor_gib)
    likely = budget.gib
    if weights.gib != weights.floor_gib:
        likely = runtime.kv_budget(args, gpu_gib=gpu_gib, weights_gib=weights.gib).gib
    likely -= budget.kept_gib
    overhead = overhead_gib(facts, layout)
    if config.runtime.kind not in OVERHEAD_BESIDE:
        likely -= overhead
    longest = _longest(config.runtime.kind, args, facts)
    return Account(
        gpu_gib=gpu_gib,
        weights=weights,
        overhead_gib=overhead,
        budget=budget,
        cache=cache,
        kv_gib=max(0.0, min(likely, gpu_gib - weights.gib - overhead)),
        caches=layout.sharding.caches,
        mean_tokens=mean,
        mean_gib=cache.gib(mean),
        longest_tokens=longest,
        longest_gib=cache.gib(longest),
    )


def overhead_gib(facts: ModelFacts, layout: Layout) -> float:
    """Return context + graphs + NCCL + step tokens × (4 · hidden + 2 · MLP width / ranks) × 2 bytes."""
    sharding = layout.sharding
    dense = (facts.intermediate_size or 0) / sharding.dense
    routed = (facts.experts_per_token or 0) * (facts.moe_intermediate_size or 0) / sharding.experts
    activations = STEP_TOKENS * (4 * (facts.hidden_size or 0) + 2 * max(dense, routed)) * 2 / GIB
    return CONTEXT_GIB + GRAPHS_GIB + (NCCL_GIB if layout.gpus > 1 else 0) + activations


def mean_tokens(workload: WorkloadConfig) -> int:
    """Return the mean length of a request with its history and answer; 0 where it is not given."""
    return mean_total(workload) if _given(workload) else 0


def mean_last_tokens(workload: WorkloadConfig) -> int:
    """Return the mean length of a conversation's last request; 0 where it is not given."""
    return mean_total(workload, last=True) if _given(workload) else 0


def _given(workload: WorkloadConfig) -> bool:
    lengths = (workload.input_tokens, workload.output_tokens)
    return all(isinstance(length, int) and length > 0 for length in lengths)


def _longest(kind: str, args: Mapping[str, Any], facts: ModelFacts) -> int:
    """The longest request that the engine keeps room for: its argument, else what the model was made for."""
    if kind not in HOLDS_LONGEST:
        return 0
    asked = args.get("max_model_len")
    tokens = facts.max_model_len if asked is None else count(asked)
    return tokens or 0  # `auto` and -1 take what fits
