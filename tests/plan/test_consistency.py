"""Values that must agree, as the engine gets them: from presets or from `runtime.args`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autotune.plan.consistency import argument_reasons
from autotune.plan.facts import ModelFacts
from autotune.plan.runtimes.counts import count, fraction
from autotune.schema import Config, DeployConfig, RuntimeConfig, WorkloadConfig
from tests.contracts.runtime import DENSE, MLA, gpus, setup
from tests.plan.candidates import CHAT


def reasons(
    engine: str,
    args: dict[str, Any],
    *,
    facts: ModelFacts = DENSE,
    env: dict[str, str] | None = None,
    deploy: str = "process",
    workload: WorkloadConfig | None = None,
) -> list[str]:
    """Why the engine would refuse these arguments together."""
    config = Config(deploy=DeployConfig(kind=deploy), workload=workload or WorkloadConfig())
    asked = setup(config, engine=engine, facts=facts)
    runtime = RuntimeConfig(kind=engine, version="", image="", env=env or {})
    return argument_reasons(replace(asked, config=replace(asked.config, runtime=runtime)), args)


@pytest.mark.parametrize(
    ("engine", "bad", "good", "expected"),
    [
        pytest.param("vllm", {"max_num_batched_tokens": 64, "max_num_seqs": 128}, {"max_num_batched_tokens": 128, "max_num_seqs": 128}, "max_num_batched_tokens=64 is below max_num_seqs=128: set serving.max_batched_tokens to 128 or more, or serving.max_running_requests to 64 or less", id="batch"),
        pytest.param("vllm", {"max_num_batched_tokens": "1k", "max_num_seqs": 1024}, {"max_num_batched_tokens": "1K", "max_num_seqs": 1024}, "max_num_batched_tokens=1000 is below", id="as vLLM reads numbers"),
        pytest.param("vllm", {"max_num_batched_tokens": 4096, "enable_chunked_prefill": False, "max_model_len": 8192}, {"max_num_batched_tokens": 4096, "enable_chunked_prefill": False, "max_model_len": 4096}, "max_num_batched_tokens=4096 is below max_model_len=8192 with chunked prefill off", id="whole prompts"),
        pytest.param("vllm", {"max_num_batched_tokens": 4096, "enable_chunked_prefill": False}, {"max_num_batched_tokens": 4096, "enable_chunked_prefill": True}, "is below max_model_len=131072 with chunked prefill off", id="the model's own length"),
        pytest.param("vllm", {"max_model_len": 131073}, {"max_model_len": 131072}, "max_model_len=131073 is above the model's own 131072: set serving.max_model_len=131072 or less", id="too long"),
        pytest.param("vllm", {"max_model_len": 200000}, {"max_model_len": "auto"}, "is above the model's own", id="what fits"),
        pytest.param("vllm", {"max_model_len": 200000}, {"max_model_len": 200000, "hf_overrides": {"rope_scaling": {}}}, "is above the model's own", id="another length"),
        pytest.param("sglang", {"context_length": 200000}, {"context_length": 1024}, "context_length=200000 is above the model's own 131072", id="sglang: too long"),
        pytest.param("sglang", {"chunked_prefill_size": 1000, "page_size": 64}, {"chunked_prefill_size": 1024, "page_size": 64}, "chunked_prefill_size=1000 is not a multiple of page_size=64: set serving.max_batched_tokens to a multiple of 64", id="sglang: pages"),
        pytest.param("sglang", {"chunked_prefill_size": 1024, "page_size": 64, "attn_dp_size": 32}, {"chunked_prefill_size": 2048, "page_size": 64, "attn_dp_size": 32}, "chunked_prefill_size=1024 / attn_dp_size=32 is not a multiple of page_size=64", id="sglang: pages of each rank"),
        pytest.param("sglang", {"chunked_prefill_size": 1000, "attention_backend": "trtllm_mha"}, {"chunked_prefill_size": -1, "attention_backend": "trtllm_mha"}, "is not a multiple of page_size=64", id="sglang: pages of a backend"),
        pytest.param("sglang", {"dcp_size": 2, "attention_backend": "fa3"}, {"dcp_size": 2, "attention_backend": "triton"}, "attention_backend=fa3 does not know decode context parallelism (parallel.dcp): possible are triton", id="sglang: backend"),
        pytest.param("sglang", {"dcp_size": 2, "attention_backend": "fa3"}, {"attention_backend": "fa3"}, "attention_backend=fa3", id="sglang: backend without it"),
    ],
)  # fmt: skip
def test_values_that_disagree_are_refused(
    engine: str, bad: dict[str, Any], good: dict[str, Any], expected: str
) -> None:
    """With both numbers; a neighbour passes; what was measured is not judged."""
    [found] = reasons(engine, bad)
    assert expected in found
    assert reasons(engine, good) == []
    assert reasons(engine, bad, deploy="replay") == []


def test_the_backends_that_share_tokens_are_others_for_mla() -> None:
    """FlashInfer does for one latent, not for heads."""
    args = {"dcp_size": 2, "attention_backend": "flashinfer"}
    assert reasons("sglang", args, facts=MLA) == []
    assert len(reasons("sglang", args)) == 1


@pytest.mark.parametrize(
    ("engine", "name", "variable"),
    [
        ("vllm", "max_model_len", "VLLM_ALLOW_LONG_MAX_MODEL_LEN"),
        ("sglang", "context_length", "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN"),
    ],
)
def test_a_longer_context_is_allowed_where_the_engine_is_told_so(
    engine: str, name: str, variable: str
) -> None:
    """By the engine's own variable."""
    assert reasons(engine, {name: 200000}, env={variable: "1"}) == []
    assert len(reasons(engine, {name: 200000}, env={variable: "0"})) == 1


