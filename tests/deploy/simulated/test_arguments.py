"""What the simulated engine reads from a command line, and what its parser refuses."""

from __future__ import annotations

from typing import Any

import pytest

from autotune.deploy.simulated.command_line import UsageError, human_int
from autotune.deploy.simulated.engine import create_engine
from autotune.failures import Evidence, classify
from tests.deploy.simulated.facts import GPU, command, specification


def arguments(engine: str, *words: str, **gpu: Any) -> Any:
    """What this command asks for on H100s, or on another GPU."""
    facts = specification(engine)
    facts["gpu_model"] = gpu.pop("model", "H100")
    return create_engine(command(engine, *words), {**facts, "gpu": {**GPU, **gpu}}).arguments


def test_vllm_defaults() -> None:
    """On 80 GiB: 1024 sequences, 8192 tokens a step, caching and chunking on, 0.92 of the memory."""
    got = arguments("vllm")
    assert (got.max_sequences, got.max_step_tokens) == (1024, 8192)
    assert (got.prefix_caching, got.chunked_prefill, got.memory_fraction) == (True, True, 0.92)
    assert (got.model, got.served_name, got.port) == ("m", "m", 8000)


@pytest.mark.parametrize(
    ("model", "memory_gib", "expected"),
    [("A100", 80, (256, 2048)), ("L40S", 48, (256, 2048)), ("B200", 180, (1024, 16384))],
)
def test_vllm_defaults_follow_the_gpu(model: str, memory_gib: float, expected: tuple[int, int]) -> None:
    """Source: vLLM 0.33.0 engine/arg_utils.py:2940-3006."""
    got = arguments("vllm", "--max-model-len", "1000", model=model, memory_gib=memory_gib)
    assert (got.max_sequences, got.max_step_tokens) == expected


@pytest.mark.parametrize(("memory_gib", "chunk"), [(24, 4096), (48, 4096), (80, 8192), (180, 16384)])
def test_sglang_chunks_follow_the_memory(memory_gib: float, chunk: int) -> None:
    """Source: SGLang 0.5.23 arg_groups/memory_hook.py."""
    got = arguments("sglang", memory_gib=memory_gib)
    assert (got.max_step_tokens, got.prefix_caching, got.metrics) == (chunk, True, False)


@pytest.mark.parametrize(
    ("engine", "words", "field", "expected"),
    [
        ("vllm", ["--tensor-parallel-size", "2"], "tp", 2),
        ("vllm", ["--tensor-parallel-size=2"], "tp", 2),
        ("vllm", ["--tensor_parallel_size=2"], "tp", 2),
        ("vllm", ["-tp", "4"], "tp", 4),
        ("vllm", ["-tp", "4", "-tp", "2"], "tp", 2),
        ("vllm", ["--data-parallel-size", "2"], "replicas", 2),
        ("vllm", ["--max-num-seqs", "7"], "max_sequences", 7),
        ("vllm", ["--max-num-batched-tokens", "16k"], "max_step_tokens", 16_000),
        ("vllm", ["--max-model-len", "16K"], "max_model_len", 16_384),
        ("vllm", ["--max-model-len", "auto"], "fit_model_len", True),
        ("vllm", ["--max-model-len", "-1"], "max_model_len", None),
        ("vllm", ["--no-enable-prefix-caching"], "prefix_caching", False),
        ("vllm", ["--disable-prefix-caching"], "prefix_caching", False),
        ("vllm", ["--enable-prefix-caching"], "prefix_caching", True),
        ("vllm", ["--served-model-name", "name", "alias"], "served_name", "name"),
        ("vllm", ["--kv-cache-dtype", "fp8"], "kv_dtype", "fp8"),
        ("vllm", ["--device-memory-utilization", "0.5"], "memory_fraction", 0.5),
        ("sglang", ["--tp-size", "2"], "tp", 2),
        ("sglang", ["--tensor-parallel-size", "2"], "tp", 2),
        ("sglang", ["--disable-radix-cache"], "prefix_caching", False),
        ("sglang", ["--chunked-prefill-size", "-1"], "chunked_prefill", False),
        ("sglang", ["--chunked-prefill-size", "-1"], "max_step_tokens", 16384),
        ("sglang", ["--enable-metrics"], "metrics", True),
        ("sglang", ["--max-running-requests", "3"], "max_sequences", 3),
        ("sglang", ["--dp-size", "2"], "replicas", 2),
        ("sglang", ["--tp-size", "4", "--attn-dp-size", "2"], "attention_dp", 2),
        ("sglang", ["--tp-size", "4", "--dp-size", "4", "--enable-dp-attention"], "attention_dp", 4),
        ("sglang", ["--tp-size", "4", "--dp-size", "4", "--enable-dp-attention"], "replicas", 1),
    ],
)
def test_flags(engine: str, words: list[str], field: str, expected: object) -> None:
    """Each spelling reaches its meaning."""
    assert getattr(arguments(engine, *words), field) == expected


