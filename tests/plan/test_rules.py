"""Rules that hold on every engine: GPUs and nodes, the shape of the model, contradictions, bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune.plan.facts import ModelFacts
from autotune.plan.rules import contradictions, layout_reasons, size_problems, value_problems
from autotune.plan.runtimes import RUNTIMES
from autotune.records import Inventory, InventoryKind
from autotune.schema import (
    AttentionDtype,
    Config,
    DeployConfig,
    KvCacheDtype,
    ParallelConfig,
    QuantConfig,
    ServingConfig,
    WorkloadConfig,
)
from tests.contracts.runtime import DENSE, MLA, MOE, gpus, setup

UNKNOWN = Inventory(kind=InventoryKind.UNKNOWN, gpus=())
TWO_NODES = Inventory(
    kind=InventoryKind.DECLARED,
    gpus=(*gpus(8).gpus, *(replace(gpu, node="other") for gpu in gpus(8).gpus)),
)


def reasons(
    parallel: ParallelConfig,
    *,
    engine: str = "vllm",
    facts: ModelFacts = DENSE,
    inventory: Inventory | None = None,
    deploy: str = "process",
) -> list[str]:
    """Why a layout cannot run."""
    config = Config(parallel=parallel, deploy=DeployConfig(kind=deploy))
    asked = setup(config, engine=engine, facts=facts, inventory=inventory)
    return layout_reasons(asked, RUNTIMES[engine].layout(parallel))


@pytest.mark.parametrize(
    ("parallel", "inventory", "expected"),
    [
        pytest.param(ParallelConfig(tp=4), gpus(2), "needs 4 GPUs; the inventory has 2: choose a smaller parallel preset", id="too wide"),
        pytest.param(ParallelConfig(tp=2), gpus(2), "", id="wide enough"),
        pytest.param(ParallelConfig(tp=8, pp=2), gpus(8), "needs 16 GPUs: needs 2 nodes; the inventory has 1: choose a smaller parallel preset", id="two nodes"),
        pytest.param(ParallelConfig(tp=8, pp=2), gpus(2), "needs 16 GPUs: needs 2 nodes; the inventory has 1", id="two nodes of a small inventory"),
        pytest.param(ParallelConfig(tp=8, pp=2), gpus(16), "", id="a node of 16"),
        pytest.param(ParallelConfig(tp=8, pp=2), TWO_NODES, "", id="two nodes are there"),
        pytest.param(ParallelConfig(tp=8, pp=3), TWO_NODES, "needs 24 GPUs: needs 3 nodes; the inventory has 2", id="three nodes"),
        pytest.param(ParallelConfig(tp=8, pp=2), UNKNOWN, "", id="nobody knows"),
    ],
)  # fmt: skip
def test_gpus_and_nodes(parallel: ParallelConfig, inventory: Inventory, expected: str) -> None:
    """What a layout needs against what is there."""
    found = "; ".join(reasons(parallel, inventory=inventory))
    assert expected in found
    assert bool(found) is bool(expected)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize(
    ("bad", "good", "facts", "expected"),
    [
        pytest.param(ParallelConfig(tp=3), ParallelConfig(tp=4), replace(DENSE, intermediate_size=None, kv_heads=None), "parallel.tp=3 does not divide the 32 attention heads of the model; possible here: 1, 2, 4, 8", id="heads"),
        pytest.param(ParallelConfig(tp=3), ParallelConfig(tp=4), DENSE, "parallel.tp=3 does not divide the 32 attention heads, the 8 KV heads and the MLP width 14336 of the model; possible here: 1, 2, 4, 8", id="all of them"),
        pytest.param(ParallelConfig(tp=6), ParallelConfig(tp=4), replace(DENSE, heads=48, intermediate_size=None), "parallel.tp=6 does not divide the 8 KV heads of the model; possible here: 1, 2, 4, 8", id="KV heads"),
        pytest.param(ParallelConfig(tp=8), ParallelConfig(tp=4), replace(DENSE, intermediate_size=4100), "parallel.tp=8 does not divide the MLP width 4100 of the model; possible here: 1, 2, 4", id="width"),
        pytest.param(ParallelConfig(pp=33), ParallelConfig(pp=3), DENSE, "parallel.pp=33: the model has 32 layers: at most one stage for each", id="layers"),
        pytest.param(ParallelConfig(tp=8), ParallelConfig(tp=8, ep=8), replace(MOE, moe_intermediate_size=1404), "each expert is split over 8 GPUs, which does not divide its width 1404: keep experts whole with parallel.ep=8", id="width of experts"),
        pytest.param(ParallelConfig(tp=8), ParallelConfig(tp=2), replace(MLA, moe_intermediate_size=768), "which does not divide its width 768 in FP8 blocks of 128", id="blocks of experts"),
        pytest.param(ParallelConfig(tp=8), ParallelConfig(tp=4), replace(MLA, intermediate_size=128 * 12), "parallel.tp=8 does not divide the MLP width 1536 in FP8 blocks of 128 of the model", id="blocks"),
    ],
)  # fmt: skip
def test_the_shape_of_a_model(
    bad: ParallelConfig, good: ParallelConfig, facts: ModelFacts, expected: str, engine: str
) -> None:
    """One reason with its numbers; a neighbour that passes; nothing where the shape is unknown."""
    many = gpus(64)
    inventory = gpus(8) if bad.pp == 1 else many
    [found] = reasons(bad, facts=facts, inventory=inventory, engine=engine)
    assert expected in found
    assert reasons(good, facts=facts, inventory=inventory, engine=engine) == []
    assert reasons(bad, facts=ModelFacts(source="nowhere"), inventory=inventory, engine=engine) == []
    assert reasons(bad, facts=facts, inventory=inventory, engine=engine, deploy="replay") == []


def test_kv_heads_are_repeated_where_there_are_fewer_than_ranks() -> None:
    """Four KV heads on eight GPUs: two hold the same; one latent for all heads is on every GPU."""
    assert reasons(ParallelConfig(tp=8), facts=MOE) == []
    assert reasons(ParallelConfig(tp=8), facts=MLA) == []


@pytest.mark.parametrize(
    ("engine", "parallel", "facts", "expected"),
    [
        pytest.param("vllm", ParallelConfig(tp=6, attn_dp=2), MOE, "parallel.tp=6 with parallel.attn_dp=2 (3 ranks) does not divide the 64 attention heads", id="vllm"),
        pytest.param("sglang", ParallelConfig(tp=6, attn_dp=2, cp=1), MOE, "parallel.tp=6 with parallel.attn_dp=2 (3 ranks)", id="sglang"),
        pytest.param("sglang", ParallelConfig(tp=12, attn_dp=2, cp=2), MOE, "parallel.tp=12 with parallel.attn_dp=2 and parallel.cp=2 (3 ranks)", id="sglang: context parallel"),
    ],
)  # fmt: skip
def test_heads_are_divided_by_the_ranks_of_attention(
    engine: str, parallel: ParallelConfig, facts: ModelFacts, expected: str
) -> None:
    """Not by those that attention is repeated on."""
    found = reasons(
        parallel, facts=replace(facts, moe_intermediate_size=None), engine=engine, inventory=gpus(64)
    )
    assert expected in found[0]


def test_experts_are_split_over_the_replicas_too_on_vllm() -> None:
    """Source: vLLM's data parallelism of models with experts."""
    layout = ParallelConfig(tp=8, dp=8)
    facts = replace(MOE, moe_intermediate_size=96)
    assert "split over 64 GPUs" in reasons(layout, facts=facts, inventory=gpus(64))[0]
    assert reasons(layout, facts=facts, inventory=gpus(64), engine="sglang") == []


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_fp8_attention_contradicts_an_e5m2_cache(engine: str) -> None:
    """Refused once, by both keys."""
    quant = QuantConfig(attention_dtype=AttentionDtype.fp8, kvcache_dtype=KvCacheDtype.fp8_e5m2)
    asked = setup(Config(quant=quant), engine=engine)
    [reason] = [
        *RUNTIMES[engine].mapped(asked).reasons,
        *layout_reasons(asked, RUNTIMES[engine].layout(ParallelConfig())),
    ]
    assert reason.startswith("quant.attention_dtype=fp8 contradicts quant.kvcache_dtype=fp8_e5m2")
    assert "set quant.kvcache_dtype=fp8" in reason


@pytest.mark.parametrize("kv", [KvCacheDtype.fp8, KvCacheDtype.auto, KvCacheDtype.nvfp4])
def test_only_that_is_a_contradiction(kv: KvCacheDtype) -> None:
    """What an engine cannot do is for the engine to refuse."""
    assert (
        contradictions(Config(quant=QuantConfig(attention_dtype=AttentionDtype.fp8, kvcache_dtype=kv))) == []
    )


def test_sizes_have_bounds() -> None:
    """Zero ranks, an empty batch."""
    config = Config(
        parallel=ParallelConfig(tp=0, moe_tp=-1),
        serving=ServingConfig(max_batched_tokens=0),
        workload=WorkloadConfig(loads=[1], input_tokens=1, output_tokens=1),
    )
    bad = ["parallel.tp=0: must be at least 1", "parallel.moe_tp=-1: must be at least 1"]
    assert size_problems(config) == bad
    assert [*bad, "serving.max_batched_tokens=0: must be at least 1"] == value_problems(config)[:3]
