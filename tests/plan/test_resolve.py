"""Plans: argv, rejections with reasons, signatures."""

from __future__ import annotations

import re
from typing import Any

import pytest
from omegaconf import OmegaConf

from autotune.plan.resolve import resolve
from autotune.records import Gpu, Inventory, InventoryKind, Plan
from autotune.schema import Config, config_from
from tests.contracts.runtime import gpus

BASE: dict[str, Any] = {
    "runtime": {"kind": "vllm", "version": "0.33.0", "image": "img:v0.33.0"},
    "model": {"path": "org/model", "heads": 32},
    "workload": {"loads": [8], "input_tokens": 128, "output_tokens": 64},
    "benchmark": {"kind": "native"},
    "deploy": {"kind": "process"},
    "gpus": {"kind": "declared"},
    "search": {"kind": "grid"},
    "tracking": {"kind": "local"},
    "objective": {"metric": "total_tokens_per_s_per_gpu", "direction": "maximize"},
}


def config(*changes: str, **runtime: Any) -> Config:
    """The base configuration with dotted changes, and other runtime fields."""
    merged = OmegaConf.merge(
        OmegaConf.create(BASE), {"runtime": runtime}, OmegaConf.from_dotlist(list(changes))
    )
    return config_from(merged)


def inventory(count: int = 8, kind: InventoryKind = InventoryKind.DECLARED) -> Inventory:
    """`count` GPUs of one model."""
    return Inventory(
        kind=kind, gpus=tuple(Gpu(uuid=f"g{i}", index=i, model="H100", node="n") for i in range(count))
    )


def sglang(*changes: str) -> Config:
    """The base configuration on SGLang."""
    return config(*changes, kind="sglang", version="0.5.23")


HEAD = "vllm serve org/model --host 127.0.0.1 --port {port} --served-model-name org/model"
SGLANG_HEAD = "sglang serve --model-path org/model --host 127.0.0.1 --port {port} --served-model-name org/model --enable-metrics"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param([], "", id="defaults emit nothing"),
        pytest.param(["parallel.tp=2", "parallel.pp=2"], "--tensor-parallel-size 2 --pipeline-parallel-size 2", id="layout"),
        pytest.param(["parallel.dp=2", "parallel.ep=2"], "--data-parallel-size 2 --enable-expert-parallel", id="expert parallel is a switch"),
        pytest.param(["quant.gemm_dtype=fp8", "quant.kvcache_dtype=fp8"], "--quantization fp8_per_tensor --kv-cache-dtype fp8", id="fp8"),
        pytest.param(["serving.prefix_caching=false"], "--no-enable-prefix-caching", id="off form known to both versions"),
        pytest.param(["serving.max_running_requests=16", "serving.max_batched_tokens=4096"], "--max-num-seqs 16 --max-num-batched-tokens 4096", id="serving"),
        pytest.param(["runtime.args.enforce_eager=true"], "--enforce-eager", id="switch on"),
        pytest.param(["runtime.args.max_num_seqs=null"], "", id="null leaves out"),
    ],
)  # fmt: skip
def test_vllm_argv(changes: list[str], expected: str) -> None:
    """Presets become vLLM's own flags."""
    plan = resolve(config(*changes), inventory())
    assert plan.reasons == ()
    assert " ".join(plan.argv) == f"{HEAD} {expected}".strip()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param([], "", id="defaults emit nothing"),
        pytest.param(["parallel.tp=4", "parallel.attn_dp=4", "parallel.ep=4"], "--tp-size 4 --attn-dp-size 4 --ep-size 4", id="attention dp inside tp"),
        pytest.param(["quant.kvcache_dtype=fp8", "quant.gemm_dtype=fp8"], "--quantization fp8 --kv-cache-dtype fp8_e4m3", id="fp8 is e4m3"),
        pytest.param(["serving.prefix_caching=false"], "--disable-radix-cache", id="radix cache"),
        pytest.param(["serving.prefix_caching=true"], "", id="on by default"),
        pytest.param(["serving.chunked_prefill=false"], "--chunked-prefill-size -1", id="chunking off"),
    ],
)  # fmt: skip
def test_sglang_argv(changes: list[str], expected: str) -> None:
    """Presets become SGLang's own flags."""
    plan = resolve(sglang(*changes), inventory())
    assert plan.reasons == ()
    assert " ".join(plan.argv) == f"{SGLANG_HEAD} {expected}".strip()


