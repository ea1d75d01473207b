"""The keys of the schema: which there are, what they take, and how a wrong value is told."""

from __future__ import annotations

from typing import Any

import pytest

from autotune.keys import hint_of, schema_keys, takes, value_type_problems, written

DOTTED = "scheduler_config.policy"  # one name, of TensorRT-LLM's options file


def test_every_key_says_what_it_takes() -> None:
    """A type without words would be a traceback for whoever gets it wrong."""
    assert all(takes(key) for key in schema_keys())


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        pytest.param("parallel.tp", "two", "parallel.tp=two: expected a whole number", id="text for a number"),
        pytest.param("parallel.tp", 1.5, "parallel.tp=1.5: expected a whole number", id="fraction"),
        pytest.param("parallel.tp", True, "parallel.tp=true: expected a whole number", id="switch for a number"),
        pytest.param("parallel.tp", [1], "parallel.tp=[1]: expected a whole number", id="list for a number"),
        pytest.param("seed", {"a": 1}, "seed={a:1}: expected a whole number", id="map for a number"),
        pytest.param("parallel.tp", None, "parallel.tp=null: expected a whole number", id="null where it must be given"),
        pytest.param("parallel.moe_tp", "x", "parallel.moe_tp=x: expected a whole number or null", id="null where it may be left"),
        pytest.param("deploy.time_scale", float("nan"), "deploy.time_scale=nan: expected a number", id="not a number"),
        pytest.param("serving.prefix_caching", "maybe", "expected true or false or null", id="switch"),
        pytest.param("quant.attention_dtype", "fp9", "quant.attention_dtype=fp9: expected one of auto, fp8", id="name"),
        pytest.param("quant.moe_dtype", ["fp8"], "quant.moe_dtype=[fp8]: expected one of auto, fp8, w4afp8, mxfp4, nvfp4", id="list of names"),
        pytest.param("workload.loads", 4, "workload.loads=4: expected a list of numbers such as [1,8], or search", id="number for a list"),
        pytest.param("workload.loads", [1, float("inf")], "workload.loads=[1,inf]: expected a list of numbers", id="load without end"),
        pytest.param("workload.loads", "serch", "workload.loads=serch: expected a list of numbers such as [1,8], or search", id="another word for a list"),
        pytest.param("gpus.ids", 5, "gpus.ids=5: expected a list such as [a,b] or null", id="names of GPUs"),
        pytest.param("gpus.spec", 5, "gpus.spec=5: expected keys below it, such as gpus.spec.tflops_16bit or null", id="number for a map"),
        pytest.param("gpus.spec", {"memory_gib": "x"}, "gpus.spec.memory_gib=x: expected a number", id="inside a map"),
        pytest.param("gpus.spec", {"memory_gb": 1}, "gpus.spec.memory_gb: no such key; did you mean gpus.spec.memory_gib?", id="unknown inside a map"),
        pytest.param("runtime.args", [1], "runtime.args=[1]: expected keys below it: runtime.args.NAME", id="list for free keys"),
        pytest.param("runtime.args", {1: 2}, "runtime.args.1: a key is text", id="number for a key"),
        pytest.param("runtime.env.BAR", [1], "runtime.env.BAR=[1]: expected text", id="list in the environment"),
        pytest.param("runtime.env.BAR", None, "runtime.env.BAR=null: expected text", id="nothing in the environment"),
        pytest.param("runtime.env.A.B", 1, "runtime.env.A.B: no such key", id="below the environment"),
        pytest.param("search.space", {"vllm": {DOTTED: [1]}}, f"search.space.vllm.{DOTTED}=[1]: expected its values as text", id="list in a space"),
        pytest.param("search.space.vllm", "3", "search.space.vllm=3: expected keys below it: search.space.vllm.NAME", id="text for a space"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_in_a_users_words(key: str, value: Any, expected: str) -> None:
    """What was given, and what is expected."""
    (problem,) = value_type_problems(key, value)
    assert problem.startswith(expected) or problem.endswith(expected)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("parallel.tp", "2"),
        ("parallel.tp", "${seed}"),
        ("parallel.tp", "???"),
        ("deploy.time_scale", 1),
        ("quant.gemm_dtype", "int4"),
        ("runtime.args.x", {"y": [1, None]}),
        ("runtime.args.a.b", 1),
        ("runtime.env.OMP_NUM_THREADS", 4),
        ("search.space", {"tensorrt_llm": {DOTTED: "choice(1,2)"}}),
        ("gpus.spec", None),
        ("workload.loads", "search"),
        ("workload.loads", "???"),
        ("workload", {"loads": [1, 2.5], "mode": "rate"}),
    ],
)
def test_what_the_schema_takes_is_no_problem(key: str, value: Any) -> None:
    """References and open values are known later."""
    assert value_type_problems(key, value) == []


@pytest.mark.parametrize("key", ["nope", "parallel.nope", "parallel.tp.x", "runtime.env.A.B", ""])
def test_a_key_that_is_not_there_has_no_type(key: str) -> None:
    """Neither in the schema nor in its free maps."""
    assert hint_of(key) is None


def test_values_are_written_as_a_user_writes_them() -> None:
    """No None, no True, no quotes."""
    assert written({"a": [None, True, 1.5, "x"]}) == "{a:[null,true,1.5,x]}"
