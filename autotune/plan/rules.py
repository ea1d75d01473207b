"""Feasibility: why a candidate cannot run, each reason in words a user can act on."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from dataclasses import fields, replace

from autotune.failures.kinds import KINDS
from autotune.failures.retry import LONGEST_S
from autotune.plan import loads, slo, traffic
from autotune.plan.bounds import bounds
from autotune.plan.constraints import NODE, shape_reasons
from autotune.plan.runtimes.protocol import Layout, Setup
from autotune.records import METRICS, THROUGHPUTS, Inventory, InventoryKind
from autotune.schema import AttentionDtype, Config, KvCacheDtype, ParallelConfig, SweepConfig

RANKABLE = (*METRICS, *(f"{name}_per_gpu" for name in THROUGHPUTS), "usd_per_mtok")
"""Metrics that an objective can name."""


def layout_reasons(setup: Setup, layout: Layout) -> list[str]:
    """Return the reasons why this layout cannot run on this inventory."""
    reasons = [*contradictions(setup.config), *_gpu_reasons(setup.inventory, layout)]
    if setup.config.deploy.kind == "replay":
        return reasons  # what was measured could run
    return [*reasons, *shape_reasons(setup, layout)]


def contradictions(config: Config) -> list[str]:
    """Return what no engine can do, whatever its version."""
    quant = config.quant
    if quant.attention_dtype is AttentionDtype.fp8 and quant.kvcache_dtype is KvCacheDtype.fp8_e5m2:
        return [
            "quant.attention_dtype=fp8 contradicts quant.kvcache_dtype=fp8_e5m2: FP8 attention reads an e4m3 "
            "KV cache: set quant.kvcache_dtype=fp8"
        ]
    return []


def _gpu_reasons(inventory: Inventory, layout: Layout) -> list[str]:
    """GPUs and nodes that are not there; nothing where nobody knows what is there."""
    if inventory.kind is InventoryKind.UNKNOWN:
        return []
    have, nodes = len(inventory.gpus), Counter(gpu.node for gpu in inventory.gpus)
    node = max(NODE, *nodes.values()) if nodes else NODE
    needed = -(-layout.gpus // node)
    if needed > max(1, len(nodes)):
        return [
            f"needs {layout.gpus} GPUs: needs {needed} nodes; the inventory has {max(1, len(nodes))}: "
            "choose a smaller parallel preset"
        ]
    if layout.gpus > have:
        return [f"needs {layout.gpus} GPUs; the inventory has {have}: choose a smaller parallel preset"]
    return []


def size_problems(config: Config) -> list[str]:
    """Return what is wrong with the sizes of a layout; no engine can be asked with one of them."""
    parallel = config.parallel
    return [
        f"parallel.{item.name}={size}: must be at least 1"
        for item in fields(parallel)
        if (size := getattr(parallel, item.name)) is not None and size < 1
    ]


def whole_sizes(parallel: ParallelConfig) -> ParallelConfig:
    """Return the layout with 1 for each size below it, so that what else is wrong can be told."""
    sizes = {item.name: getattr(parallel, item.name) for item in fields(parallel)}
    return replace(parallel, **{name: 1 for name, size in sizes.items() if size is not None and size < 1})


def value_problems(config: Config) -> list[str]:
    """Return what is wrong with values that have the right type: bounds, empty lists."""
    problems = size_problems(config) + [
        f"{key}={value}: must be at least {least}"
        for key, value, least in bounds(config)
        if value is not None and value < least
    ]
    if not config.model.path and config.deploy.url is None and config.deploy.kind != "replay":
        problems.append("model.path: must be given: a folder, a GGUF file or a hub name")
    problems += traffic.problems(config) + loads.problems(config) + slo.problems(config)
    if config.gpus.min_free_fraction > 1:
        problems.append(f"gpus.min_free_fraction={config.gpus.min_free_fraction:g}: must be from 0 to 1")
    if config.retry.backoff_s > LONGEST_S:
        problems.append(f"retry.backoff_s={config.retry.backoff_s:g}: must be at most {LONGEST_S:g}")
    problems += _sweep_problems(config.sweep)
    if config.objective.metric not in RANKABLE:
        near = difflib.get_close_matches(config.objective.metric, RANKABLE, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(RANKABLE)}"
        problems.append(f"objective.metric={config.objective.metric}: no such metric{hint}")
    if config.objective.metric == "usd_per_mtok" and config.gpus.usd_per_hour is None:
        problems.append("objective.metric=usd_per_mtok: needs the price of a GPU, gpus.usd_per_hour")
    measure = config.measure
    if measure.until is not None and measure.max_repeats < measure.repeats:
        problems.append(
            f"measure.max_repeats={measure.max_repeats}: must be at least measure.repeats={measure.repeats}"
        )
    return problems


def _sweep_problems(sweep: SweepConfig) -> list[str]:
    known = ("failed", *KINDS)
    if sweep.retry is not None and sweep.retry not in known:
        near = difflib.get_close_matches(sweep.retry, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return [f"sweep.retry={sweep.retry}: no such failure{hint}; known: {', '.join(known)}"]
    if sweep.name is None:
        return ["sweep.resume=true: which sweep? Give sweep.name=NAME"] if sweep.resume else []
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", sweep.name):
        return [f"sweep.name={sweep.name}: must be letters, digits, '_', '-' and '.': it names a folder"]
    return []
