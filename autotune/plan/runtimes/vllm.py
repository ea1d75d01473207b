"""vLLM: `vllm serve MODEL ...`.

Source: vLLM 0.33.0 engine/arg_utils.py and config/parallel.py; vllm/entrypoints for the readiness.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.plan.runtimes import stored, vllm_layout, vllm_quant
from autotune.plan.runtimes.capability import UNKNOWN
from autotune.plan.runtimes.counts import count, fraction
from autotune.plan.runtimes.mapping import Rule, map_all, to_argument
from autotune.plan.runtimes.methods import VLLM, method_reasons
from autotune.plan.runtimes.protocol import KvBudget, Layout, Mapped, Setup
from autotune.records import InventoryKind, Readiness
from autotune.schema import ParallelConfig

# Environment of every vLLM that is measured: no usage reports during a measurement.
BASE_ENV = {"VLLM_NO_USAGE_STATS": "1"}

# Environment of the CPU build. Source: vLLM's CPU installation page; VLLM_CPU_KVCACHE_SPACE is an
# integer number of GiB, and gloo must be told the loopback interface where there is no network.
CPU_ENV = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
}
GPU_MEMORY_UTILIZATION = 0.92  # of the GPU's whole memory; 0.32.0 and 0.33.0: config/cache.py

TABLE: dict[str, Rule] = {
    **vllm_layout.TABLE,
    **vllm_quant.TABLE,
    "serving.max_running_requests": to_argument("max_num_seqs"),
    "serving.max_batched_tokens": to_argument("max_num_batched_tokens"),
    "serving.max_model_len": to_argument("max_model_len"),
    "serving.prefix_caching": to_argument("enable_prefix_caching"),
    "serving.chunked_prefill": to_argument("enable_chunked_prefill"),
}


class Vllm:
    """The vLLM adapter; see `protocol.Runtime`."""

    readiness = Readiness(path="/health")
    layout_args: Mapping[str, str] = vllm_layout.LAYOUT_ARGS

    def layout(self, parallel: ParallelConfig) -> Layout:
        """Return the GPUs and ranks of a parallel layout."""
        return vllm_layout.layout(parallel)

    def mapped(self, setup: Setup) -> Mapped:
        """Return vLLM's arguments for the presets; on a CPU also the environment of that build."""
        mapped = map_all(setup, TABLE)
        args, origin, env = dict(mapped.args), dict(mapped.origin), dict(BASE_ENV)
        notes = [*mapped.notes, *stored.unread(setup)]
        if stored.skipped(setup):
            notes.append(UNKNOWN)
        if setup.inventory.kind is InventoryKind.CPU:
            env |= CPU_ENV
            args.setdefault("enforce_eager", True)
            origin.setdefault("enforce_eager", "gpus=cpu")
            notes.append("on a CPU vLLM runs uncompiled (runtime.args.enforce_eager=false compiles)")
        reasons = (*mapped.reasons, *vllm_quant.stored_reasons(setup), *method_reasons(VLLM, setup))
        return Mapped(args=args, origin=origin, env=env, reasons=reasons, notes=tuple(notes))

    def command(self, model: str) -> tuple[str, ...]:
        """`vllm serve MODEL`; the model is positional."""
        return ("vllm", "serve", model)

    def kv_budget(self, args: Mapping[str, Any], *, gpu_gib: float, weights_gib: float) -> KvBudget:
        """KV ≤ fraction × the GPU's memory - weights, unless `kv_cache_memory_bytes` says it.

        Source: v1/worker/gpu_worker.py determine_available_memory, 0.32.0 and 0.33.0.
        """
        given = count(args.get("kv_cache_memory_bytes"))
        if given is not None:
            asked = given / 2**30
            return KvBudget(
                gib=min(asked, gpu_gib - weights_gib),
                arithmetic=f"min({asked:.2f}, {gpu_gib:.1f} - {weights_gib:.2f}) GiB",
            )
        part = fraction(args.get("gpu_memory_utilization")) or GPU_MEMORY_UTILIZATION
        return KvBudget(
            gib=part * gpu_gib - weights_gib,
            arithmetic=f"{part:g} × {gpu_gib:.1f} - {weights_gib:.2f} GiB",
        )