@pytest.mark.parametrize(
    ("plan", "gpus", "world"),
    [
        pytest.param(resolve(config("parallel.tp=2", "parallel.dp=2", "parallel.dcp=2"), inventory()), 4, 2, id="vllm: dp multiplies, dcp adds none"),
        pytest.param(resolve(sglang("parallel.tp=4", "parallel.attn_dp=2"), inventory()), 4, 4, id="sglang: attention dp inside tp"),
        pytest.param(resolve(sglang("parallel.tp=2", "parallel.dp=3"), inventory()), 6, 2, id="sglang: replicas multiply"),
    ],
)  # fmt: skip
def test_gpus_and_world_size(plan: Plan, gpus: int, world: int) -> None:
    """Each engine's own formula."""
    assert (plan.gpus, plan.world_size) == (gpus, world)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        pytest.param(config("parallel.tp=16"), "needs 16 GPUs: needs 2 nodes; the inventory has 1", id="too wide"),
        pytest.param(config("parallel.tp=3"), "parallel.tp=3 does not divide the 32 attention heads of the model; possible here: 1, 2, 4, 8", id="heads"),
        pytest.param(config("parallel.attn_dp=2"), "parallel.attn_dp=2: must divide parallel.tp=1", id="attention data parallel"),
        pytest.param(config("parallel.ep=4"), "set parallel.ep=1", id="expert parallel size"),
        pytest.param(config("parallel.moe_tp=2"), "parallel.moe_tp=2: vLLM splits each expert over 1 of these ranks", id="never dropped in silence"),
        pytest.param(config("parallel.tp=2", "runtime.args.tensor_parallel_size=4"), "runtime.args.tensor_parallel_size: set parallel.tp", id="layout by its argument"),
        pytest.param(sglang("runtime.args.tensor_parallel_size=4"), "runtime.args.tp_size: set parallel.tp", id="layout by an alias"),
        pytest.param(config("runtime.args.max_num_sqs=4"), "runtime.args.max_num_sqs: vllm 0.33.0 has no such argument; did you mean max_num_seqs?", id="misspelt argument"),
        pytest.param(config("runtime.args.dtype=bfloat"), "runtime.args.dtype=bfloat: must be one of auto, bfloat16", id="choice"),
        pytest.param(config("runtime.args.enforce_eager=3"), "runtime.args.enforce_eager=3: a switch", id="switch with a value"),
        pytest.param(config("runtime.args.port=8000"), "runtime.args.port: set deploy.port", id="our own argument"),
        pytest.param(config("runtime.args.max_num_seqs=many", version="0.32.0"), "runtime.args.max_num_seqs=many: expected a whole number", id="type"),
        pytest.param(sglang("parallel.attn_dp=2", "parallel.dp=2", "parallel.tp=2"), "SGLang takes it or parallel.dp=2 above 1", id="sglang dp twice"),
        pytest.param(sglang("serving.chunked_prefill=false", "serving.max_batched_tokens=64"), "unset serving.max_batched_tokens", id="sglang chunk"),
    ],
)  # fmt: skip
def test_rejections_say_why(bad: Config, reason: str) -> None:
    """A candidate that cannot run is a value with its reasons."""
    plan = resolve(bad, inventory())
    assert not plan.valid
    assert reason in "; ".join(plan.reasons)


def test_all_reasons_come_at_once() -> None:
    """Nobody mends one problem to find the next."""
    bad = config("parallel.tp=24", "parallel.attn_dp=5", "runtime.args.nonsense=1", "runtime.args.port=1")
    reasons = resolve(bad, inventory()).reasons
    words = (
        "parallel.attn_dp=5",
        "runtime.args.port",
        "runtime.args.nonsense",
        "3 nodes",
        "32 attention heads",
    )
    assert [word for word, reason in zip(words, reasons, strict=True) if word not in reason] == []


def test_explicit_arguments_win_and_say_so() -> None:
    """`runtime.args` over what presets map to, with a note."""
    plan = resolve(config("serving.max_running_requests=16", "runtime.args.max_num_seqs=32"), inventory())
    assert " ".join(plan.argv).endswith("--max-num-seqs 32")
    assert "runtime.args.max_num_seqs=32 wins over serving.max_running_requests=16 (16)" in plan.notes


def test_an_explicit_backend_wins_over_the_one_for_fp8_attention() -> None:
    """What a preset chooses for the hardware is a mapped argument like any other."""
    fp8 = ("quant.kvcache_dtype=fp8", "quant.attention_dtype=fp8")
    plan = resolve(sglang(*fp8, "runtime.args.attention_backend=flashinfer"), gpus(8))
    assert " ".join(plan.argv).endswith("--kv-cache-dtype fp8_e4m3 --attention-backend flashinfer")
    wins = "runtime.args.attention_backend=flashinfer wins over quant.attention_dtype=fp8 (fa3)"
    assert wins in plan.notes


