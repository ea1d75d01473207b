"""Shorthand for tables of cells: what an engine makes of a few fields."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autotune.plan.facts import ModelFacts, Stored
from autotune.plan.runtimes import RUNTIMES
from autotune.plan.runtimes.flags import known_versions
from autotune.plan.runtimes.protocol import Mapped
from autotune.records import Inventory, InventoryKind
from autotune.schema import (
    AttentionDtype,
    Config,
    DeployConfig,
    GemmDtype,
    KvCacheDtype,
    ModelConfig,
    MoeDtype,
    ParallelConfig,
    QuantConfig,
    RuntimeConfig,
)
from tests.contracts.runtime import DENSE, MLA, MOE, gpus, setup

A100 = gpus(capability=8.0, model="A100")
L40S = gpus(capability=8.9, model="L40S")
H100 = gpus(capability=9.0, model="H100")
B200 = gpus(capability=10.0, model="B200")
UNKNOWN = gpus(capability=None)
CPU = gpus(1, capability=None, model="cpu", kind=InventoryKind.CPU)

LATENT = replace(MLA, stored=Stored(method="none", gemm_dtype="bf16", moe_dtype="bf16"))
SPARSE = replace(LATENT, index_topk=2048)
"""An MLA model that is not quantized."""
GPT_OSS = replace(MOE, stored=Stored(method="mxfp4", gemm_dtype="bf16", moe_dtype="mxfp4"), head_dim=64)
AWQ = replace(DENSE, stored=Stored(method="awq", gemm_dtype="w4a16"))
FP8 = replace(DENSE, stored=Stored(method="fp8", gemm_dtype="fp8"))
FP8_KV = replace(DENSE, stored=Stored(method="modelopt", gemm_dtype="w4a16", kvcache_dtype="fp8"))
NVFP4 = replace(DENSE, stored=Stored(method="modelopt_fp4", gemm_dtype="nvfp4"))
W4AFP8 = replace(MOE, stored=Stored(method="compressed-tensors", gemm_dtype="fp8", moe_dtype="w4afp8"))
UNREAD = replace(DENSE, stored=None)
NOWHERE = ModelFacts(source="nowhere")


def quant(words: str) -> QuantConfig:
    """`gemm=fp8 kv=fp8` as the four fields."""
    given = dict(word.split("=") for word in words.split())
    return QuantConfig(
        gemm_dtype=GemmDtype[given.pop("gemm", "auto")],
        kvcache_dtype=KvCacheDtype[given.pop("kv", "auto")],
        attention_dtype=AttentionDtype[given.pop("attention", "auto")],
        moe_dtype=MoeDtype[given.pop("moe", "auto")],
    )


def ask(
    engine: str,
    words: str = "",
    *,
    facts: ModelFacts = DENSE,
    inventory: Inventory = H100,
    parallel: ParallelConfig | None = None,
    version: str | None = None,
    deploy: str = "process",
    **args: Any,
) -> Mapped:
    """What the engine makes of it."""
    config = Config(
        runtime=RuntimeConfig(kind=engine, version="", image="", args=args),
        model=ModelConfig(path="org/model"),
        quant=quant(words),
        parallel=parallel or ParallelConfig(),
        deploy=DeployConfig(kind=deploy),
    )
    asked = setup(config, engine=engine, version=version, facts=facts, inventory=inventory)
    return RUNTIMES[engine].mapped(asked)


def versions(engine: str) -> tuple[str, ...]:
    """Every version with a flag list."""
    return known_versions(engine)
