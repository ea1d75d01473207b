"""TensorRT-LLM: which GPUs, and how the model is spread over them.

    GPUs = ranks = tp · pp · cp        moe_tp · moe_ep = tp

Attention data parallelism is a switch: each of the tp ranks then holds attention and dense layers whole
and serves requests of its own, while the experts stay split over all ranks. There are no replicas inside
one server. Context parallelism (Helix) is for the generation servers of a disaggregated deployment, of MLA
models on Blackwell, and so for none that this project starts.

Source: TensorRT-LLM tensorrt_llm/mapping.py (b35ac1b6), docs/source/features/parallel-strategy.md
(65b31db1) and helix.md (04c8822c).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.plan.runtimes.mapping import Cell, Refusal, Rule, Told, refuse, to_argument, with_experts
from autotune.plan.runtimes.protocol import Layout, Setup, Sharding
from autotune.schema import ParallelConfig

NO_CONTEXT = (
    "TensorRT-LLM splits sequences (Helix) only in the generation servers of a disaggregated deployment, for "
    "MLA models on Blackwell: use parallel.tp, or parallel.attn_dp=parallel.tp for many long requests"
)

LAYOUT_ARGS: Mapping[str, str] = {
    "tp_size": "set parallel.tp",
    "pp_size": "set parallel.pp",
    "cp_size": f"set parallel.tp: {NO_CONTEXT}",
    "ep_size": "set parallel.ep",
    "cluster_size": "set parallel.ep or parallel.moe_tp",
    "moe_tensor_parallel_size": "set parallel.moe_tp",
    "enable_attention_dp": "set parallel.attn_dp to parallel.tp",
    "gpus_per_node": "an engine runs on one node",
    "extra_llm_api_options": "give its keys in runtime.args: this file is written from them",
}


def argument(option: str, setup: Setup) -> str:
    """Return the canonical name, in this version, of what a key of the options file sets."""
    flag = setup.flags.setting(option)
    return option if flag is None else flag.names[0].removeprefix("--").replace("-", "_")


def layout(parallel: ParallelConfig) -> Layout:
    """Return the GPUs; with attention data parallelism each rank has a KV cache of its own."""
    tp, cp = parallel.tp, parallel.cp
    whole = parallel.attn_dp > 1
    ranks = tp * parallel.pp * cp
    return Layout(
        gpus=ranks,
        world_size=ranks,
        sharding=Sharding(
            layers=parallel.pp,
            attention=1 if whole else tp,
            dense=1 if whole else tp * cp,
            experts=tp * cp,
            kv_heads=1 if whole else tp,
            kv_tokens=cp,
            caches=tp if whole else 1,
        ),
    )


def _replicas(value: Any, setup: Setup) -> Cell:
    ranks = setup.config.parallel.tp * value
    return Refusal(
        reason="TensorRT-LLM has no replicas inside a server, they are several servers: set parallel.dp=1, "
        f"parallel.tp={ranks} and parallel.attn_dp={ranks} for attention data parallelism on as many GPUs"
    )


def _attention_data(value: Any, setup: Setup) -> Cell:
    tp = setup.config.parallel.tp
    if value != tp and setup.config.parallel.dp > 1:
        return Refusal(reason="TensorRT-LLM takes 1 or parallel.tp")
    if value != tp:
        return Refusal(reason=f"TensorRT-LLM takes 1 or parallel.tp={tp}: set parallel.attn_dp={tp}")
    return {argument("enable_attention_dp", setup): True}


def _experts(value: Any, setup: Setup) -> Cell:
    tp, experts = setup.config.parallel.tp, setup.facts.experts
    if tp % value:
        return Refusal(reason=f"must divide parallel.tp={tp}: TensorRT-LLM spreads experts over those ranks")
    if experts and experts % value:
        return Refusal(reason=f"must divide the {experts} experts of the model")
    return {"ep_size": value}


def _expert_tensor(value: Any, setup: Setup) -> Cell:
    """Source: mapping.py, `moe_tp_size * moe_ep_size * moe_cluster_size must equal to moe_world_size`."""
    tp, ep = setup.config.parallel.tp, setup.config.parallel.ep
    if value * ep == tp:
        return {"moe_tensor_parallel_size": value}
    would = f": set parallel.moe_tp={tp // ep}" if tp % ep == 0 else ""
    return Refusal(reason=f"moe_tp × ep = {value} × {ep} must be parallel.tp={tp}{would}")


def _dense_tensor(value: Any, setup: Setup) -> Cell:
    dense = layout(setup.config.parallel).sharding.dense
    if value == dense:
        return Told(note="what TensorRT-LLM does: dense layers are split as attention is")
    return Refusal(
        reason=f"TensorRT-LLM splits dense layers as attention: set parallel.moe_dense_tp={dense} or null"
    )


TABLE: dict[str, Rule] = {
    "parallel.tp": to_argument("tp_size"),
    "parallel.pp": to_argument("pp_size"),
    "parallel.dp": _replicas,
    "parallel.attn_dp": _attention_data,
    "parallel.ep": with_experts(_experts, "parallel.ep=1"),
    "parallel.dcp": refuse(NO_CONTEXT),
    "parallel.cp": refuse(NO_CONTEXT),
    "parallel.moe_tp": with_experts(_expert_tensor, "parallel.moe_tp=null"),
    "parallel.moe_dense_tp": with_experts(_dense_tensor, "parallel.moe_dense_tp=null"),
}