@pytest.mark.parametrize(
    ("engine", "words", "expected"),
    [
        ("vllm", ["-tp", "2", "--max-num-seqs", "8"], ()),
        ("vllm", ["--block-size", "32", "-O3"], ("--block-size", "--optimization-level")),
        ("vllm", ["--compilation-config.cudagraph_mode", "NONE"], ("--compilation-config",)),
        (
            "sglang",
            ["--page-size", "16", "--tp-size", "2", "--attn-dp-size", "2"],
            ("--attn-dp-size", "--page-size"),
        ),
    ],
)
def test_flags_without_effect_are_told(engine: str, words: list[str], expected: tuple[str, ...]) -> None:
    """A search over them would find a plain, so the log says so."""
    assert arguments(engine, *words).without_effect == expected


def test_sglangs_other_command() -> None:
    """`python -m sglang.launch_server` takes the same flags."""
    words = ["python", "-m", "sglang.launch_server", "--model-path", "m", "--tp-size", "2"]
    assert create_engine(words, specification("sglang")).arguments.tp == 2


@pytest.mark.parametrize(
    ("engine", "words", "message"),
    [
        ("vllm", ["--swap-space", "4"], "vllm: error: unrecognized arguments: --swap-space 4"),
        ("vllm", ["--tp", "4"], "vllm: error: unrecognized arguments: --tp 4"),
        ("vllm", ["--tp-size", "4"], "vllm: error: unrecognized arguments: --tp-size 4"),
        ("vllm", ["--tensor-parallel", "4"], "vllm: error: unrecognized arguments: --tensor-parallel 4"),
        ("vllm", ["word"], "vllm: error: unrecognized arguments: word"),
        ("vllm", ["--block-size.x", "4"], "vllm: error: unrecognized arguments: --block-size.x 4"),
        ("vllm", ["--enable-prefix-caching=yes"], "ignored explicit argument 'yes'"),
        ("vllm", ["--max-num-seqs"], "vllm serve: error: argument --max-num-seqs: expected one argument"),
        ("vllm", ["--max-num-seqs", "-tp", "2"], "argument --max-num-seqs: expected one argument"),
        ("vllm", ["--served-model-name"], "expected at least one argument"),
        (
            "vllm",
            ["--max-num-seqs", "many"],
            "vllm serve: error: argument --max-num-seqs: invalid int value: 'many'",
        ),
        ("vllm", ["--gpu-memory-utilization", "most"], "invalid float value: 'most'"),
        ("vllm", ["--max-num-batched-tokens", "1.5K"], "invalid human_readable_int value: '1.5K'"),
        ("vllm", ["--max-num-batched-tokens", "auto"], "invalid human_readable_int value: 'auto'"),
        ("vllm", ["--block-size", "big"], "argument --block-size: invalid"),
        ("sglang", ["--max-num-seqs", "4"], "sglang serve: error: unrecognized arguments: --max-num-seqs 4"),
        ("sglang", ["--max_running_requests", "4"], "unrecognized arguments: --max_running_requests 4"),
        ("sglang", ["--tp", "4"], "unrecognized arguments: --tp 4"),
        ("sglang", ["--kv-cache-dtype", "fp8"], "invalid choice: 'fp8' (choose from 'auto'"),
        ("sglang", ["--quantization", "fp8_per_tensor"], "invalid choice: 'fp8_per_tensor'"),
        ("sglang", ["--tp-size", "two"], "invalid int value: 'two'"),
    ],
)
def test_the_parser_refuses(engine: str, words: list[str], message: str) -> None:
    """Unknown flags, other engines' flags, abbreviations and wrong values end as with the engine."""
    with pytest.raises(UsageError) as caught:
        arguments(engine, *words)
    assert message in str(caught.value)
    assert classify(Evidence(log=str(caught.value), exit_code=2, runtime=engine)).kind == "bad_arguments"


@pytest.mark.parametrize("argv", [["vllm", "bench", "m"], ["trtllm-serve", "m"]])
@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_another_program_is_refused(engine: str, argv: list[str]) -> None:
    """The stand-in is one engine, not any."""
    with pytest.raises(UsageError, match="error: expected"):
        create_engine(argv, specification(engine))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5", 5), ("-1", -1), ("1k", 1000), ("1K", 1024), ("25.6k", 25_600), ("2M", 2 * 2**20), ("1t", 10**12)],
)
def test_human_integers(text: str, expected: int) -> None:
    """Decimal for small letters, binary for capitals."""
    assert human_int(text) == expected
