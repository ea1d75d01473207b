"""vLLM: `vllm serve MODEL ...`.

Source: vLLM 0.33.0 engine/arg_utils.py and config/parallel.py; vllm/entrypoints for the readiness.
"""

from __future__ import annotations

from typing import Any

from autotune.plan.runtimes.mapping import (
    Cell,
    Refusal,
    Rule,
    choose,
    map_fields,
    refuse,
    to_argument,
)
from autotune.plan.runtimes.protocol import Layout, Mapped
from autotune.records import Inventory, InventoryKind, Readiness
from autotune.schema import Config, ParallelConfig

# Environment of every vLLM that is measured: no usage reports during a measurement.
BASE_ENV = {"VLLM_NO_USAGE_STATS": "1"}

# Environment of the CPU build. Source: vLLM's CPU installation page; VLLM_CPU_KVCACHE_SPACE is an
# integer number of GiB, and gloo must be told the loopback interface where there is no network.
CPU_ENV = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
}


def _expert_parallel(value: Any, config: Config) -> Cell:
    """`--enable-expert-parallel` has no size: the group is all ranks, tp × cp × dp."""
    ranks = config.parallel.tp * config.parallel.cp * config.parallel.dp
    if value == ranks:
        return {"enable_expert_parallel": True}
    return Refusal(reason=f"vLLM spreads experts over tp × cp × dp = {ranks} ranks: set parallel.ep={ranks}")


TABLE: dict[str, Rule] = {
    "parallel.tp": to_argument("tensor_parallel_size"),
    "parallel.pp": to_argument("pipeline_parallel_size"),
    "parallel.dp": to_argument("data_parallel_size"),
    "parallel.dcp": to_argument("decode_context_parallel_size"),
    "parallel.cp": to_argument("prefill_context_parallel_size"),
    "parallel.ep": _expert_parallel,
    "parallel.attn_dp": refuse(
        "vLLM has no attention data parallelism inside a tensor-parallel group: use parallel.dp"
    ),
    "quant.gemm_dtype": choose(
        {
            "bf16": {"dtype": "bfloat16"},
            "fp16": {"dtype": "float16"},
            # `fp8` is for FP8 checkpoints only since the online rework.
            "fp8": {"quantization": "fp8_per_tensor"},
        }
    ),
    "quant.kvcache_dtype": choose({"fp8": {"kv_cache_dtype": "fp8"}}),
    "serving.max_running_requests": to_argument("max_num_seqs"),
    "serving.max_batched_tokens": to_argument("max_num_batched_tokens"),
    "serving.max_model_len": to_argument("max_model_len"),
    "serving.prefix_caching": to_argument("enable_prefix_caching"),
    "serving.chunked_prefill": to_argument("enable_chunked_prefill"),
}


class Vllm:
    """The vLLM adapter; see `protocol.Runtime`."""

    readiness = Readiness(path="/health")

    def layout(self, parallel: ParallelConfig) -> Layout:
        """World tp·pp·cp; GPUs = world·dp; dcp and ep reuse ranks. Source: config/parallel.py:964."""
        world = parallel.tp * parallel.pp * parallel.cp
        return Layout(gpus=world * parallel.dp, world_size=world)

    def mapped(self, config: Config, inventory: Inventory) -> Mapped:
        """Return vLLM's arguments for the presets; on a CPU also the environment of that build."""
        args, origin, reasons = map_fields(config, TABLE)
        env, notes = dict(BASE_ENV), []
        if inventory.kind is InventoryKind.CPU:
            env |= CPU_ENV
            args.setdefault("enforce_eager", True)
            origin.setdefault("enforce_eager", "gpus=cpu")
            notes.append("on a CPU vLLM runs uncompiled (runtime.args.enforce_eager=false compiles)")
        return Mapped(args=args, origin=origin, env=env, reasons=tuple(reasons), notes=tuple(notes))

    def command(self, model: str) -> tuple[str, ...]:
        """`vllm serve MODEL`; the model is positional."""
        return ("vllm", "serve", model)
