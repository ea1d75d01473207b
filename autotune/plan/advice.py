"""What would fit instead of a candidate that does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from autotune.plan.account import Account, account
from autotune.plan.constraints import shape_reasons
from autotune.plan.runtimes.protocol import Runtime, Setup
from autotune.schema import GemmDtype, ParallelConfig

ROUND = 1024  # tokens: a suggested max_model_len is a multiple of it


def what_fits(runtime: Runtime, setup: Setup, args: Mapping[str, Any], gpu_gib: float) -> list[str]:
    """Return the smallest tensor parallelism that likely fits, and whether FP8 weights would."""
    ways = []
    wider = _wider(runtime, setup, args, gpu_gib)
    if wider:
        ways.append(wider)
    quant, stored = setup.config.quant, setup.facts.stored
    if stored is not None and not stored.quantized and quant.gemm_dtype is not GemmDtype.fp8:
        config = replace(setup.config, quant=replace(quant, gemm_dtype=GemmDtype.fp8))
        smaller = replace(setup, config=config)
        layout = runtime.layout(config.parallel)
        if _likely(account(runtime, smaller, layout, args, gpu_gib)):
            refused = _refused(runtime, smaller, "quant.")
            ways.append("an FP8 checkpoint" if refused else "quant.gemm_dtype=fp8")
    return ways


def shorter(held: Account) -> list[str]:
    """Return the longest context that likely fits, if it holds a request of the workload's mean length."""
    tokens = held.cache.tokens(held.kv_gib) // ROUND * ROUND
    return [f"serving.max_model_len={tokens}"] if tokens >= held.mean_tokens else []


def _wider(runtime: Runtime, setup: Setup, args: Mapping[str, Any], gpu_gib: float) -> str | None:
    parallel, gpus = setup.config.parallel, len(setup.inventory.gpus)
    for wider in _wider_layouts(parallel, gpus):
        layout = runtime.layout(wider)
        other = replace(setup, config=replace(setup.config, parallel=wider))
        if layout.gpus > gpus:
            continue
        likely = _likely(account(runtime, other, layout, args, gpu_gib))
        if likely and not shape_reasons(other, layout) and not _refused(runtime, other, "parallel."):
            names = [name for name in ("tp", "dp", "ep") if getattr(wider, name) != getattr(parallel, name)]
            return " ".join(f"parallel.{name}={getattr(wider, name)}" for name in names)
    return None


def _wider_layouts(parallel: ParallelConfig, gpus: int) -> Iterator[ParallelConfig]:
    """Yield layouts that split the model over more ranks: twice as many, then instead of the replicas."""
    ranks = [parallel.tp * 2**n for n in range(1, gpus.bit_length())]
    whole = [parallel.tp * parallel.dp * 2**n for n in range(gpus.bit_length())] if parallel.dp > 1 else []
    experts_follow = parallel.ep == parallel.tp > 1
    for dp, tp in [*((parallel.dp, tp) for tp in ranks), *((1, tp) for tp in whole)]:
        yield replace(parallel, tp=tp, dp=dp, ep=tp if experts_follow else parallel.ep)


def _refused(runtime: Runtime, setup: Setup, group: str) -> bool:
    """Whether the engine cannot express the setting that is suggested."""
    return any(reason.startswith(group) for reason in runtime.mapped(setup).reasons)


def _likely(held: Account | None) -> bool:
    return held is not None and not held.tight
