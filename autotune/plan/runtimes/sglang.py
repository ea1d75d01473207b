"""SGLang: `sglang serve --model-path MODEL ...`.

Source: SGLang 0.5.23 python/sglang/srt/arg_groups and server_args.py.
"""

from __future__ import annotations

from typing import Any

from autotune.plan.runtimes.mapping import Cell, Refusal, Rule, choose, map_fields, to_argument
from autotune.plan.runtimes.protocol import Layout, Mapped
from autotune.records import Inventory, InventoryKind, Readiness
from autotune.schema import Config, ParallelConfig


def _prefix_caching(value: Any, _config: Config) -> Cell:
    """The radix cache is on unless disabled; there is no flag that turns it on."""
    return {} if value else {"disable_radix_cache": True}


def _chunked_prefill(value: Any, config: Config) -> Cell:
    """Chunking is on by default and sized by `serving.max_batched_tokens`; -1 turns it off."""
    if value:
        return {}
    if config.serving.max_batched_tokens is not None:
        return Refusal(
            reason="SGLang's token budget for a step is its chunk size: unset serving.max_batched_tokens"
        )
    return {"chunked_prefill_size": -1}


TABLE: dict[str, Rule] = {
    "parallel.tp": to_argument("tp_size"),
    "parallel.pp": to_argument("pp_size"),
    "parallel.dp": to_argument("dp_size"),
    "parallel.attn_dp": to_argument("attn_dp_size"),
    "parallel.ep": to_argument("ep_size"),
    "parallel.dcp": to_argument("dcp_size"),
    "parallel.moe_dense_tp": to_argument("moe_dense_tp_size"),
    "quant.gemm_dtype": choose(
        {
            "bf16": {"dtype": "bfloat16"},
            "fp16": {"dtype": "float16"},
            "fp8": {"quantization": "fp8"},
        }
    ),
    # There is no plain `fp8`; e4m3 is the native one.
    "quant.kvcache_dtype": choose({"fp8": {"kv_cache_dtype": "fp8_e4m3"}}),
    "serving.max_running_requests": to_argument("max_running_requests"),
    "serving.max_batched_tokens": to_argument("chunked_prefill_size"),
    "serving.max_model_len": to_argument("context_length"),
    "serving.prefix_caching": _prefix_caching,
    "serving.chunked_prefill": _chunked_prefill,
}


class Sglang:
    """The SGLang adapter; see `protocol.Runtime`."""

    readiness = Readiness(path="/health")

    def layout(self, parallel: ParallelConfig) -> Layout:
        """World tp·pp; GPUs = world·dp; attention DP, ep and dcp are inside tp.

        Source: managers/data_parallel_controller.py:445, arg_groups/parallel_hook.py:326.
        """
        world = parallel.tp * parallel.pp
        return Layout(gpus=world * parallel.dp, world_size=world)

    def mapped(self, config: Config, inventory: Inventory) -> Mapped:
        """Return SGLang's arguments for the presets."""
        args, origin, reasons = map_fields(config, TABLE)
        if config.parallel.attn_dp > 1 and config.parallel.dp > 1:
            reasons.append("parallel.attn_dp and parallel.dp: SGLang takes one of them above 1")
        if config.parallel.tp % config.parallel.attn_dp:
            reasons.append(
                f"parallel.attn_dp={config.parallel.attn_dp} must divide parallel.tp={config.parallel.tp}"
            )
        if inventory.kind is InventoryKind.CPU:
            reasons.append("gpus=cpu: SGLang is not served on a CPU here: use runtime=vllm")
        return Mapped(args=args, origin=origin, reasons=tuple(reasons))

    def command(self, model: str) -> tuple[str, ...]:
        """`sglang serve --model-path MODEL`."""
        return ("sglang", "serve", "--model-path", model)
