"""SGLang: which GPUs, and how the model is spread over them.

Attention data parallelism, context parallelism and expert parallelism divide `--tp-size`; replicas
(`--dp-size`) multiply:

    GPUs = tp · pp · dp        attention TP = tp / (attn_dp · cp)        expert TP = tp / (ep · moe_dp)

Source: SGLang 0.5.23 arg_groups/parallel_hook.py, arg_groups/validation_hook.py, runtime_context.py:73-158,
distributed/parallel_state.py:2665, arg_groups/attention_hook.py:45-110; the guides to decode and prefill
context parallelism of its documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.plan.runtimes.capability import capability_of, checked
from autotune.plan.runtimes.context import smaller_dcp
from autotune.plan.runtimes.mapping import Cell, Refusal, Rule, Told, to_argument, with_experts
from autotune.plan.runtimes.protocol import Layout, Setup, Sharding
from autotune.schema import AttentionDtype, ParallelConfig

LAYOUT_ARGS: Mapping[str, str] = {
    "tp_size": "set parallel.tp",
    "pp_size": "set parallel.pp",
    "dp_size": "set parallel.dp",
    "attn_dp_size": "set parallel.attn_dp",
    "enable_dp_attention": "set parallel.attn_dp",
    "attn_cp_size": "set parallel.cp",
    "enable_prefill_cp": "set parallel.cp",
    "dcp_size": "set parallel.dcp",
    "ep_size": "set parallel.ep",
    "moe_dp_size": "set parallel.moe_tp",
    "moe_dense_tp_size": "set parallel.moe_dense_tp",
    "dwdp_size": "set parallel.ep",
    "nnodes": "an engine runs on one node",
    "node_rank": "an engine runs on one node",
    "dist_init_addr": "an engine runs on one node",
    "use_ray": "an engine runs on one node",
    "config": "give what stands in it as runtime.args",
    "base_gpu_id": "the scheduler chooses the GPUs; gpus.ids restricts it",
    "gpu_id_step": "the scheduler chooses the GPUs; gpus.ids restricts it",
}
# Families whose attention is split over all of --tp-size, whatever else divides it: models/*.py.
WHOLE_TP = frozenset({"llama", "mistral", "mixtral", "qwen2", "gemma2", "gemma3", "gemma3_text"})
INSIDE_TP = frozenset({"qwen3", "qwen3_moe", "deepseek_v2", "deepseek_v3", "deepseek_v32", "gpt_oss"})
ATTENTION_TP_MODELS = (
    "some families (Llama, Mistral, Gemma) split attention over parallel.tp alone: Qwen3 and DeepSeek can"
)


def layout(parallel: ParallelConfig) -> Layout:
    """Return the GPUs; sizes that do not divide are refused, and count as 1 here."""
    world = parallel.tp * parallel.pp
    attention = attention_ranks(parallel)
    dcp = parallel.dcp if attention % parallel.dcp == 0 else 1
    return Layout(
        gpus=world * parallel.dp,
        world_size=world,
        sharding=Sharding(
            layers=parallel.pp,
            attention=attention,
            dense=1 if parallel.moe_dense_tp == 1 else parallel.tp,
            experts=parallel.tp // _expert_data(parallel),
            kv_heads=attention // dcp,
            kv_tokens=dcp,
            caches=parallel.dp * (parallel.attn_dp if parallel.tp % parallel.attn_dp == 0 else 1),
        ),
    )


def attention_ranks(parallel: ParallelConfig) -> int:
    """Return over how many GPUs a head count is divided."""
    inside = parallel.attn_dp * parallel.cp
    return parallel.tp // inside if parallel.tp % inside == 0 else parallel.tp


def _expert_data(parallel: ParallelConfig) -> int:
    """`--moe-dp-size`: ranks that hold the same part of the same expert."""
    split = parallel.ep * (parallel.moe_tp or parallel.tp)
    if parallel.moe_tp is None or parallel.tp % split:
        return 1
    return parallel.tp // split


def _attention_data(value: Any, setup: Setup) -> Cell:
    parallel = setup.config.parallel
    if parallel.dp > 1:
        return Refusal(reason=f"SGLang takes it or parallel.dp={parallel.dp} above 1: set one of them to 1")
    if parallel.tp % value:
        return Refusal(reason=f"must divide parallel.tp={parallel.tp}")
    return _inside_tp({"attn_dp_size": value}, setup)


def _inside_tp(args: Mapping[str, Any], setup: Setup) -> Cell:
    """What divides the ranks of attention is for the families that know of it."""
    family = setup.facts.model_type
    if family in WHOLE_TP:
        return Refusal(
            reason=f"SGLang splits the attention of {family} models over all of parallel.tp: use parallel.dp"
        )
    return args if family in INSIDE_TP else Told(note=ATTENTION_TP_MODELS, args=args)


def _experts(value: Any, setup: Setup) -> Cell:
    tp, experts = setup.config.parallel.tp, setup.facts.experts
    if tp % value:
        return Refusal(reason=f"must divide parallel.tp={tp}")
    if experts and experts % value:
        return Refusal(reason=f"must divide the {experts} experts of the model")
    return {"ep_size": value}


def _expert_tensor(value: Any, setup: Setup) -> Cell:
    parallel = setup.config.parallel
    whole = max(1, parallel.tp // parallel.ep)
    if value == whole:
        return Told(note=f"what SGLang does with parallel.tp={parallel.tp} and parallel.ep={parallel.ep}")
    copies = _expert_data(parallel)
    if copies > 1 and copies == parallel.cp and parallel.pp == 1 and (parallel.ep == 1 or value == 1):
        return {"moe_dp_size": copies}
    return Refusal(
        reason=f"SGLang splits each expert over tp / ep = {whole}, or that over parallel.cp: "
        f"set parallel.moe_tp={whole}"
    )


def _dense_tensor(value: Any, setup: Setup) -> Cell:
    tp = setup.config.parallel.tp
    if value not in {1, tp}:
        return Refusal(reason=f"must be {' or '.join(map(str, sorted({1, tp})))}")
    return {"moe_dense_tp_size": value}


def _context(value: Any, setup: Setup) -> Cell:
    """Prefill tokens are dealt out in a zigzag, which FlashAttention 3 (9.x) and trtllm_mha (10.x) know."""
    parallel, capability = setup.config.parallel, capability_of(setup)
    if parallel.dcp > 1:
        return Refusal(reason=f"SGLang takes it or parallel.dcp={parallel.dcp}: set one of them to 1")
    if parallel.tp % (parallel.attn_dp * value):
        return Refusal(
            reason=f"times parallel.attn_dp={parallel.attn_dp} must divide parallel.tp={parallel.tp}"
        )
    majors = (9,) if setup.facts.mla else (9, 10)
    if capability is not None and checked(setup) and int(capability) not in majors:
        known = " or ".join(f"{major}.x" for major in majors)
        return Refusal(
            reason=f"its attention kernels need compute capability {known}; the GPUs have {capability:.1f}:"
            " choose parallel.cp=1"
        )
    if setup.facts.mla and (wrong := _not_as_latent(parallel)):
        return Refusal(reason=f"SGLang splits the prompts of MLA models in one way only: set {wrong}")
    return _inside_tp({"enable_prefill_cp": True, "attn_cp_size": value, "cp_strategy": "zigzag"}, setup)


def _not_as_latent(parallel: ParallelConfig) -> str:
    """What the engine would set without a word. Source: arg_groups/model_overrides/deepseek_v2.py."""
    needed = {"cp": parallel.tp // parallel.attn_dp, "ep": parallel.tp, "dp": 1, "moe_dense_tp": 1}
    wrong = {name: size for name, size in needed.items() if getattr(parallel, name) != size}
    return " ".join(f"parallel.{name}={size}" for name, size in wrong.items())


def _decode_context(value: Any, setup: Setup) -> Cell:
    """MLA, and heads of which each rank holds one alone; the default backends of 9.x do not know it."""
    ranks, cp = attention_ranks(setup.config.parallel), setup.config.parallel.cp
    if cp > 1:
        return Refusal(reason=f"SGLang takes it or parallel.cp={cp}: set one of them to 1")
    if ranks % value:
        return Refusal(reason=f"must divide the {ranks} ranks of attention, tp / attn_dp")
    refused = None if setup.facts.mla else _decode_context_of_heads(value, ranks, setup)
    if refused is not None:
        return refused
    capability = capability_of(setup)
    if setup.facts.mla and capability is not None and capability >= 10:
        return {"dcp_size": value}  # trtllm_mla, the default there
    if setup.config.quant.attention_dtype is AttentionDtype.fp8:
        return Refusal(
            reason="the backend that computes FP8 attention does not know it: set quant.attention_dtype=auto"
        )
    return {"dcp_size": value, "attention_backend": "flashinfer" if setup.facts.mla else "triton"}


def _decode_context_of_heads(value: int, ranks: int, setup: Setup) -> Refusal | None:
    """Ranks of a group must hold the same KV head, else the cache is corrupted without a word."""
    facts = setup.facts
    kv_heads = facts.kv_heads or facts.heads
    if facts.sliding_layers:
        return Refusal(reason="SGLang's kernels for it have no sliding windows: set parallel.dcp=1")
    if kv_heads is None or facts.heads is None or kv_heads * value <= ranks:
        return None
    return Refusal(
        reason=f"ranks that share tokens must hold the same KV head; tp / attn_dp = {ranks} is below "
        f"{kv_heads} KV heads × {value}: {smaller_dcp(ranks, kv_heads, setup)}"
    )


TABLE: dict[str, Rule] = {
    "parallel.tp": to_argument("tp_size"),
    "parallel.pp": to_argument("pp_size"),
    "parallel.dp": to_argument("dp_size"),
    "parallel.attn_dp": _attention_data,
    "parallel.ep": with_experts(_experts, "parallel.ep=1"),
    "parallel.dcp": _decode_context,
    "parallel.cp": _context,
    "parallel.moe_tp": with_experts(_expert_tensor, "parallel.moe_tp=null"),
    "parallel.moe_dense_tp": with_experts(_dense_tensor, "parallel.moe_dense_tp=null"),
}