@pytest.mark.parametrize(
    ("engine", "args", "expected"),
    [
        pytest.param("vllm", {"max_num_seqs": 0, "stream_interval": -1}, ["runtime.args.max_num_seqs=0: must be at least 1", "runtime.args.stream_interval=-1: must be at least 1"], id="counts"),
        pytest.param("vllm", {"gpu_memory_utilization": 1.5}, ["runtime.args.gpu_memory_utilization=1.5: must be above 0 and at most 1"], id="a share above the whole"),
        pytest.param("vllm", {"gpu_memory_utilization": 1, "max_num_seqs": 1}, [], id="the ends"),
        pytest.param("sglang", {"mem_fraction_static": 0}, ["runtime.args.mem_fraction_static=0: must be above 0 and at most 1"], id="no share"),
        pytest.param("sglang", {"chunked_prefill_size": -1}, [], id="-1 turns chunks off"),
        pytest.param("tensorrt_llm", {"max_batch_size": 0, "kv_cache_free_gpu_memory_fraction": 90}, ["runtime.args.max_batch_size=0: must be at least 1", "runtime.args.kv_cache_free_gpu_memory_fraction=90: must be above 0 and at most 1"], id="per cent"),
        pytest.param("vllm", {"max_num_seqs": "abc"}, [], id="no number"),
    ],
)  # fmt: skip
def test_bounds(engine: str, args: dict[str, Any], expected: list[str]) -> None:
    """Counts of at least one, shares of a GPU's memory; all that is wrong at once."""
    assert reasons(engine, args) == expected


@pytest.mark.parametrize(
    ("engine", "args", "expected"),
    [
        pytest.param("vllm", {"max_model_len": 1024}, "max_model_len=1024 is below a mean request of the workload, 2048 tokens with its answer: set serving.max_model_len=2048 or more", id="vllm"),
        pytest.param("sglang", {"context_length": 1024}, "context_length=1024 is below a mean request", id="sglang"),
        pytest.param("tensorrt_llm", {"max_seq_len": 1024}, "max_seq_len=1024 is below a mean request", id="tensorrt_llm"),
        pytest.param("vllm", {"max_model_len": 2048}, "", id="just enough"),
    ],
)  # fmt: skip
def test_the_context_holds_a_mean_request(engine: str, args: dict[str, Any], expected: str) -> None:
    """Requests of 1,024 tokens and as many in the answer."""
    found = reasons(engine, args, workload=CHAT)
    assert bool(found) is bool(expected)
    assert expected in "; ".join(found)


def test_the_model_itself_may_be_too_short() -> None:
    """Without an argument its own context counts."""
    [reason] = reasons("vllm", {}, facts=replace(DENSE, max_model_len=1000), workload=CHAT)
    assert reason.startswith("the model's context of 1000 is below a mean request of the workload")


