"""What the engines refuse although their parsers accept it: every row of the tables, in their words."""

from __future__ import annotations

from typing import Any

import pytest

from autotune.deploy.simulated.engine import Engine, EngineRefusal, create_engine
from autotune.deploy.simulated.refusals import rules_of
from autotune.failures import Evidence, classify
from tests.deploy.simulated.facts import GPU, command, specification

OOM = {"params": 70_000_000_000}
FULL = {"params": 40_000_000_000}
CASES: list[tuple[str, str, dict[str, int], str, str]] = [
    ("vllm", "-tp 0", {}, "Input should be greater than or equal to 1", "bad_arguments"),
    ("vllm", "--gpu-memory-utilization 1.5", {}, "Input should be greater than 0 and less than", "bad_arguments"),
    ("vllm", "-q w4afp8", {}, "Unknown quantization method: w4afp8. Must be one of", "quantization_unsupported"),
    ("vllm", "--kv-cache-dtype int8", {}, "Invalid kv_cache_dtype: 'int8'", "quantization_unsupported"),
    ("vllm", "--kv-cache-dtype float16", {}, 'kv_cache_dtype="float16" is incompatible with dtype="bfloat16"', "bad_arguments"),
    ("vllm", "--max-model-len 200000", {}, "User-specified max_model_len (200000) is greater than the derived", "context_too_long"),
    ("vllm", "-tp 16", {}, "World size (16) is larger than the number of available GPUs (8) in this node", "layout_invalid"),
    ("vllm", "-tp 4 -pcp 4", {}, "World size (16) is larger than the number of available GPUs (8)", "layout_invalid"),
    ("vllm", "-tp 4 -dcp 3", {}, "tp_size=4 must be divisible by dcp_size=3", "layout_invalid"),
    ("vllm", "-pcp 2", {}, "Model Runner V1 does not support: prefill context parallel", "layout_invalid"),
    ("vllm", "--max-num-seqs 128 --max-num-batched-tokens 64", {}, "max_num_batched_tokens (64) must be greater than or equal to max_num_seqs (128).", "bad_arguments"),
    ("vllm", "--no-enable-chunked-prefill", {}, "max_num_batched_tokens (8192) is smaller than max_model_len (131072)", "bad_arguments"),
    ("vllm", "-tp 3", {}, "Total number of attention heads (32) must be divisible by tensor parallel size (3).", "layout_invalid"),
    ("vllm", "--enable-expert-parallel", {}, "Number of experts in the model must be greater than 0", "layout_invalid"),
    ("vllm", "-tp 8 -dcp 2", {}, "Decode context parallelism for GQA/MQA requires", "layout_invalid"),
    ("vllm", "-tp 8 -dcp 4", {"kv_heads": 4}, "Decode context parallelism for GQA/MQA requires", "layout_invalid"),
    ("vllm", "-q awq", {}, "Cannot find the config file for awq", "quantization_unsupported"),
    ("vllm", "-q fp8", {}, "no longer supports online quantization. Please use `--quantization fp8_per_tensor`", "quantization_unsupported"),
    ("vllm", "-tp 4 -dp 4", {}, "CUDA error: invalid device ordinal", "layout_invalid"),
    ("vllm", "-tp 4", {"kv_heads": 6}, "AssertionError: 6 is not divisible by 4", "layout_invalid"),
    ("vllm", "-tp 8", {"kv_heads": 3}, "AssertionError: 8 is not divisible by 3", "layout_invalid"),
    ("vllm", "-tp 2", {"intermediate_size": 13}, "13 is not divisible by 2", "layout_invalid"),
    ("vllm", "-pp 2", {"layers": 1}, "1 layers cannot be split into 2 pipeline stages", "engine_died"),
    ("vllm", "", OOM, "CUDA out of memory. Tried to allocate 130.39 GiB", "cuda_oom"),
    ("vllm", "", FULL, "No available memory for the cache blocks", "kv_cache_too_small"),
    ("vllm", "", {"params": 32_000_000_000}, "To serve at least one request with the model's max seq len (131072), (16.00 GiB KV cache", "kv_cache_too_small"),
    ("vllm", "-q nvfp4_per_token", {}, "Minimum capability: 100. Current capability: 90.", "quantization_unsupported"),
    ("vllm", "-q torchao", {}, "the simulated engine has no cost model for --quantization torchao", "engine_died"),
    ("vllm", "--kv-cache-dtype turboquant_4bit_nc", {}, "has no cost model for --kv-cache-dtype turboquant_4bit_nc", "engine_died"),
    ("vllm", "--dtype float32", {}, "has no cost model for --dtype float32", "engine_died"),
    ("sglang", "--tp-size 0", {}, "AssertionError", "engine_died"),
    ("sglang", "--tp-size 4 --attn-dp-size 2 --dp-size 2", {}, "cannot both be larger than 1", "layout_invalid"),
    ("sglang", "--tp-size 4 --attn-dp-size 3", {}, "tp_size must be divisible by attn_dp_size", "layout_invalid"),
    ("sglang", "--context-length 200000", {}, "context_length (200000) is greater than the derived", "context_too_long"),
    ("sglang", "--tp-size 8 --dp-size 2", {}, "invalid device ordinal", "layout_invalid"),
    ("sglang", "--tp-size 4 --dcp-size 3", {}, "tensor_model_parallel_size (4) must be divisible by", "layout_invalid"),
    ("sglang", "--quantization w4afp8", {}, "Cannot find the config file for w4afp8", "quantization_unsupported"),
    ("sglang", "--kv-cache-dtype nvfp4", {}, "--kv-cache-dtype=nvfp4 requires Blackwell", "quantization_unsupported"),
    ("sglang", "--kv-cache-dtype mxfp8", {}, "mxfp8 requires an SM100", "quantization_unsupported"),
    ("sglang", "--tp-size 3", {}, "AssertionError", "engine_died"),
    ("sglang", "--tp-size 2", {"intermediate_size": 13}, "13 is not divisible by 2", "layout_invalid"),
    ("sglang", "--pp-size 2", {"layers": 1}, "1 layers cannot be split into 2 pipeline stages", "engine_died"),
    ("sglang", "--quantization mxfp8", {}, "Minimum capability: 100. Current capability: 90.", "quantization_unsupported"),
    ("sglang", "--quantization humming", {}, "has no cost model for --quantization humming", "engine_died"),
    ("sglang", "--kv-cache-dtype fp4_mx_block16", {}, "has no cost model for --kv-cache-dtype fp4_mx_block16", "engine_died"),
    ("sglang", "--dtype float", {}, "has no cost model for --dtype float", "engine_died"),
    ("sglang", "", OOM, "CUDA out of memory", "cuda_oom"),
    ("sglang", "--mem-fraction-static 1.5", {}, "CUDA out of memory", "cuda_oom"),
    ("sglang", "", FULL, "Loaded weights leave no GPU memory for the KV cache", "kv_cache_too_small"),
]  # fmt: skip


