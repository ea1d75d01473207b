"""What the simulated engine reads from a command line, and what it refuses, in the engine's words."""

from __future__ import annotations

from typing import Any

import pytest

from autotune.deploy.simulated.arguments import UsageError
from autotune.deploy.simulated.engine import EngineRefusal, create_engine
from autotune.failures import classify
from tests.deploy.simulated.facts import command, specification


def started(engine: str, *words: str, **model: int) -> Any:
    """The engine that this command starts."""
    return create_engine(command(engine, *words), specification(engine, **model))


def test_vllm_defaults() -> None:
    """On 80 GiB: 1024 sequences, 8192 tokens a step, caching and chunking on."""
    arguments = started("vllm").arguments
    got = (
        arguments.max_sequences,
        arguments.max_step_tokens,
        arguments.prefix_caching,
        arguments.chunked_prefill,
    )
    assert got == (1024, 8192, True, True)
    assert (arguments.model, arguments.served_name, arguments.port) == ("m", "m", 8000)


def test_sglang_defaults() -> None:
    """On 80 GiB chunks of 8192."""
    arguments = started("sglang").arguments
    assert (arguments.max_step_tokens, arguments.prefix_caching, arguments.metrics) == (8192, True, False)


@pytest.mark.parametrize(
    ("engine", "words", "field", "expected"),
    [
        ("vllm", ["--tensor-parallel-size", "2"], "tp", 2),
        ("vllm", ["--tensor-parallel-size=2"], "tp", 2),
        ("vllm", ["-tp", "4"], "tp", 4),
        ("vllm", ["--data-parallel-size", "2"], "replicas", 2),
        ("vllm", ["--max-num-seqs", "7"], "max_sequences", 7),
        ("vllm", ["--no-enable-prefix-caching"], "prefix_caching", False),
        ("vllm", ["--disable-prefix-caching"], "prefix_caching", False),
        ("vllm", ["--enable-prefix-caching"], "prefix_caching", True),
        ("vllm", ["--served-model-name", "name"], "served_name", "name"),
        ("vllm", ["--kv-cache-dtype", "fp8"], "kv_dtype", "fp8"),
        ("sglang", ["--tp-size", "2"], "tp", 2),
        ("sglang", ["--tensor-parallel-size", "2"], "tp", 2),
        ("sglang", ["--disable-radix-cache"], "prefix_caching", False),
        ("sglang", ["--chunked-prefill-size", "-1"], "chunked_prefill", False),
        ("sglang", ["--enable-metrics"], "metrics", True),
        ("sglang", ["--max-running-requests", "3"], "max_sequences", 3),
    ],
)
def test_flags(engine: str, words: list[str], field: str, expected: object) -> None:
    """Each spelling reaches its meaning."""
    assert getattr(started(engine, *words).arguments, field) == expected


@pytest.mark.parametrize(
    ("engine", "words", "message"),
    [
        ("vllm", ["--swap-space", "4"], "vllm: error: unrecognized arguments: --swap-space"),
        ("vllm", ["--tp", "4"], "unrecognized arguments: --tp"),
        ("vllm", ["--tp-size", "4"], "unrecognized arguments: --tp-size"),
        ("sglang", ["--max-num-seqs", "4"], "unrecognized arguments: --max-num-seqs"),
        ("sglang", ["--kv-cache-dtype", "fp8"], "invalid choice: 'fp8' (choose from "),
        ("vllm", ["--enable-prefix-caching=yes"], "ignored explicit argument 'yes'"),
        ("vllm", ["--max-num-seqs"], "expected one argument"),
        ("vllm", ["--max-num-seqs", "many"], "invalid int value: 'many'"),
    ],
)
def test_the_parser_refuses(engine: str, words: list[str], message: str) -> None:
    """Unknown flags, other engines' flags, abbreviations and wrong choices end as with the engine."""
    with pytest.raises(UsageError) as caught:
        started(engine, *words)
    assert message in str(caught.value)
    assert classify(str(caught.value), 2).kind == "bad_arguments"


