"""TensorRT-LLM: exact arguments and reasons, on both of its versions."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from autotune.plan.runtimes import RUNTIMES
from autotune.plan.runtimes.flags import load_flags
from autotune.plan.runtimes.protocol import Runtime
from autotune.records import InventoryKind
from tests.contracts.runtime import MOE, RuntimeContract, gpus
from tests.plan.runtimes.tensorrt_llm_plans import NEW, OLD, VERSIONS, mapped, plan

HEAD = "trtllm-serve org/model --host 127.0.0.1 --port {port}"
HEADS = {OLD: HEAD, NEW: f"{HEAD} --served_model_name org/model"}


class TestTensorrtLlm(RuntimeContract):
    """TensorRT-LLM against the shared suite."""

    engine = "tensorrt_llm"

    @pytest.fixture
    def runtime(self) -> Runtime:
        """The adapter."""
        return RUNTIMES["tensorrt_llm"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param([], "", id="defaults emit nothing"),
        pytest.param(["parallel.tp=2", "parallel.pp=2"], "--tp_size 2 --pp_size 2", id="layout"),
        pytest.param(["parallel.tp=4", "parallel.ep=4"], "--tp_size 4 --ep_size 4", id="experts"),
        pytest.param(
            [
                "serving.max_running_requests=64",
                "serving.max_batched_tokens=4096",
                "serving.max_model_len=2048",
            ],
            "--max_batch_size 64 --max_num_tokens 4096 --max_seq_len 2048",
            id="limits",
        ),
        pytest.param(["serving.chunked_prefill=true"], "--enable_chunked_prefill", id="chunked prefill"),
        pytest.param(["serving.chunked_prefill=false"], "", id="chunked prefill is off by default"),
        pytest.param(["model.trust_remote_code=true"], "--trust_remote_code", id="remote code"),
        pytest.param(
            ["runtime.args.kv_cache_config.free_gpu_memory_fraction=0.8"],
            "--kv_cache_free_gpu_memory_fraction 0.8",
            id="an option that has a flag becomes it",
        ),
    ],
)
def test_command_lines_that_both_versions_have(version: str, changes: list[str], expected: str) -> None:
    """Underscores, the model first, no options file where every argument has a flag."""
    planned = plan(version, *changes)
    assert planned.reasons == ()
    assert " ".join(planned.argv) == f"{HEADS[version]} {expected}".strip()
    assert planned.files == {}


@pytest.mark.parametrize(
    ("version", "changes", "expected", "options"),
    [
        pytest.param(
            OLD, ["quant.kvcache_dtype=fp8"], "", {"kv_cache_config": {"dtype": "fp8"}}, id="old fp8 KV"
        ),
        pytest.param(NEW, ["quant.kvcache_dtype=fp8"], "--kv_cache_dtype fp8", {}, id="new fp8 KV"),
        pytest.param(
            OLD,
            ["parallel.tp=2", "parallel.attn_dp=2"],
            "--tp_size 2",
            {"enable_attention_dp": True},
            id="old attention DP",
        ),
        pytest.param(
            NEW,
            ["parallel.tp=2", "parallel.attn_dp=2"],
            "--tp_size 2 --enable_attention_dp",
            {},
            id="new attention DP",
        ),
        pytest.param(
            NEW,
            ["parallel.tp=8", "parallel.ep=2", "parallel.moe_tp=4"],
            "--tp_size 8 --ep_size 2",
            {"moe_tensor_parallel_size": 4},
            id="experts split both ways",
        ),
        pytest.param(
            NEW,
            [
                "quant.gemm_dtype=bf16",
                "serving.prefix_caching=false",
                "runtime.args.kv_cache_config.tokens_per_block=64",
            ],
            "",
            {"dtype": "bfloat16", "kv_cache_config": {"enable_block_reuse": False, "tokens_per_block": 64}},
            id="options of one group come together",
        ),
    ],
)
def test_what_has_no_flag_goes_to_the_options_file(
    version: str, changes: list[str], expected: str, *, options: dict[str, Any]
) -> None:
    """The flag list of the version decides; the command line names the file."""
    planned = plan(version, *changes)
    assert planned.reasons == ()
    file = (
        {OLD: "--extra_llm_api_options options.yaml", NEW: "--config options.yaml"}[version]
        if options
        else ""
    )
    assert " ".join(planned.argv) == " ".join(filter(None, [HEADS[version], expected, file]))
    assert {name: yaml.safe_load(text) for name, text in planned.files.items()} == (
        {"options.yaml": options} if options else {}
    )


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ([], 8192),
        (["serving.max_batched_tokens=4096"], 4096),
        (["serving.chunked_prefill=false", "runtime.args.max_num_tokens=2048"], 2048),
        (["serving.chunked_prefill=true"], None),
        (["runtime.args.enable_chunked_prefill=true"], None),
        (["serving.max_batched_tokens=16384"], None),
        (["deploy.kind=replay"], None),
    ],
)
def test_a_prompt_must_fit_without_chunked_prefill(changes: list[str], limit: int | None) -> None:
    """Which is off by default: every request would be answered with an error."""
    expected = (
        f"workload.input_tokens=9000: without chunked prefill a prompt must fit in max_num_tokens={limit}: "
        "set serving.chunked_prefill=true or serving.max_batched_tokens=9000"
    )
    found = mapped("workload.input_tokens=9000", *changes).reasons
    assert found == ((expected,) if limit else ())


def test_prompts_of_a_spread_may_not_fit() -> None:
    """A note, because most do."""
    found = mapped("workload.input_tokens=8000", "workload.input_spread=0.1")
    assert found.reasons == ()
    assert any("serving.max_batched_tokens=10400" in note for note in found.notes)


def test_limits_hold_for_each_attention_rank() -> None:
    """With attention DP every rank schedules for itself."""
    found = mapped("parallel.tp=8", "parallel.attn_dp=8", "serving.max_running_requests=64", facts=MOE)
    assert found.args["max_batch_size"] == 64
    assert "serving.max_running_requests=64: for each of the 8 attention ranks" in found.notes


def test_the_old_version_cannot_be_told_a_name() -> None:
    """A note says it; the new one is told."""
    assert any("model.served_name=x" in note for note in plan(OLD, "model.served_name=x").notes)
    assert "x" in plan(NEW, "model.served_name=x").argv


def test_a_cpu_is_refused() -> None:
    """There is nothing to run on."""
    found = plan(NEW, inventory=gpus(kind=InventoryKind.CPU))
    assert found.reasons == ("gpus=cpu: TensorRT-LLM needs NVIDIA GPUs: use runtime=vllm",)


@pytest.mark.parametrize(
    ("args", "gib", "arithmetic"),
    [
        ({}, 58.59, "0.9 × (80.0 - 14.9 GiB)"),
        ({"kv_cache_free_gpu_memory_fraction": 0.5}, 32.55, "0.5 × (80.0 - 14.9 GiB)"),
    ],
)
def test_the_fraction_is_of_what_the_weights_leave(args: dict[str, Any], gib: float, arithmetic: str) -> None:
    """Unlike the fractions of vLLM and SGLang."""
    budget = RUNTIMES["tensorrt_llm"].kv_budget(args, gpu_gib=80, weights_gib=14.9)
    assert budget.gib == pytest.approx(gib)
    assert budget.arithmetic == arithmetic


@pytest.mark.parametrize("version", VERSIONS)
def test_the_list_says_each_setting_once(version: str) -> None:
    """Every flag's option is a key of the file, and what both say has the same type."""
    flags = load_flags("tensorrt_llm", version)
    paired = [flag for flag in flags.flags if flag.option is not None]
    assert paired
    for flag in paired:
        option = flags.options[str(flag.option)]
        assert option.type == ("bool" if flag.takes == "none" else flag.type)
    assert flags.options_flag is not None
    assert flags.find(flags.options_flag) is not None


@pytest.mark.parametrize(
    ("name", "since"),
    [("kv_cache_dtype", NEW), ("served_model_name", NEW), ("enable_attention_dp", NEW), ("telemetry", NEW)],
)
def test_flags_that_came_with_the_new_version(name: str, since: str) -> None:
    """They gate what is emitted."""
    has = [version for version in VERSIONS if load_flags("tensorrt_llm", version).spelling(name)]
    assert has == [since]
