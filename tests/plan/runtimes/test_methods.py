"""Quantization methods of checkpoints, and what `runtime.args.quantization` may say beside them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autotune.plan.facts import ModelFacts, Stored
from autotune.records import Inventory
from tests.contracts.runtime import DENSE
from tests.plan.runtimes.asking import A100, AWQ, FP8, H100, UNREAD, ask


def stored(method: str) -> ModelFacts:
    """A dense model that is stored like that."""
    return replace(DENSE, stored=Stored(method=method, gemm_dtype="w4a16"))


def reasons(engine: str, facts: ModelFacts, inventory: Inventory = H100, **args: Any) -> tuple[str, ...]:
    """Why the engine would not start."""
    return ask(engine, facts=facts, inventory=inventory, **args).reasons


@pytest.mark.parametrize(
    ("engine", "method", "expected"),
    [
        pytest.param("vllm", "bitsandbytes", "the checkpoint's method is bitsandbytes, which vLLM does not load: it needs the plugin vllm-bnb-plugin: choose another checkpoint", id="vllm: bitsandbytes"),
        pytest.param("vllm", "gguf", "it needs the plugin vllm-gguf-plugin", id="vllm: GGUF"),
        pytest.param("vllm", "w4afp8", "which vLLM does not load", id="vllm: W4AFP8 of SGLang"),
        pytest.param("vllm", "compresed-tensors", "did you mean model.stored.method=compressed-tensors?", id="vllm: misspelt"),
        pytest.param("vllm", "fbgemm_fp8", "it needs an older vLLM, because it is deprecated", id="vllm: deprecated"),
        pytest.param("vllm", "awq", "", id="vllm: AWQ"),
        pytest.param("vllm", "auto-round", "", id="vllm: AutoRound"),
        pytest.param("sglang", "banana", "the checkpoint's method is banana, which SGLang does not load: it loads auto-round, ", id="sglang: nonsense"),
        pytest.param("sglang", "bitsandbytes", "", id="sglang: bitsandbytes"),
        pytest.param("sglang", "gguf", "", id="sglang: GGUF"),
        pytest.param("sglang", "w4afp8", "", id="sglang: W4AFP8"),
    ],
)  # fmt: skip
def test_a_checkpoint_is_one_that_the_engine_loads(engine: str, method: str, expected: str) -> None:
    """A method that it does not load is told before a GPU is touched, and what would load it."""
    found = reasons(engine, stored(method))
    assert bool(found) is bool(expected)
    assert expected in "; ".join(found)


@pytest.mark.parametrize(
    ("engine", "facts", "asked", "expected"),
    [
        pytest.param("vllm", DENSE, "foo", "runtime.args.quantization=foo: vLLM has no such method: it knows ", id="no method"),
        pytest.param("vllm", DENSE, "fp8_per_tensr", "did you mean fp8_per_tensor?", id="misspelt"),
        pytest.param("vllm", DENSE, "fp8", "the checkpoint is not quantized; while loading vLLM can make fp8_per_tensor, ", id="for checkpoints only"),
        pytest.param("vllm", AWQ, "fp8_per_tensor", "the checkpoint is already awq: unset it", id="another than the checkpoint's"),
        pytest.param("vllm", AWQ, "awq", "", id="the checkpoint's"),
        pytest.param("vllm", AWQ, "awq_marlin", "", id="vllm: an alias of it"),
        pytest.param("vllm", FP8, "fp8_per_tensor", "the checkpoint is already fp8: unset it", id="a method while loading, of FP8 weights"),
        pytest.param("vllm", AWQ, "humming", "", id="a method for all checkpoints"),
        pytest.param("vllm", DENSE, "torchao", "the checkpoint is not quantized", id="a method that needs a checkpoint"),
        pytest.param("vllm", DENSE, "fp8_per_block", "", id="while loading"),
        pytest.param("vllm", UNREAD, "awq", "", id="a checkpoint that cannot be read"),
        pytest.param("sglang", AWQ, "awq_marlin", "", id="sglang: a kernel for it"),
        pytest.param("sglang", FP8, "mxfp8", "the checkpoint is already fp8: unset it", id="sglang: another"),
        pytest.param("sglang", FP8, "modelopt_fp4", "", id="sglang: tolerated beside FP8"),
        pytest.param("sglang", DENSE, "mxfp8", "needs compute capability 10.0 or newer; H100 has 9.0", id="sglang: too old"),
    ],
)  # fmt: skip
def test_an_explicit_method_is_one_that_the_engine_takes(
    engine: str, facts: ModelFacts, asked: str, expected: str
) -> None:
    """By name, beside what the checkpoint stores, and on these GPUs."""
    found = reasons(engine, facts, quantization=asked)
    assert bool(found) is bool(expected)
    assert expected in "; ".join(found)


def test_an_explicit_method_has_the_floor_of_its_format() -> None:
    """An A100 unpacks FP8 weights: what would be measured is not what was asked for."""
    [reason] = reasons("vllm", DENSE, A100, quantization="fp8_per_tensor")
    assert (
        reason
        == "runtime.args.quantization=fp8_per_tensor: needs compute capability 8.9 or newer; A100 has 8.0"
    )
