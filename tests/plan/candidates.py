"""Candidates that the memory tests judge: a model preset on so many GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from autotune.plan.facts import ModelFacts, facts_of_preset
from autotune.plan.memory import Judged, estimate
from autotune.plan.runtimes import RUNTIMES
from autotune.plan.runtimes.flags import load_flags
from autotune.plan.runtimes.protocol import KvBudget, Layout, Mapped, Runtime, Setup, Sharding
from autotune.records import Gpu, Inventory, InventoryKind, Readiness
from autotune.schema import (
    Config,
    DeployConfig,
    GemmDtype,
    ModelConfig,
    ParallelConfig,
    QuantConfig,
    RuntimeConfig,
    StoredConfig,
    WorkloadConfig,
)

MODELS = Path(__file__).parents[2] / "conf" / "model"
VERSIONS = {"vllm": "0.33.0", "sglang": "0.5.23", "tensorrt_llm": "1.2.1"}
CHAT = WorkloadConfig(loads=[8], input_tokens=1024, output_tokens=1024)
FP8 = QuantConfig(gemm_dtype=GemmDtype.fp8)


def facts(name: str) -> ModelFacts:
    """What the preset says."""
    content = yaml.safe_load((MODELS / f"{name}.yaml").read_text())
    return facts_of_preset(ModelConfig(**{**content, "stored": StoredConfig(**content["stored"])}))


def gpus(count: int, memory_gib: float | None, kind: InventoryKind = InventoryKind.DECLARED) -> Inventory:
    """So many GPUs of one node."""
    all_alike = [
        Gpu(uuid=str(n), index=n, model="H", node="n", memory_gib=memory_gib, compute_capability=9.0)
        for n in range(count)
    ]
    return Inventory(kind=kind, gpus=tuple(all_alike))


def setup(
    name: str = "llama3_1_8b",
    kind: str = "vllm",
    inventory: Inventory | None = None,
    *,
    quant: QuantConfig | None = None,
    parallel: ParallelConfig | None = None,
) -> Setup:
    """A candidate for requests of 1,024 + 1,024 tokens on eight GPUs of 80 GiB, unless said otherwise."""
    config = Config(
        runtime=RuntimeConfig(kind=kind, version=VERSIONS[kind]),
        model=ModelConfig(path=name),
        quant=quant or QuantConfig(),
        parallel=parallel or ParallelConfig(),
        workload=CHAT,
        deploy=DeployConfig(kind="process"),
    )
    flags = load_flags(kind, VERSIONS[kind])
    return Setup(config=config, facts=facts(name), inventory=inventory or gpus(8, 80), flags=flags)


def changed(asked: Setup, **nodes: Any) -> Setup:
    """The same candidate with other nodes of its configuration."""
    return replace(asked, config=replace(asked.config, **nodes))


def judged(asked: Setup, **args: Any) -> Judged:
    """The verdict with the real adapter's layout, arguments and budget."""
    runtime = RUNTIMES[asked.config.runtime.kind]
    mapped = runtime.mapped(asked).args
    return estimate(runtime, asked, runtime.layout(asked.config.parallel), {**mapped, **args})


def split(tp: int, **other: int) -> Sharding:
    """Everything over tp GPUs."""
    return replace(Sharding(attention=tp, dense=tp, experts=tp, kv_heads=tp), **other)


def layout(gpus: int, **sharding: int) -> Layout:
    """An engine of so many GPUs, all of them ranks of one world."""
    return Layout(gpus=gpus, world_size=gpus, sharding=split(gpus, **sharding))


class Halves:
    """A runtime that gives the KV cache what weights leave of half of the GPU, and splits all by tp."""

    readiness = Readiness(path="/health")
    layout_args: Mapping[str, str] = {}

    def layout(self, parallel: ParallelConfig) -> Layout:
        """Return an engine of tp GPUs."""
        return layout(parallel.tp)

    def mapped(self, setup: Setup) -> Mapped:
        """Return no arguments."""
        return Mapped(args={}, origin={})

    def command(self, model: str) -> tuple[str, ...]:
        """Return a program that there is not."""
        return ("halves", model)

    def kv_budget(self, args: Mapping[str, Any], *, gpu_gib: float, weights_gib: float) -> KvBudget:
        """KV ≤ half of the GPU - weights."""
        return KvBudget(gib=0.5 * gpu_gib - weights_gib, arithmetic=f"0.5 × {gpu_gib:g} - {weights_gib:.2f}")


HALVES: Runtime = Halves()