def test_a_cpu_inventory_brings_the_environment_of_that_build() -> None:
    """vLLM on a CPU is told its KV space and the loopback interface."""
    plan = resolve(config("model.path=/models/tiny", version="0.32.0"), inventory(1, InventoryKind.CPU))
    assert plan.env["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert plan.env["HF_HUB_OFFLINE"] == "1"
    assert "--enforce-eager" in plan.argv


def test_sglang_is_refused_on_a_cpu() -> None:
    """No engine, no guess."""
    plan = resolve(sglang(), inventory(1, InventoryKind.CPU))
    assert plan.reasons == ("gpus=cpu: SGLang is not served on a CPU here: use runtime=vllm",)


def test_an_unknown_version_names_the_known_ones() -> None:
    """Without a flag list nothing can be checked: the plan is nothing but the reason."""
    plan = resolve(config(version="9.9.9"), inventory())
    [reason] = plan.reasons
    assert re.search(r"runtime\.version=9\.9\.9.*0\.32\.0, 0\.33\.0", reason)
    assert (plan.argv, plan.gpus) == ((), 0)


def test_all_that_is_wrong_is_told_at_once() -> None:
    """A size below one, or an unknown version, does not hide what else can be known."""
    both = ("quant.attention_dtype=fp8", "quant.kvcache_dtype=fp8_e5m2")
    sized = resolve(config("parallel.pp=0", "parallel.ep=4", "model.layers=4", *both), inventory()).reasons
    assert [reason.split(":")[0] for reason in sized] == [
        "parallel.pp=0",
        "parallel.ep=4",
        "quant.attention_dtype=fp8 contradicts quant.kvcache_dtype=fp8_e5m2",
    ]
    unknown = resolve(config("parallel.pp=0", *both, version="9.9.9"), inventory()).reasons
    assert [reason.split(":")[0] for reason in unknown] == [
        "runtime.version=9.9.9",
        "parallel.pp=0",
        "quant.attention_dtype=fp8 contradicts quant.kvcache_dtype=fp8_e5m2",
    ]


def test_a_path_that_leads_nowhere_is_noted() -> None:
    """It can be no hub name, so what is known is the preset's word."""
    plan = resolve(config("model.path=/gone/model"), inventory())
    assert (
        plan.notes[0]
        == "model.path=/gone/model: no checkpoint can be read there; facts are the model preset's"
    )
    assert not any("no checkpoint" in note for note in resolve(config(), inventory()).notes)


def test_a_config_file_of_the_engine_is_refused() -> None:
    """It could set the layout behind the scheduler."""
    for asked in (config("runtime.args.config=/tmp/x.yaml"), sglang("runtime.args.config=/tmp/x.yaml")):
        [reason] = resolve(asked, inventory()).reasons
        assert reason == "runtime.args.config: give what stands in it as runtime.args"


def test_limits_are_for_each_attention_rank() -> None:
    """SGLang shares its limits between them, so that each gets what the preset says, as on vLLM."""
    layout = ("parallel.tp=8", "parallel.attn_dp=8", "parallel.ep=8", "model.experts=128", "model.layers=4")
    knobs = ("serving.max_running_requests=32", "serving.max_batched_tokens=2048")
    plan = resolve(sglang(*layout, *knobs), gpus(8))
    assert plan.reasons == ()
    assert " ".join(plan.argv).endswith("--max-running-requests 256 --chunked-prefill-size 16384")
    assert "serving.max_running_requests=32: SGLang shares 256 between 8 ranks" in plan.notes


def test_an_unknown_engine_names_the_known_ones() -> None:
    """A kind that no adapter has."""
    [reason] = resolve(config(kind="ollama"), inventory()).reasons
    assert reason.startswith("runtime.kind=ollama: must be one of vllm, sglang")


@pytest.mark.parametrize(
    ("other", "same"),
    [
        pytest.param(config("runtime.args.max_num_seqs=16"), True, id="preset and argument say the same"),
        pytest.param(config("serving.max_running_requests=16", "runtime.args.block_size=null"), True, id="null is nothing"),
        pytest.param(config("serving.max_running_requests=16", "deploy.port=9000"), True, id="the port does not count"),
        pytest.param(config("serving.max_running_requests=17"), False, id="another value"),
        pytest.param(config("serving.max_running_requests=16", "workload.seed=1"), False, id="other traffic"),
        pytest.param(config("serving.max_running_requests=16", "runtime.env.A=b"), False, id="other environment"),
        pytest.param(config("serving.max_running_requests=16", version="0.32.0"), False, id="other version"),
        pytest.param(config("serving.max_running_requests=16", "deploy.prefix=[]"), True, id="no prefix is nothing"),
        pytest.param(config("serving.max_running_requests=16", "deploy.prefix=[numactl, --membind=0]"), False, id="other memory"),
    ],
)  # fmt: skip
def test_signatures_are_equal_exactly_for_the_same_engine(other: Config, same: bool) -> None:  # noqa: FBT001
    """Duplicates are found by what would run, not by how it was written."""
    reference = resolve(config("serving.max_running_requests=16"), inventory()).signature
    assert (resolve(other, inventory()).signature == reference) is same


def test_signatures_forget_the_paths_of_this_host() -> None:
    """A local model in another folder is the same model."""
    here = resolve(config("model.path=/a/tiny"), inventory()).signature
    there = resolve(config("model.path=/b/tiny"), inventory()).signature
    assert here == there


def test_an_engine_of_someone_else_is_not_mapped() -> None:
    """With `deploy.url` there is nothing to start and nothing to reject."""
    plan = resolve(config("deploy.url=http://127.0.0.1:1", "parallel.tp=16", "gpus.count=2"), inventory())
    assert (plan.argv, plan.gpus, plan.valid) == ((), 2, True)
