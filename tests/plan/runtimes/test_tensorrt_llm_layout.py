"""TensorRT-LLM: layouts, and what of them it lacks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune.plan.facts import ModelFacts
from autotune.plan.runtimes import RUNTIMES
from autotune.plan.runtimes.protocol import Sharding
from autotune.schema import ParallelConfig
from tests.contracts.runtime import DENSE, MLA, MOE
from tests.plan.runtimes.tensorrt_llm_plans import NEW, VERSIONS, mapped, plan


@pytest.mark.parametrize(
    ("changes", "facts", "reason"),
    [
        ("parallel.ep=2", DENSE, "org/model has no experts: set parallel.ep=1"),
        ("parallel.ep=3", MOE, "must divide parallel.tp=1: TensorRT-LLM spreads experts over those ranks"),
        ("parallel.moe_tp=2", MOE, "moe_tp × ep = 2 × 1 must be parallel.tp=1: set parallel.moe_tp=1"),
        ("parallel.attn_dp=2", DENSE, "TensorRT-LLM takes 1 or parallel.tp=1: set parallel.attn_dp=1"),
        ("parallel.moe_dense_tp=2", MLA, "TensorRT-LLM splits dense layers as attention: set parallel.moe_dense_tp=1 or null"),
        ("parallel.dp=2", DENSE, "TensorRT-LLM has no replicas inside a server, they are several servers: set parallel.dp=1, parallel.tp=2 and parallel.attn_dp=2 for attention data parallelism on as many GPUs"),
    ],
)  # fmt: skip
def test_a_layout_that_it_lacks_is_refused(changes: str, facts: ModelFacts, reason: str) -> None:
    """With the field, the reason, and the nearest thing that works."""
    assert mapped(changes, facts=facts).reasons == (f"{changes}: {reason}",)


def test_experts_are_spread_evenly() -> None:
    """The engine rounds down, and would leave experts out."""
    odd = replace(MOE, experts=126)
    assert mapped("parallel.tp=4", "parallel.ep=4", facts=odd).reasons == (
        "parallel.ep=4: must divide the 126 experts of the model",
    )


def test_dense_layers_follow_attention() -> None:
    """Asking for what it does anyway is no argument."""
    found = mapped("parallel.tp=2", "parallel.moe_dense_tp=2", facts=MLA)
    assert (found.args, found.reasons) == ({"tp_size": 2}, ())
    assert any(note.startswith("parallel.moe_dense_tp=2: what TensorRT-LLM does") for note in found.notes)


@pytest.mark.parametrize("field", ["cp", "dcp"])
def test_context_parallelism_is_for_disaggregated_servers(field: str) -> None:
    """Helix needs a generation server of its own."""
    (reason,) = mapped(f"parallel.{field}=2", facts=MLA).reasons
    assert "disaggregated" in reason
    assert "parallel.attn_dp" in reason


@pytest.mark.parametrize(
    ("parallel", "gpu_count", "sharding"),
    [
        (ParallelConfig(tp=4, pp=2), 8, Sharding(layers=2, attention=4, dense=4, experts=4, kv_heads=4)),
        (ParallelConfig(tp=8, ep=8), 8, Sharding(attention=8, dense=8, experts=8, kv_heads=8)),
        (ParallelConfig(tp=8, attn_dp=8, ep=8), 8, Sharding(experts=8, caches=8)),
    ],
    ids=["pipeline", "experts", "attention DP keeps attention whole"],
)
def test_layout(parallel: ParallelConfig, gpu_count: int, sharding: Sharding) -> None:
    """GPUs = tp × pp × cp; ep and attention DP are inside tp."""
    layout = RUNTIMES["tensorrt_llm"].layout(parallel)
    assert (layout.gpus, layout.world_size, layout.sharding) == (gpu_count, gpu_count, sharding)


def test_heads_need_not_divide_with_attention_data_parallelism() -> None:
    """Each rank holds all of them."""
    model = ("model.heads=6", "model.layers=4", "parallel.tp=4")
    assert any("6 attention heads" in reason for reason in plan(NEW, *model).reasons)
    assert plan(NEW, *model, "parallel.attn_dp=4").reasons == ()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("tensor_parallel_size=2", "runtime.args.tp_size: set parallel.tp"),
        ("moe_expert_parallel_size=2", "runtime.args.ep_size: set parallel.ep"),
        ("enable_attention_dp=true", "runtime.args.enable_attention_dp: set parallel.attn_dp to parallel.tp"),
        (
            "config=mine.yaml",
            "runtime.args.extra_llm_api_options: give its keys in runtime.args: this file is",
        ),
    ],
)
def test_the_layout_cannot_be_changed_behind_the_scheduler(version: str, given: str, reason: str) -> None:
    """By any spelling, as a flag or as a key of the options file."""
    (found,) = plan(version, f"runtime.args.{given}").reasons
    assert found.startswith(reason)