@pytest.mark.parametrize(
    ("engine", "words", "model", "message", "kind"),
    [
        ("vllm", ["--tensor-parallel-size", "3"], {}, "attention heads (32) must be divisible by tensor parallel size (3)", "layout_invalid"),
        ("vllm", ["--tensor-parallel-size", "2"], {"intermediate_size": 13}, "13 is not divisible by 2", "layout_invalid"),
        ("vllm", ["--tensor-parallel-size", "16"], {}, "World size (16) is larger than the number of available GPUs (8)", "layout_invalid"),
        ("vllm", ["-tp", "4", "-dp", "4"], {}, "invalid device ordinal", "layout_invalid"),
        ("vllm", ["-tp", "8", "-dcp", "2"], {}, "Decode context parallelism for GQA/MQA requires", "layout_invalid"),
        ("vllm", ["-tp", "4", "-dcp", "3"], {}, "must be divisible by dcp_size=3", "layout_invalid"),
        ("vllm", ["--enable-expert-parallel"], {}, "Number of experts in the model must be greater than 0", "layout_invalid"),
        ("vllm", ["--max-num-seqs", "128", "--max-num-batched-tokens", "64"], {}, "max_num_batched_tokens (64) must be greater than or equal to max_num_seqs (128)", "bad_arguments"),
        ("vllm", ["--no-enable-chunked-prefill"], {}, "max_num_batched_tokens (8192) is smaller than max_model_len (131072)", "bad_arguments"),
        ("vllm", ["--max-model-len", "200000"], {}, "User-specified max_model_len (200000) is greater than the derived", "context_too_long"),
        ("vllm", ["--quantization", "fp8"], {}, "no longer supports online quantization", "quantization_unsupported"),
        ("vllm", ["--kv-cache-dtype", "float16"], {}, "is incompatible with dtype", "bad_arguments"),
        ("vllm", [], {"params": 70_000_000_000}, "CUDA out of memory", "cuda_oom"),
        ("vllm", [], {"params": 40_000_000_000}, "No available memory for the cache blocks", "kv_cache_too_small"),
        ("vllm", [], {"params": 32_000_000_000}, "To serve at least one request with the model's max seq len (131072)", "kv_cache_too_small"),
        ("sglang", ["--tp-size", "3"], {}, "AssertionError", "engine_died"),
        ("sglang", ["--tp-size", "4", "--attn-dp-size", "3"], {}, "tp_size must be divisible by attn_dp_size", "layout_invalid"),
        ("sglang", ["--tp-size", "4", "--attn-dp-size", "2", "--dp-size", "2"], {}, "cannot both be larger than 1", "layout_invalid"),
        ("sglang", ["--tp-size", "4", "--dcp-size", "3"], {}, "tensor_model_parallel_size (4) must be divisible by", "layout_invalid"),
        ("sglang", ["--tp-size", "8", "--dp-size", "2"], {}, "invalid device ordinal", "layout_invalid"),
        ("sglang", ["--context-length", "200000"], {}, "context_length (200000) is greater than the derived", "context_too_long"),
        ("sglang", [], {"params": 70_000_000_000}, "CUDA out of memory", "cuda_oom"),
        ("sglang", [], {"params": 40_000_000_000}, "Loaded weights leave no GPU memory for the KV cache", "kv_cache_too_small"),
    ],
)  # fmt: skip
def test_the_engine_refuses_what_cannot_be(
    engine: str, words: list[str], model: dict[str, int], message: str, kind: str
) -> None:
    """Every row of the table of refusals, in words that are classified like the engine's own."""
    with pytest.raises(EngineRefusal) as caught:
        started(engine, *words, **model)
    assert message in str(caught.value)
    assert classify(str(caught.value), 1).kind == kind


def test_the_capacity_follows_the_command() -> None:
    """FP8 KV cache holds twice the tokens; FP8 weights leave more room."""
    plain, kv = started("vllm").kv_tokens, started("vllm", "--kv-cache-dtype", "fp8").kv_tokens
    assert kv == pytest.approx(2 * plain, abs=2)
    assert started("vllm", "--quantization", "fp8_per_tensor").kv_tokens > plain
