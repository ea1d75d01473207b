"""The memory that each engine leaves to its KV cache, by the meaning of its own fraction."""

from __future__ import annotations

from typing import Any

import pytest

from autotune.plan.runtimes import RUNTIMES


@pytest.mark.parametrize(
    ("engine", "args", "gpu_gib", "gib", "arithmetic"),
    [
        pytest.param("vllm", {}, 80, 58.6, "0.92 × 80.0 - 15.00 GiB", id="vllm: default"),
        pytest.param("vllm", {"gpu_memory_utilization": 0.5}, 80, 25, "0.5 × 80.0 - 15.00 GiB", id="vllm: fraction"),
        pytest.param("vllm", {"gpu_memory_utilization": "half"}, 80, 58.6, "0.92 × 80.0 - 15.00 GiB", id="vllm: no number"),
        pytest.param("vllm", {"kv_cache_memory_bytes": "4G"}, 80, 4, "min(4.00, 80.0 - 15.00) GiB", id="vllm: bytes"),
        pytest.param("vllm", {"kv_cache_memory_bytes": "900G"}, 80, 65, "min(900.00, 80.0 - 15.00) GiB", id="vllm: too many bytes"),
        pytest.param("sglang", {"mem_fraction_static": 0.8}, 80, 49, "0.8 × 80.0 - 15.00 GiB", id="sglang: fraction"),
        pytest.param("sglang", {}, 80, 52.375, "80.0 - 12.62 - 15.00 GiB", id="sglang: default"),
        pytest.param("sglang", {"chunked_prefill_size": 2048}, 80, 55, "80.0 - 10.00 - 15.00 GiB", id="sglang: floor"),
        pytest.param("sglang", {"tp_size": 8, "pp_size": 2}, 80, 50.5, "80.0 - 14.50 - 15.00 GiB", id="sglang: ranks"),
        pytest.param("sglang", {"chunked_prefill_size": -1}, 80, 40.375, "80.0 - 24.62 - 15.00 GiB", id="sglang: unchunked"),
        pytest.param("sglang", {}, 48, 26.375, "48.0 - 6.62 - 15.00 GiB", id="sglang: smaller chunks on smaller GPUs"),
        pytest.param("sglang", {}, 180, 140.375, "180.0 - 24.62 - 15.00 GiB", id="sglang: larger on larger"),
    ],
)  # fmt: skip
def test_budget(engine: str, args: dict[str, Any], gpu_gib: float, gib: float, arithmetic: str) -> None:
    """With weights of 15 GiB."""
    budget = RUNTIMES[engine].kv_budget(args, gpu_gib=gpu_gib, weights_gib=15)
    assert budget.gib == pytest.approx(gib)
    assert budget.arithmetic == arithmetic


@pytest.mark.parametrize(
    ("args", "share"),
    [
        pytest.param({}, 0.819, id="eight ranks"),
        pytest.param({"attn_dp_size": 8, "ep_size": 8}, 0.594, id="attention ranks"),
        pytest.param({"attn_dp_size": 8, "ep_size": 8, "chunked_prefill_size": 16384}, 0.444, id="larger chunks"),
        pytest.param({"attn_dp_size": 8, "ep_size": 8, "chunked_prefill_size": 131072}, -1.656, id="chunks of all ranks"),
    ],
)  # fmt: skip
def test_what_sglang_reserves_is_what_it_resolves(args: dict[str, Any], share: float) -> None:
    """`mem_fraction_static` as SGLang 0.5.23 itself set it for Qwen3 30B A3B on H100 GPUs of 80 GiB."""
    budget = RUNTIMES["sglang"].kv_budget({"tp_size": 8, **args}, gpu_gib=80, weights_gib=0)
    assert (budget.gib - budget.kept_gib) / 80 == pytest.approx(share, abs=0.0005)


def test_chunks_that_leave_nothing_have_a_way_out() -> None:
    """The fraction set by hand counts instead of what SGLang would reserve."""
    budget = RUNTIMES["sglang"].kv_budget({"chunked_prefill_size": 131072}, gpu_gib=80, weights_gib=10)
    assert (
        budget.instead == "runtime.args.mem_fraction_static=0.85 (else 193 GiB are reserved for such chunks)"
    )
    assert RUNTIMES["sglang"].kv_budget({}, gpu_gib=80, weights_gib=10).instead is None