@pytest.mark.parametrize(
    ("args", "capability", "bad"),
    [
        pytest.param({"chunked_prefill_size": 1000}, 10.0, True, id="the default backend of Blackwell has pages of 64"),
        pytest.param({"chunked_prefill_size": 1000, "page_size": 1}, 10.0, True, id="whatever is asked for"),
        pytest.param({"chunked_prefill_size": 1024}, 10.0, False, id="a multiple"),
        pytest.param({"chunked_prefill_size": 1000}, 9.0, False, id="Hopper"),
        pytest.param({"chunked_prefill_size": 1000, "decode_attention_backend": "flashmla"}, 9.0, True, id="a backend for decoding"),
        pytest.param({"moe_a2a_backend": "deepep", "tp_size": 8}, 9.0, True, id="experts that are spread without a word"),
        pytest.param({"moe_a2a_backend": "deepep", "tp_size": 8, "ep_size": 8}, 9.0, False, id="as they are asked for"),
        pytest.param({"dcp_size": 2, "decode_attention_backend": "fa3"}, 9.0, True, id="a backend that knows no shared tokens"),
    ],
)  # fmt: skip
def test_what_sglang_sets_without_a_word(args: dict[str, Any], capability: float, bad: bool) -> None:  # noqa: FBT001
    """Pages of a backend, the spread of experts."""
    asked = setup(
        Config(deploy=DeployConfig(kind="process")), engine="sglang", inventory=gpus(capability=capability)
    )
    assert bool(argument_reasons(asked, args)) is bad


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        pytest.param({"enable_eplb": True}, ["runtime.args.enable_eplb: needs expert parallelism: set parallel.ep to the ranks of the layout"], id="EPLB alone"),
        pytest.param({"enable_eplb": True, "enable_expert_parallel": True}, [], id="EPLB with expert parallelism"),
        pytest.param({"kv_cache_dtype": "int8"}, ["runtime.args.kv_cache_dtype=int8: vLLM has no such type: set quant.kvcache_dtype=fp8"], id="no type"),
        pytest.param({"kv_cache_dtype": "float16"}, ["runtime.args.kv_cache_dtype=float16: must be the model's own type, bf16, or an FP8 one"], id="another than the model's"),
        pytest.param({"kv_cache_dtype": "float16", "dtype": "half"}, [], id="the model's as it is asked for"),
        pytest.param({"kv_cache_dtype": "turboquant_3bit_nc"}, [], id="a type without a field"),
    ],
)  # fmt: skip
def test_what_vllm_looks_at_late(args: dict[str, Any], expected: list[str]) -> None:
    """Its parser takes these, its configuration or a worker does not."""
    assert reasons("vllm", args) == expected


@pytest.mark.parametrize(
    ("engine", "args", "capability", "bad"),
    [
        pytest.param("vllm", {"attention_backend": "CUTLASS_MLA"}, 9.0, True, id="vllm: a Blackwell backend on Hopper"),
        pytest.param("vllm", {"attention_backend": "CUTLASS_MLA"}, 10.0, False, id="vllm: on Blackwell"),
        pytest.param("vllm", {"attention_backend": "FLASHMLA"}, 8.0, True, id="vllm: FlashMLA on an A100"),
        pytest.param("sglang", {"decode_attention_backend": "trtllm_mla"}, 9.0, True, id="sglang: for decoding"),
        pytest.param("sglang", {"kv_cache_dtype": "mxfp8"}, 9.0, True, id="sglang: a cache type"),
        pytest.param("sglang", {"attention_backend": "triton"}, 8.0, False, id="sglang: for every GPU"),
        pytest.param("sglang", {"attention_backend": "trtllm_mla"}, None, False, id="GPUs that are not known"),
    ],
)  # fmt: skip
def test_backends_that_a_user_names_have_floors(
    engine: str,
    args: dict[str, Any],
    capability: float | None,
    bad: bool,  # noqa: FBT001
) -> None:
    """Each kernel is for some compute capabilities."""
    config = Config(deploy=DeployConfig(kind="process"))
    asked = setup(config, engine=engine, facts=MLA, inventory=gpus(capability=capability))
    found = argument_reasons(asked, args)
    assert bool(found) is bad
    assert all("needs compute capability" in reason for reason in found)


def test_what_is_unknown_is_not_checked() -> None:
    """No length of the model, no bound."""
    unknown = ModelFacts(source="nowhere")
    assert reasons("vllm", {"max_model_len": 200000}, facts=unknown) == []
    assert (
        reasons("vllm", {"max_num_batched_tokens": 1, "enable_chunked_prefill": False}, facts=unknown) == []
    )


@pytest.mark.parametrize(
    ("value", "number"),
    [("32k", 32000), ("32K", 32768), ("25.6k", 25600), ("1.5K", None), (7, 7), ("auto", None), (-1, None), (True, None), (None, None)],
)  # fmt: skip
def test_counts_are_read_as_engines_do(value: Any, number: int | None) -> None:
    """Decimal and binary suffixes."""
    assert count(value) == number


@pytest.mark.parametrize(
    ("value", "number"), [("0.9", 0.9), (1, 1.0), ("half", None), (None, None), ([], None)]
)
def test_fractions_that_are_none_are_left_to_the_check(value: Any, number: float | None) -> None:
    """`arguments.check` tells what is wrong with them."""
    assert fraction(value) == number
