"""What an engine does not take is told with what to set instead."""

from __future__ import annotations

from typing import Any

import pytest

from autotune.plan.arguments import ELSEWHERE, check, is_whole
from autotune.plan.runtimes.flags import known_versions, load_flags
from autotune.schema import ParallelConfig, ServingConfig


def problem(engine: str, version: str, name: str, value: Any = 1) -> str:
    """What is wrong with one argument, or nothing."""
    return "; ".join(check({name: value}, load_flags(engine, version)))


@pytest.mark.parametrize(
    ("engine", "version", "name", "expected"),
    [
        pytest.param("vllm", "0.33.0", "tp", "has no such argument; set parallel.tp, which every engine has", id="field of parallel"),
        pytest.param("vllm", "0.33.0", "tp_size", "set parallel.tp,", id="SGLang's tp"),
        pytest.param("vllm", "0.33.0", "pp-size", "set parallel.pp,", id="with a dash"),
        pytest.param("sglang", "0.5.23", "enable_expert_parallel", "set parallel.ep,", id="vLLM's ep"),
        pytest.param("tensorrt_llm", "1.2.1", "data_parallel_size", "no such argument or option; set parallel.dp,", id="vLLM's dp"),
        pytest.param("sglang", "0.5.23", "max_num_seqs", "set serving.max_running_requests,", id="vLLM's requests"),
        pytest.param("vllm", "0.33.0", "max_running_requests", "set serving.max_running_requests,", id="SGLang's requests"),
        pytest.param("vllm", "0.33.0", "max_batch_size", "set serving.max_running_requests,", id="TensorRT-LLM's requests"),
        pytest.param("vllm", "0.33.0", "chunked_prefill_size", "set serving.max_batched_tokens,", id="SGLang's tokens"),
        pytest.param("vllm", "0.33.0", "context_length", "set serving.max_model_len,", id="SGLang's context"),
        pytest.param("sglang", "0.5.23", "enable_prefix_caching", "set serving.prefix_caching,", id="vLLM's prefix cache"),
        pytest.param("sglang", "0.5.23", "enable_chunked_prefill", "set serving.chunked_prefill,", id="vLLM's chunks"),
        pytest.param("vllm", "0.32.0", "watchdog_config", "vllm 0.32.0 has no such argument; vllm 0.33.0 has it: set runtime.version", id="newer argument"),
        pytest.param("vllm", "0.33.0", "max_num_sqs", "did you mean max_num_seqs?", id="misspelt"),
    ],
)  # fmt: skip
def test_an_unknown_argument_comes_with_what_was_meant(
    engine: str, version: str, name: str, expected: str
) -> None:
    """A key of ours, another version, or a name like it."""
    assert expected in problem(engine, version, name)


@pytest.mark.parametrize("name", ["q", "tq", "dpx", "a", "pa"])
def test_short_spellings_are_never_suggested(name: str) -> None:
    """`-tp` is no argument called p."""
    assert problem("vllm", "0.33.0", name).endswith("has no such argument")


def test_instead_of_a_knob_only_keys_that_exist_are_named() -> None:
    """All of `parallel` and `serving`, so that none is forgotten."""
    parallel = {f"parallel.{name}" for name in vars(ParallelConfig())}
    assert set(ELSEWHERE) == parallel | {f"serving.{name}" for name in vars(ServingConfig())}
    names = [name for several in ELSEWHERE.values() for name in several]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        pytest.param("max_num_seqs", 16.5, "expected a whole number; for a range give int(interval(...))", id="fraction"),
        pytest.param("max_model_len", 639.3, "expected a whole number; for a range give int(interval(...))", id="fraction of 16k"),
        pytest.param("max_num_seqs", "many", "runtime.args.max_num_seqs=many: expected a whole number", id="text"),
        pytest.param("gpu_memory_utilization", float("nan"), "expected a number", id="not a number"),
        pytest.param("max_model_len", "16k", "", id="16k"),
        pytest.param("max_num_seqs", 16, "", id="whole"),
        pytest.param("gpu_memory_utilization", 0.9, "", id="fraction where it may be one"),
    ],
)  # fmt: skip
def test_numbers_are_those_that_the_engine_takes(name: str, value: Any, expected: str) -> None:
    """A fraction is what a range without int(...) draws."""
    found = problem("vllm", "0.33.0", name, value)
    assert expected in found
    assert bool(found) is bool(expected)


@pytest.mark.parametrize(
    ("name", "whole"),
    [("max_num_seqs", True), ("max_model_len", True), ("gpu_memory_utilization", False), ("nope", False)],
)
def test_which_arguments_take_whole_numbers_only(name: str, *, whole: bool) -> None:
    """By the flag list."""
    assert is_whole(name, load_flags("vllm", known_versions("vllm")[-1])) is whole