def refused(engine: str, words: str, model: dict[str, int], **gpu: Any) -> EngineRefusal:
    """What the engine says to this command."""
    facts = {**specification(engine, **model), "gpu": {**GPU, **gpu}}
    with pytest.raises(EngineRefusal) as caught:
        create_engine(command(engine, *words.split()), facts)
    return caught.value


def started(engine: str, words: str = "", **gpu: Any) -> Engine:
    """The engine that this command starts."""
    facts = {**specification(engine), "gpu": {**GPU, **gpu}}
    return create_engine(command(engine, *words.split()), facts)


@pytest.mark.parametrize(
    ("engine", "words", "model", "message", "kind"),
    CASES,
    ids=[f"{case[0]} {case[1]} {case[2]}" for case in CASES],
)
def test_the_engine_refuses_what_cannot_be(
    engine: str, words: str, model: dict[str, int], message: str, kind: str
) -> None:
    """In words that are found in the log among the words that say nothing."""
    error = refused(engine, words, model)
    assert message in str(error)
    assert str(error) in error.log
    assert classify(Evidence(log=error.log, exit_code=1, runtime=engine)).kind == kind


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_every_row_is_provoked(engine: str) -> None:
    """A row that no command reaches is no rule; and each names its source."""
    provoked = {refused(*case[:3]).rule for case in CASES if case[0] == engine}
    assert [rule.words for rule in rules_of(engine) if rule not in provoked] == []
    assert all(rule.source for rule in rules_of(engine))


def test_a_refused_configuration_ends_with_its_cause() -> None:
    """As in the recorded log of vLLM 0.32.0: no engine core was started."""
    log = refused("vllm", "-tp 3", {}).log
    assert log.startswith("Traceback (most recent call last):")
    assert "ValidationError: 1 validation error for VllmConfig\n  Value error, Total number" in log
    assert log.splitlines()[-1].startswith("    For further information visit https://errors.pydantic.dev/")
    assert "Engine core" not in log


def test_a_dead_engine_core_ends_with_words_that_say_nothing() -> None:
    """The cause is earlier in the log."""
    log = refused("vllm", "", FULL).log
    assert log.splitlines()[-1] == (
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
    )
    assert (
        refused("sglang", "", FULL).log.splitlines()[-1].startswith("Received sigquit from a child process.")
    )


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("vllm", "-tp 8"),
        ("vllm", "-tp 4 -dp 2"),
        ("vllm", "-tp 2 -pp 2"),
        ("vllm", "--kv-cache-dtype bfloat16"),
        ("vllm", "--dtype float16 --kv-cache-dtype float16"),
        ("vllm", "--no-enable-chunked-prefill --max-model-len 8192"),
        ("sglang", "--tp-size 2 --dp-size 4"),
        ("sglang", "--tp-size 8 --attn-dp-size 8"),
        ("sglang", "--tp-size 8 --ep-size 8"),
    ],
)
def test_the_engine_starts_where_no_rule_holds(engine: str, words: str) -> None:
    """Neighbours of what is refused."""
    assert started(engine, words).kv_tokens > 0


def test_more_ranks_than_kv_heads_repeat_them() -> None:
    """16 ranks share 8 KV heads; 16 GPUs are there."""
    facts = specification("vllm", gpus=16)
    assert create_engine(command("vllm", "-tp", "16"), facts).kv_tokens > 0


def test_a_context_that_fits_is_chosen_by_itself() -> None:
    """`--max-model-len auto` where the model's own would be refused; SGLang always sizes the pool."""
    engine = create_engine(
        command("vllm", "--max-model-len", "auto"), specification("vllm", params=32_000_000_000)
    )
    assert engine.max_model_len == engine.kv_tokens < 131_072


def test_the_gpu_decides_on_formats() -> None:
    """MXFP8 by SGLang wants SM100; an inventory that does not tell its capability refuses nothing."""
    assert started("sglang", "--quantization mxfp8", compute_capability=10.0).kv_tokens > 0
    assert started("sglang", "--quantization mxfp8", compute_capability=None).kv_tokens > 0


def test_the_capacity_follows_the_command() -> None:
    """FP8 KV cache holds twice the tokens; FP8 weights leave more room."""
    plain, kv = started("vllm").kv_tokens, started("vllm", "--kv-cache-dtype fp8").kv_tokens
    assert kv == pytest.approx(2 * plain, abs=2)
    assert started("vllm", "--quantization fp8_per_tensor").kv_tokens > plain
