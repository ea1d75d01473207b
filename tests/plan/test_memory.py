"""What memory rejects, what it only notes, and what it leaves alone; sums are written out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autotune.plan.facts import ModelFacts, Stored
from autotune.plan.memory import Judged, estimate
from autotune.plan.runtimes.protocol import Layout, Sharding
from autotune.records import InventoryKind
from autotune.schema import (
    DeployConfig,
    LoadMode,
    MoeDtype,
    ParallelConfig,
    QuantConfig,
    RuntimeConfig,
    WorkloadConfig,
)
from tests.plan.candidates import CHAT, FP8, HALVES, changed, gpus, judged, layout, setup


# 8B: 14.957 GiB of weights; a request of 2,048 tokens is 0.25 GiB. Half of the GPU must hold both.
@pytest.mark.parametrize(
    ("gpu_gib", "fits"),
    [(30.40, False), (30.42, None), (34.0, None), (40.0, True)],
    ids=["15.20 < 15.21: no", "15.21 >= 15.21: perhaps", "17.0 < 15.2 + overhead: perhaps", "20.0: yes"],
)
def test_only_bounds_reject(gpu_gib: float, *, fits: bool | None) -> None:
    """A candidate that fails by its overhead alone is not rejected: that is only estimated."""
    asked = setup(inventory=gpus(8, gpu_gib))
    verdict = estimate(HALVES, asked, layout(1), {"max_model_len": 2048})
    assert verdict.estimate is not None
    assert verdict.estimate.fits is fits
    assert bool(verdict.reasons) == (fits is False)


def test_an_estimate_adds_up() -> None:
    """Weights + KV cache + overhead; tokens are of all caches of the engine."""
    asked = setup(inventory=gpus(8, 80))
    verdict = estimate(HALVES, asked, layout(1), {"max_model_len": 4096})
    memory = verdict.estimate
    # Overhead: 0.75 + 0.75 + 8,192 · (4 · 4,096 + 2 · 14,336) · 2 / 2**30 = 2.1875 GiB.
    # KV cache: 40 - 14.9575 - 2.1875 = 22.855 GiB = 91.4 requests of 0.25 GiB.
    assert memory is not None
    assert (memory.weights_gib, memory.kv_cache_gib, memory.per_gpu_gib) == (14.96, 22.85, 40.0)
    assert memory.concurrency == 91.4
    assert memory.kv_tokens == pytest.approx(22.855 * 2**30 / 131_072, rel=1e-3)
    assert verdict.notes == ()
    twice = estimate(HALVES, asked, Layout(gpus=2, world_size=1, sharding=Sharding(caches=2)), {})
    assert twice.estimate is not None
    assert twice.estimate.kv_tokens is not None
    assert memory.kv_tokens is not None
    assert twice.estimate.kv_tokens > 1.9 * memory.kv_tokens


TOO_BIG = {
    "vllm": ("0.92 × 80.0 - 131.42 GiB = -57.8 GiB", "parallel.tp=4"),  # of 131,072 tokens there
    "sglang": ("- 131.42 GiB = ", "parallel.tp=2"),
    "tensorrt_llm": ("0.9 × (80.0 - 131.4 GiB) = -46.3 GiB", "parallel.tp=2 or an FP8 checkpoint"),
}


@pytest.mark.parametrize(("kind", "left", "advice"), [(kind, *rest) for kind, rest in TOO_BIG.items()])
def test_a_rejection_holds_the_arithmetic_and_what_would_fit(kind: str, left: str, advice: str) -> None:
    """Llama-3.1-70B on one GPU of 80 GiB: 2 bytes × 7.06e10, and 2 · 80 · 8 · 128 · 2 bytes a token."""
    verdict = judged(setup("llama3_1_70b", kind))
    (reason,) = verdict.reasons
    assert reason.startswith("does not fit: weights take 131.4 GiB of each GPU, which leaves ")
    assert left in reason
    request = "for a KV cache; one request of 2,048 tokens needs 0.62 GiB: use "
    assert reason.endswith(request + advice)
    assert verdict.estimate is not None
    assert verdict.estimate.fits is False
    assert verdict.notes == ()


FITTING: dict[str, tuple[str, dict[str, int], float, bool]] = {
    "8B tp1": ("llama3_1_8b", {}, 80, True),
    "70B tp1": ("llama3_1_70b", {}, 80, False),
    "70B tp2": ("llama3_1_70b", {"tp": 2}, 80, True),
    "70B tp4": ("llama3_1_70b", {"tp": 4}, 80, True),
    "405B tp8: 94.5 GiB each": ("llama3_1_405b", {"tp": 8}, 80, False),
    "405B tp8 on 141 GiB": ("llama3_1_405b", {"tp": 8}, 141, True),
    "DeepSeek-V3 tp8: 78.3 GiB each": ("deepseek_v3", {"tp": 8, "ep": 8}, 80, False),
    "DeepSeek-V3 tp8 on 141 GiB": ("deepseek_v3", {"tp": 8, "ep": 8}, 141, True),
    "DeepSeek-V3 attention DP on 141 GiB": ("deepseek_v3", {"tp": 8, "ep": 8, "attn_dp": 8}, 141, True),
    "Mixtral tp1: 87.0 GiB": ("mixtral_8x7b", {}, 80, False),
    "Mixtral tp2": ("mixtral_8x7b", {"tp": 2}, 80, True),
    "Qwen3-235B tp8 ep8": ("qwen3_235b_a22b", {"tp": 8, "ep": 8}, 80, True),
    "Qwen3-235B tp4 ep4: 109.5 GiB each": ("qwen3_235b_a22b", {"tp": 4, "ep": 4}, 80, False),
    "gpt-oss-120b tp1: 60.8 GiB": ("gpt_oss_120b", {}, 80, True),
    "gpt-oss-20b on 24 GiB": ("gpt_oss_20b", {}, 24, True),
    "Gemma 3 27B": ("gemma3_27b", {}, 80, True),
    "Gemma 3 27B on 48 GiB": ("gemma3_27b", {}, 48, False),
}


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
@pytest.mark.parametrize(("name", "parallel", "gpu_gib", "fits"), FITTING.values(), ids=FITTING)
def test_known_cases(kind: str, name: str, parallel: dict[str, int], gpu_gib: float, *, fits: bool) -> None:
    """What people serve on such GPUs fits, with requests of up to 2,048 tokens; the rest does not."""
    args = {"max_model_len": 2048} if kind == "vllm" else {}
    verdict = judged(setup(name, kind, gpus(8, gpu_gib), parallel=ParallelConfig(**parallel)), **args)
    assert verdict.estimate is not None
    assert verdict.estimate.fits is fits, verdict
    assert bool(verdict.reasons) != fits


def test_vllm_needs_room_for_its_longest_request() -> None:
    """70B tp2: 131,072 tokens are 2 · 80 · 4 · 128 · 2 · 131,072 bytes = 20 GiB, more than the 7.9 left."""
    verdict = judged(setup("llama3_1_70b", parallel=ParallelConfig(tp=2)))
    assert verdict.reasons == (
        "does not start: vLLM keeps room for one request of max_model_len=131,072 tokens, which needs 20.00"
        " GiB of KV cache; weights take 65.7 GiB of each GPU, which leaves 0.92 × 80.0 - 65.71 GiB = 7.9 GiB:"
        " use serving.max_model_len=31744 or parallel.tp=4 or quant.gemm_dtype=fp8",
    )
    assert judged(setup("llama3_1_70b", "sglang", parallel=ParallelConfig(tp=2))).reasons == ()
    for allowed in (31744, "31K", "auto", -1):
        assert (
            judged(setup("llama3_1_70b", parallel=ParallelConfig(tp=2)), max_model_len=allowed).reasons == ()
        )
    decimal = judged(setup("llama3_1_70b", parallel=ParallelConfig(tp=2)), max_model_len="131k")
    assert "max_model_len=131,000 tokens" in decimal.reasons[0]


def test_ranks_are_advised_instead_of_replicas() -> None:
    """Two replicas of four GPUs hold less of DeepSeek-V3 than eight ranks do."""
    balanced = setup("deepseek_v3", "sglang", gpus(8, 141), parallel=ParallelConfig(tp=4, dp=2))
    assert judged(balanced).reasons[0].endswith(": use parallel.tp=8 parallel.dp=1")
    ranks = setup("deepseek_v3", "sglang", gpus(8, 141), parallel=ParallelConfig(tp=8))
    assert judged(ranks).reasons == ()


def test_what_is_advised_would_not_be_rejected() -> None:
    """Each suggestion, applied, leaves no reason."""
    assert judged(setup("llama3_1_70b", parallel=ParallelConfig(tp=4))).reasons == ()
    assert judged(setup("llama3_1_70b", parallel=ParallelConfig(tp=2), quant=FP8)).reasons == ()
    assert judged(setup("llama3_1_70b", parallel=ParallelConfig(tp=2)), max_model_len=31744).reasons == ()
    experts = judged(setup("qwen3_235b_a22b", parallel=ParallelConfig(tp=4, ep=4)))
    assert experts.reasons[0].endswith(": use parallel.tp=8 parallel.ep=8 or quant.gemm_dtype=fp8"), (
        experts.reasons
    )


def test_no_advice_goes_beyond_the_gpus_that_there_are() -> None:
    """One GPU, and a checkpoint that is quantized already."""
    alone = judged(setup("deepseek_v3", inventory=gpus(1, 80)))
    assert alone.reasons[0].endswith(": use GPUs with more memory, or a smaller checkpoint")


def test_requests_that_will_wait_are_told() -> None:
    """Fewer requests find room than the lowest load sends; at a rate one is enough."""
    asked = setup("gemma3_27b", inventory=gpus(1, 64))
    workload = replace(CHAT, loads=[64, 128])
    closed = changed(asked, workload=workload)
    note = judged(closed, max_model_len=4096).notes[0]
    assert note.endswith("fewer than the lowest load of 64: requests will wait")
    rate = changed(asked, workload=replace(workload, mode=LoadMode.rate))
    assert judged(rate, max_model_len=4096).notes == ()


def test_what_is_close_is_told_and_not_rejected() -> None:
    """Half of 34 GiB holds weights and a request, and not the overhead; 0.99 of 80 GiB leaves nothing."""
    verdict = estimate(HALVES, setup(inventory=gpus(1, 34)), layout(1), {"max_model_len": 2048})
    assert verdict.reasons == ()
    assert verdict.notes == (
        "KV cache for less than one request of 2,048 tokens, fewer than the lowest load of 8: "
        "requests will wait",
        "memory is close: weights 15.0 + KV cache 0.0 + overhead of about 2.2 = 17.1 of 34.0 GiB: "
        "it may not start",
    )
    full = judged(setup(), gpu_memory_utilization=0.99)
    assert full.notes[-1] == (
        "memory is close: weights 15.0 + KV cache 62.1 + overhead of about 2.2 = 79.2 of 80.0 GiB"
    )
    assert full.estimate is not None
    assert full.estimate.fits is True


@pytest.mark.parametrize(
    "args",
    [
        {"cpu_offload_gb": 100},
        {"load_format": "bitsandbytes"},
        {"kv_cache_memory_bytes": "1G"},
        {"num_gpu_blocks_override": 8},
        {"quant_config": {"quant_algo": "FP8"}},
        {"hf_overrides": {"num_hidden_layers": 2}},
        {"dtype": "float32"},
    ],
    ids=lambda args: next(iter(args)),
)
def test_an_argument_that_changes_sizes_keeps_from_judging(args: dict[str, Any]) -> None:
    """70B on one GPU would be rejected otherwise; a null argument is none."""
    name = next(iter(args))
    verdict = judged(setup("llama3_1_70b"), **args)
    assert verdict.reasons == ()
    assert verdict.notes == (f"memory not estimated: how runtime.args.{name} changes it is not modelled",)
    assert verdict.estimate is not None
    assert verdict.estimate.fits is None
    assert judged(setup("llama3_1_70b"), **dict.fromkeys(args)).reasons != ()


@pytest.mark.parametrize("name", ["quantization", "quantization_config"])
def test_only_the_users_own_quantization_keeps_from_judging(name: str) -> None:
    """What `quant` maps to the same arguments has a known effect."""
    runtime = RuntimeConfig(kind="vllm", version="0.33.0", args={name: "fp8_per_tensor"})
    own = changed(setup("llama3_1_70b"), runtime=runtime)
    assert f"runtime.args.{name} " in judged(own, **runtime.args).notes[0]
    assert judged(setup("llama3_1_405b", quant=FP8)).reasons != ()
    experts = setup("qwen3_235b_a22b", quant=QuantConfig(moe_dtype=MoeDtype.fp8))
    assert judged(experts, quantization_config={"moe": "fp8_per_tensor"}).reasons != ()


def test_what_is_unknown_is_told() -> None:
    """Nothing is rejected for what is not known."""
    known = setup("llama3_1_405b")
    none = replace(known, facts=ModelFacts(source="the model preset"))
    assert judged(none) == Judged(
        estimate=None,
        notes=(
            "memory not estimated: the model preset does not say model.params, model.layers, model.heads, "
            "model.hidden_size, model.vocab_size",
        ),
    )
    unstored = replace(known, facts=replace(known.facts, stored=None))
    assert "model.stored.method" in judged(unstored).notes[0]
    strange = replace(known.facts, stored=Stored(method="gguf", gemm_dtype="q3_k"))
    assert "weights of q3_k" in judged(replace(known, facts=strange)).notes[0]
    lengths = changed(known, workload=WorkloadConfig())
    assert "workload.input_tokens" in judged(lengths).notes[0]
    assert judged(known, kv_cache_dtype="turboquant_4bit").estimate is None


def test_unknown_gpus_leave_the_weights() -> None:
    """A driver that does not tell the memory of one GPU is enough."""
    mixed = replace(gpus(2, 80), gpus=(*gpus(1, 80).gpus, *gpus(1, None).gpus))
    verdict = judged(setup("llama3_1_405b", inventory=mixed))
    assert verdict.reasons == ()
    assert verdict.notes == ("memory not judged: the memory of the GPUs is unknown",)
    assert verdict.estimate is not None
    assert verdict.estimate.weights_gib == 755.96
    assert verdict.estimate.fits is None


def test_cpus_foreign_engines_and_recorded_rows_are_not_judged() -> None:
    """A CPU has a setting for the KV cache; the others have run."""
    big = setup("llama3_1_405b")
    for kind in (InventoryKind.CPU, InventoryKind.FOREIGN):
        assert judged(replace(big, inventory=gpus(1, 80, kind))) == Judged(estimate=None)
    assert judged(changed(big, deploy=DeployConfig(kind="replay"))) == Judged(estimate=None)
