"""vLLM: which GPUs, and how the model is spread over them.

vLLM has no attention data parallelism inside a tensor-parallel group. On a model with experts its `-dp N`
is that: attention is whole on each of the N ranks, the experts are split over all of them. So
`parallel.attn_dp` divides `parallel.tp` and multiplies the replicas:

    --tensor-parallel-size = tp / attn_dp        --data-parallel-size = attn_dp × dp
    GPUs = (tp / attn_dp) · pp · cp · attn_dp · dp = tp · pp · cp · dp

Expert parallelism is a switch, its group all tp · cp · dp ranks. Decode context parallelism adds no GPUs.

Source: vLLM 0.32.0 (read) and 0.33.0 config/parallel.py:597-627 and :964, config/model.py:1499-1607.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.plan.runtimes.context import smaller_dcp
from autotune.plan.runtimes.mapping import Cell, Refusal, Rule, Told, to_argument, with_experts
from autotune.plan.runtimes.protocol import Layout, Setup, Sharding
from autotune.schema import ParallelConfig

LAYOUT_ARGS: Mapping[str, str] = {
    "tensor_parallel_size": "set parallel.tp",
    "pipeline_parallel_size": "set parallel.pp",
    "data_parallel_size": "set parallel.dp",
    "data_parallel_size_local": "set parallel.dp: every replica runs on this node",
    "data_parallel_rank": "set parallel.dp: one engine starts all replicas",
    "data_parallel_start_rank": "set parallel.dp: one engine starts all replicas",
    "data_parallel_address": "set parallel.dp: every replica runs on this node",
    "data_parallel_backend": "set parallel.dp: every replica runs on this node",
    "data_parallel_external_lb": "set parallel.dp: one engine starts all replicas",
    "data_parallel_hybrid_lb": "set parallel.dp: one engine starts all replicas",
    "data_parallel_multi_port_external_lb": "set parallel.dp: one engine starts all replicas",
    "prefill_context_parallel_size": "set parallel.cp",
    "decode_context_parallel_size": "set parallel.dcp",
    "enable_expert_parallel": "set parallel.ep",
    "enable_elastic_ep": "set parallel.ep: the GPUs of a trial do not change",
    "elastic_ep_max_dp_size": "set parallel.ep: the GPUs of a trial do not change",
    "nnodes": "an engine runs on one node",
    "node_rank": "an engine runs on one node",
    "headless": "an engine runs on one node",
    "config": "give what stands in it as runtime.args",
    "device_ids": "the scheduler chooses the GPUs; gpus.ids restricts it",
}


def layout(parallel: ParallelConfig) -> Layout:
    """Return the GPUs; `world_size` is what vLLM calls it, without the replicas."""
    tp, replicas = attention_ranks(parallel), _replicas(parallel)
    ranks = tp * parallel.cp * replicas
    return Layout(
        gpus=ranks * parallel.pp,
        world_size=tp * parallel.cp * parallel.pp,
        sharding=Sharding(
            layers=parallel.pp,
            attention=tp,
            dense=tp,
            experts=ranks,
            kv_heads=tp,
            kv_tokens=parallel.dcp,
            caches=replicas,
        ),
    )


def attention_ranks(parallel: ParallelConfig) -> int:
    """Return what `--tensor-parallel-size` is; a layout that is refused counts as without attention DP."""
    return parallel.tp // parallel.attn_dp if parallel.tp % parallel.attn_dp == 0 else parallel.tp


def _replicas(parallel: ParallelConfig) -> int:
    divides = parallel.tp % parallel.attn_dp == 0
    return parallel.dp * parallel.attn_dp if divides else parallel.dp


def _tensor(_value: Any, setup: Setup) -> Cell:
    """With attention DP the argument says the rest; where it is 1 the replicas say it all."""
    tp, replicas = attention_ranks(setup.config.parallel), _replicas(setup.config.parallel)
    return {"tensor_parallel_size": tp} if tp > 1 else {"data_parallel_size": replicas}


def _data(_value: Any, setup: Setup) -> Cell:
    args = {"data_parallel_size": _replicas(setup.config.parallel)}
    if setup.facts.experts:
        return Told(note="replicas share the experts, which are split over all their ranks", args=args)
    return args


def _attention_data(value: Any, setup: Setup) -> Cell:
    tp, dp = setup.config.parallel.tp, setup.config.parallel.dp
    if setup.facts.dense:
        return Refusal(
            reason=f"{setup.config.model.path} has no experts to share between attention ranks: "
            f"use parallel.tp={max(1, tp // value)} parallel.attn_dp=1 parallel.dp={dp * value}"
        )
    if tp % value:
        return Refusal(reason=f"must divide parallel.tp={tp}")
    return {"data_parallel_size": dp * value}


def _experts(value: Any, setup: Setup) -> Cell:
    ranks, experts = layout(setup.config.parallel).sharding.experts, setup.facts.experts
    if experts and value > experts:
        return Refusal(reason=f"the model has {experts} experts: choose a smaller parallel preset")
    if value == ranks:
        return {"enable_expert_parallel": True}
    return Refusal(reason=f"vLLM spreads experts over tp × cp × dp = {ranks} ranks: set parallel.ep={ranks}")


def _expert_tensor(value: Any, setup: Setup) -> Cell:
    """Not free: every rank that experts are not spread over splits each of them."""
    ranks = layout(setup.config.parallel).sharding.experts
    fixed = 1 if setup.config.parallel.ep > 1 else ranks
    if value == fixed:
        return Told(note=f"what vLLM does with these {ranks} ranks: no argument")
    return Refusal(reason=f"vLLM splits each expert over {fixed} of these ranks: set parallel.moe_tp={fixed}")


def _dense_tensor(value: Any, setup: Setup) -> Cell:
    tp = attention_ranks(setup.config.parallel)
    if value == tp:
        return Told(note="what vLLM does: dense layers are split as attention is")
    return Refusal(reason=f"vLLM splits dense layers as attention: set parallel.moe_dense_tp={tp}")


def _context(value: Any, setup: Setup) -> Cell:
    """Kernels for sparse MLA alone have it. Source: v1/attention/backend.py, v1/worker/cp_utils.py."""
    facts = setup.facts
    if facts.shaped and not (facts.mla and facts.index_topk):
        return Refusal(
            reason="vLLM has prefill context parallelism for sparse MLA models only (DeepSeek-V3.2 and"
            " later): use parallel.dcp"
        )
    return Told(
        note="only sparse MLA models (DeepSeek-V3.2 and later) have it",
        args={"prefill_context_parallel_size": value},
    )


def _decode_context(value: Any, setup: Setup) -> Cell:
    parallel = setup.config.parallel
    tp = attention_ranks(parallel)
    if parallel.cp > 1:
        sizes = sorted({1, parallel.cp, tp * parallel.cp})
        if value not in sizes:
            return Refusal(
                reason=f"with parallel.cp={parallel.cp} must be one of {', '.join(map(str, sizes))}"
            )
    elif tp % value:
        return Refusal(reason=f"must divide the {tp} ranks of tensor parallelism")
    without_latent = None if setup.facts.mla else _decode_context_of_heads(value, tp, setup)
    return without_latent or {"decode_context_parallel_size": value}


def _decode_context_of_heads(value: int, tp: int, setup: Setup) -> Refusal | None:
    """Ranks that hold the same KV head share its tokens: tp / KV heads of them."""
    heads, kv_heads = setup.facts.heads, setup.facts.kv_heads or setup.facts.heads
    if heads is None or kv_heads is None:
        return None
    if (heads // kv_heads) % value:
        return Refusal(
            reason=f"must divide the {heads // kv_heads} query heads for each KV head of the model"
        )
    if tp <= kv_heads or value > tp // kv_heads:
        return Refusal(
            reason=f"shares the tokens of a KV head between ranks that hold the same one; with tp={tp} "
            f"and {kv_heads} KV heads {_same(tp, kv_heads)}: {smaller_dcp(tp, kv_heads, setup)}"
        )
    return None


def _same(tp: int, kv_heads: int) -> str:
    return f"only {tp // kv_heads} do" if tp > kv_heads else "each holds others"


TABLE: dict[str, Rule] = {
    "parallel.tp": _tensor,
    "parallel.pp": to_argument("pipeline_parallel_size"),
    "parallel.dp": _data,
    "parallel.attn_dp": _attention_data,
    "parallel.ep": with_experts(_experts, "parallel.ep=1"),
    "parallel.dcp": _decode_context,
    "parallel.cp": _context,
    "parallel.moe_tp": with_experts(_expert_tensor, "parallel.moe_tp=null"),
    "parallel.moe_dense_tp": with_experts(_dense_tensor, "parallel.moe_dense_tp=null"),
}
