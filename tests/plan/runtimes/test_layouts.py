"""Layouts: each preset's arguments on each engine, GPUs by its formula, and what it cannot do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from autotune.plan import arguments
from autotune.plan.facts import ModelFacts
from autotune.plan.runtimes import RUNTIMES
from autotune.plan.runtimes.flags import load_flags
from autotune.plan.runtimes.protocol import Sharding
from autotune.records import Inventory
from autotune.schema import ParallelConfig
from tests.contracts.runtime import DENSE, MLA, MOE
from tests.plan.runtimes.asking import A100, B200, H100, LATENT, NOWHERE, SPARSE, UNKNOWN, ask, versions

PRESETS = Path(__file__).parents[3] / "conf" / "parallel"
DCP = "--decode-context-parallel-size 2"
TRITON, FLASHINFER = "--attention-backend triton", "--attention-backend flashinfer"


def preset(name: str) -> ParallelConfig:
    """The layout of a preset."""
    return ParallelConfig(**yaml.safe_load((PRESETS / f"{name}.yaml").read_text()))


ARGV = [
    ("tp1", DENSE, 1, "", ""),
    ("tp2", DENSE, 2, "--tensor-parallel-size 2", "--tp-size 2"),
    ("tp4", DENSE, 4, "--tensor-parallel-size 4", "--tp-size 4"),
    ("tp8", DENSE, 8, "--tensor-parallel-size 8", "--tp-size 8"),
    ("tp16", DENSE, 16, "--tensor-parallel-size 16", "--tp-size 16"),
    ("dp2", DENSE, 2, "--data-parallel-size 2", "--dp-size 2"),
    ("dp4", DENSE, 4, "--data-parallel-size 4", "--dp-size 4"),
    ("dp8", DENSE, 8, "--data-parallel-size 8", "--dp-size 8"),
    ("tp2dp2", DENSE, 4, "--tensor-parallel-size 2 --data-parallel-size 2", "--tp-size 2 --dp-size 2"),
    ("tp2dp4", DENSE, 8, "--tensor-parallel-size 2 --data-parallel-size 4", "--tp-size 2 --dp-size 4"),
    ("tp4dp2", DENSE, 8, "--tensor-parallel-size 4 --data-parallel-size 2", "--tp-size 4 --dp-size 2"),
    ("tp2pp2", DENSE, 4, "--tensor-parallel-size 2 --pipeline-parallel-size 2", "--tp-size 2 --pp-size 2"),
    ("tp4pp2", DENSE, 8, "--tensor-parallel-size 4 --pipeline-parallel-size 2", "--tp-size 4 --pp-size 2"),
    ("tp8pp2", DENSE, 16, "--tensor-parallel-size 8 --pipeline-parallel-size 2", "--tp-size 8 --pp-size 2"),
    ("ep8", MOE, 8, "--tensor-parallel-size 8 --enable-expert-parallel", "--tp-size 8 --ep-size 8"),
    ("single-gpu", DENSE, 1, "", ""),
    ("high-throughput", DENSE, 8, "--data-parallel-size 8", "--dp-size 8"),
    ("large-model-tp", DENSE, 8, "--tensor-parallel-size 8", "--tp-size 8"),
    ("large-model-tp-pp", DENSE, 16, "--tensor-parallel-size 8 --pipeline-parallel-size 2", "--tp-size 8 --pp-size 2"),
    ("moe-optimized", MOE, 8, "--data-parallel-size 8 --enable-expert-parallel", "--tp-size 8 --attn-dp-size 8 --ep-size 8"),
    ("moe-optimized", MLA, 8, "--data-parallel-size 8 --enable-expert-parallel", "--tp-size 8 --attn-dp-size 8 --ep-size 8"),
    ("long-context", MOE, 8, f"--tensor-parallel-size 8 {DCP}", f"--tp-size 8 --dcp-size 2 {TRITON}"),
    ("long-context", MLA, 8, f"--tensor-parallel-size 8 {DCP}", f"--tp-size 8 --dcp-size 2 {FLASHINFER}"),
    ("balanced", DENSE, 8, "--tensor-parallel-size 4 --data-parallel-size 2", "--tp-size 4 --dp-size 2"),
]  # fmt: skip


def test_every_preset_has_its_row() -> None:
    """A new one comes with its arguments."""
    assert {name for name, *_ in ARGV} == {path.stem for path in PRESETS.glob("*.yaml")}


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize(
    ("name", "facts", "gpus", "vllm", "sglang"), ARGV, ids=[f"{n}-{f.layers}" for n, f, *_ in ARGV]
)
def test_a_preset_means_the_same_on_each_engine(
    name: str, facts: ModelFacts, gpus: int, vllm: str, sglang: str, engine: str
) -> None:
    """By its own arguments, on as many GPUs."""
    parallel = preset(name)
    for version in versions(engine):
        mapped = ask(engine, facts=facts, parallel=parallel, version=version)
        words = arguments.command_line(mapped.args, load_flags(engine, version))
        assert mapped.reasons == ()
        assert " ".join(words) == (vllm if engine == "vllm" else sglang)
    assert RUNTIMES[engine].layout(parallel).gpus == gpus


@pytest.mark.parametrize(
    ("name", "engine"),
    [(path.stem, engine) for path in sorted(PRESETS.glob("*.yaml")) for engine in ("vLLM", "SGLang")],
)
def test_the_comment_of_a_preset_shows_its_arguments(name: str, engine: str) -> None:
    """What a named preset means on each engine can be read where it is defined."""
    text = (PRESETS / f"{name}.yaml").read_text()
    rows = [row for row in ARGV if row[0] == name]
    words = rows[0][3] if engine == "vLLM" else rows[0][4]
    assert words in text


@pytest.mark.parametrize(
    ("engine", "parallel", "sharding"),
    [
        pytest.param("vllm", ParallelConfig(tp=4, dp=2, pp=2), Sharding(layers=2, attention=4, dense=4, experts=8, kv_heads=4, caches=2), id="vllm: replicas share experts"),
        pytest.param("vllm", ParallelConfig(tp=8, attn_dp=4, ep=8), Sharding(attention=2, dense=2, experts=8, kv_heads=2, caches=4), id="vllm: attention dp"),
        pytest.param("vllm", ParallelConfig(tp=8, dcp=2), Sharding(attention=8, dense=8, experts=8, kv_heads=8, kv_tokens=2), id="vllm: shared tokens"),
        pytest.param("sglang", ParallelConfig(tp=4, dp=2, pp=2), Sharding(layers=2, attention=4, dense=4, experts=4, kv_heads=4, caches=2), id="sglang: replicas are whole"),
        pytest.param("sglang", ParallelConfig(tp=8, attn_dp=4, ep=8), Sharding(attention=2, dense=8, experts=8, kv_heads=2, caches=4), id="sglang: attention dp"),
        pytest.param("sglang", ParallelConfig(tp=8, attn_dp=8, moe_dense_tp=1), Sharding(attention=1, dense=1, experts=8, caches=8), id="sglang: dense layers whole"),
        pytest.param("sglang", ParallelConfig(tp=8, dcp=2), Sharding(attention=8, dense=8, experts=8, kv_heads=4, kv_tokens=2), id="sglang: shared tokens"),
        pytest.param("sglang", ParallelConfig(tp=8, cp=2, moe_tp=4), Sharding(attention=4, dense=8, experts=4, kv_heads=4), id="sglang: context parallel"),
    ],
)  # fmt: skip
def test_shards(engine: str, parallel: ParallelConfig, sharding: Sharding) -> None:
    """Over how many GPUs each part is split."""
    assert RUNTIMES[engine].layout(parallel).sharding == sharding


@pytest.mark.parametrize(
    ("parallel", "same"),
    [
        pytest.param(ParallelConfig(tp=8, attn_dp=8, ep=8), ParallelConfig(dp=8, ep=8), id="attention dp is dp"),
        pytest.param(ParallelConfig(tp=8, attn_dp=4, ep=8), ParallelConfig(tp=2, dp=4, ep=8), id="with tp beside it"),
    ],
)  # fmt: skip
def test_two_ways_to_say_one_layout_of_vllm_are_one_candidate(
    parallel: ParallelConfig, same: ParallelConfig
) -> None:
    """Equal arguments make equal signatures."""
    first, second = (ask("vllm", facts=MOE, parallel=layout) for layout in (parallel, same))
    assert dict(first.args) == dict(second.args)
    assert first.reasons == second.reasons == ()


@pytest.mark.parametrize(
    ("engine", "parallel", "facts", "args"),
    [
        pytest.param("vllm", ParallelConfig(cp=2), SPARSE, {"prefill_context_parallel_size": 2}, id="vllm: prefill cp"),
        pytest.param("vllm", ParallelConfig(tp=2, cp=2, dcp=4), SPARSE, {"tensor_parallel_size": 2, "prefill_context_parallel_size": 2, "decode_context_parallel_size": 4}, id="vllm: dcp over tp × cp"),
        pytest.param("vllm", ParallelConfig(tp=4, moe_tp=4), MOE, {"tensor_parallel_size": 4}, id="vllm: experts split as they are"),
        pytest.param("vllm", ParallelConfig(tp=4, moe_dense_tp=4), MOE, {"tensor_parallel_size": 4}, id="vllm: dense layers as they are"),
        pytest.param("vllm", ParallelConfig(tp=8, dcp=2), NOWHERE, {"tensor_parallel_size": 8, "decode_context_parallel_size": 2}, id="vllm: unknown heads"),
        pytest.param("sglang", ParallelConfig(tp=8, cp=2), MOE, {"tp_size": 8, "enable_prefill_cp": True, "attn_cp_size": 2, "cp_strategy": "zigzag"}, id="sglang: prefill cp"),
        pytest.param("sglang", ParallelConfig(tp=8, cp=2, moe_tp=4), MOE, {"tp_size": 8, "enable_prefill_cp": True, "attn_cp_size": 2, "cp_strategy": "zigzag", "moe_dp_size": 2}, id="sglang: experts repeated over cp"),
        pytest.param("sglang", ParallelConfig(tp=8, cp=4, attn_dp=2, ep=8, moe_dense_tp=1), MLA, {"tp_size": 8, "attn_dp_size": 2, "ep_size": 8, "enable_prefill_cp": True, "attn_cp_size": 4, "cp_strategy": "zigzag", "moe_dense_tp_size": 1}, id="sglang: prefill cp of MLA"),
        pytest.param("sglang", ParallelConfig(tp=8, attn_dp=8), replace(DENSE, model_type="qwen3"), {"tp_size": 8, "attn_dp_size": 8}, id="sglang: attention dp of Qwen3"),
        pytest.param("sglang", ParallelConfig(tp=8, moe_tp=8), MOE, {"tp_size": 8}, id="sglang: experts split as they are"),
        pytest.param("sglang", ParallelConfig(tp=8, ep=4, moe_tp=2), MOE, {"tp_size": 8, "ep_size": 4}, id="sglang: both"),
        pytest.param("sglang", ParallelConfig(tp=8, moe_dense_tp=1), MOE, {"tp_size": 8, "moe_dense_tp_size": 1}, id="sglang: dense layers whole"),
        pytest.param("sglang", ParallelConfig(tp=8, attn_dp=2), DENSE, {"tp_size": 8, "attn_dp_size": 2}, id="sglang: attention dp of a dense model"),
    ],
)  # fmt: skip
def test_what_is_in_no_preset_is_mapped_too(
    engine: str, parallel: ParallelConfig, facts: ModelFacts, args: dict[str, Any]
) -> None:
    """Every field has its meaning."""
    mapped = ask(engine, facts=facts, parallel=parallel)
    assert (dict(mapped.args), mapped.reasons) == (args, ())


@pytest.mark.parametrize(
    ("engine", "parallel", "facts", "inventory", "reason"),
    [
        pytest.param("vllm", ParallelConfig(tp=8, ep=8), DENSE, H100, "parallel.ep=8: org/model has no experts", id="vllm: ep, dense"),
        pytest.param("vllm", ParallelConfig(tp=8, ep=4), MOE, H100, "parallel.ep=4: vLLM spreads experts over tp × cp × dp = 8 ranks: set parallel.ep=8", id="vllm: ep size"),
        pytest.param("vllm", ParallelConfig(tp=8, attn_dp=2), DENSE, H100, "parallel.attn_dp=2: org/model has no experts to share between attention ranks: use parallel.tp=4 parallel.attn_dp=1 parallel.dp=2", id="vllm: attention dp, dense"),
        pytest.param("vllm", ParallelConfig(tp=8, attn_dp=3), MOE, H100, "parallel.attn_dp=3: must divide parallel.tp=8", id="vllm: attention dp"),
        pytest.param("vllm", ParallelConfig(tp=8, dcp=2), DENSE, H100, "parallel.dcp=2: shares the tokens of a KV head between ranks that hold the same one; with tp=8 and 8 KV heads each holds others: set parallel.dcp=1", id="vllm: dcp of 8 KV heads"),
        pytest.param("vllm", ParallelConfig(tp=8, dcp=4), MOE, H100, "with tp=8 and 4 KV heads only 2 do: parallel.dcp=2 would do", id="vllm: too much dcp"),
        pytest.param("vllm", ParallelConfig(tp=6, dcp=3), MOE, H100, "must divide the 16 query heads for each KV head", id="vllm: dcp of query heads"),
        pytest.param("vllm", ParallelConfig(tp=8, dcp=3), MLA, H100, "parallel.dcp=3: must divide the 8 ranks of tensor parallelism", id="vllm: dcp of tp"),
        pytest.param("vllm", ParallelConfig(tp=4, cp=2, dcp=4), SPARSE, H100, "with parallel.cp=2 must be one of 1, 2, 8", id="vllm: dcp and cp"),
        pytest.param("vllm", ParallelConfig(cp=2), DENSE, H100, "parallel.cp=2: vLLM has prefill context parallelism for sparse MLA models only", id="vllm: prefill cp"),
        pytest.param("vllm", ParallelConfig(cp=2), LATENT, H100, "parallel.cp=2: vLLM has prefill context parallelism for sparse MLA models only", id="vllm: prefill cp without sparse attention"),
        pytest.param("vllm", ParallelConfig(tp=4, moe_tp=2), MOE, H100, "parallel.moe_tp=2: vLLM splits each expert over 4 of these ranks: set parallel.moe_tp=4", id="vllm: moe tp"),
        pytest.param("vllm", ParallelConfig(tp=4, moe_dense_tp=1), MOE, H100, "set parallel.moe_dense_tp=4", id="vllm: dense tp"),
        pytest.param("vllm", ParallelConfig(dp=256, ep=256), MOE, H100, "parallel.ep=256: the model has 128 experts", id="vllm: too few experts"),
        pytest.param("sglang", ParallelConfig(tp=8, ep=8), DENSE, H100, "parallel.ep=8: org/model has no experts", id="sglang: ep, dense"),
        pytest.param("sglang", ParallelConfig(tp=8, ep=3), MOE, H100, "parallel.ep=3: must divide parallel.tp=8", id="sglang: ep of tp"),
        pytest.param("sglang", ParallelConfig(tp=6, ep=6), MOE, H100, "parallel.ep=6: must divide the 128 experts of the model", id="sglang: ep of experts"),
        pytest.param("sglang", ParallelConfig(tp=2, attn_dp=2, dp=2), MOE, H100, "parallel.attn_dp=2: SGLang takes it or parallel.dp=2 above 1", id="sglang: dp twice"),
        pytest.param("sglang", ParallelConfig(tp=8, attn_dp=3), MOE, H100, "parallel.attn_dp=3: must divide parallel.tp=8", id="sglang: attention dp"),
        pytest.param("sglang", ParallelConfig(tp=8, dcp=2), DENSE, H100, "must hold the same KV head; tp / attn_dp = 8 is below 8 KV heads × 2: set parallel.dcp=1", id="sglang: dcp of 8 KV heads"),
        pytest.param("sglang", ParallelConfig(tp=4, attn_dp=2), replace(DENSE, model_type="llama"), H100, "parallel.attn_dp=2: SGLang splits the attention of llama models over all of parallel.tp: use parallel.dp", id="sglang: attention dp of Llama"),
        pytest.param("sglang", ParallelConfig(tp=4, cp=2), replace(DENSE, model_type="mistral"), H100, "parallel.cp=2: SGLang splits the attention of mistral models over all of parallel.tp", id="sglang: cp of Mistral"),
        pytest.param("sglang", ParallelConfig(tp=8, cp=2), MLA, H100, "parallel.cp=2: SGLang splits the prompts of MLA models in one way only: set parallel.cp=8 parallel.ep=8 parallel.moe_dense_tp=1", id="sglang: cp of MLA"),
        pytest.param("sglang", ParallelConfig(tp=8, dcp=3), MLA, H100, "must divide the 8 ranks of attention", id="sglang: dcp of tp"),
        pytest.param("sglang", ParallelConfig(tp=8, attn_dp=8, dcp=2), MLA, H100, "must divide the 1 ranks of attention", id="sglang: dcp of attention dp"),
        pytest.param("sglang", ParallelConfig(tp=8, cp=3), MOE, H100, "parallel.cp=3: times parallel.attn_dp=1 must divide parallel.tp=8", id="sglang: cp of tp"),
        pytest.param("sglang", ParallelConfig(tp=8, cp=2), MOE, A100, "its attention kernels need compute capability 9.x or 10.x; the GPUs have 8.0", id="sglang: cp on an A100"),
        pytest.param("sglang", ParallelConfig(tp=8, cp=2), LATENT, B200, "its attention kernels need compute capability 9.x; the GPUs have 10.0", id="sglang: cp of MLA on Blackwell"),
        pytest.param("sglang", ParallelConfig(tp=8, moe_tp=4), MOE, H100, "parallel.moe_tp=4: SGLang splits each expert over tp / ep = 8", id="sglang: moe tp"),
        pytest.param("sglang", ParallelConfig(tp=8, moe_dense_tp=2), MOE, H100, "parallel.moe_dense_tp=2: must be 1 or 8", id="sglang: dense tp"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_what_would_work(
    engine: str, parallel: ParallelConfig, facts: ModelFacts, inventory: Inventory, reason: str
) -> None:
    """With its numbers."""
    reasons = ask(engine, facts=facts, parallel=parallel, inventory=inventory).reasons
    assert [found for found in reasons if reason in found]


def test_context_parallelism_is_one_of_two_on_sglang() -> None:
    """Both refusals name the other."""
    reasons = ask("sglang", facts=MLA, parallel=ParallelConfig(tp=8, cp=2, dcp=2)).reasons
    assert len(reasons) == 2
    assert "parallel.cp=2" in reasons[0]
    assert "parallel.dcp=2" in reasons[1]


@pytest.mark.parametrize(
    ("engine", "parallel", "facts", "note"),
    [
        pytest.param("vllm", ParallelConfig(dp=2), MOE, "replicas share the experts", id="vllm: replicas"),
        pytest.param("vllm", ParallelConfig(cp=2), SPARSE, "only sparse MLA models", id="vllm: prefill cp"),
        pytest.param("sglang", ParallelConfig(tp=8, attn_dp=2), DENSE, "Llama, Mistral", id="sglang: attention dp"),
        pytest.param("sglang", ParallelConfig(tp=8, cp=2), DENSE, "Llama, Mistral", id="sglang: prefill cp"),
    ],
)  # fmt: skip
def test_what_arguments_do_not_say_is_noted(
    engine: str, parallel: ParallelConfig, facts: ModelFacts, note: str
) -> None:
    """Limits that the facts do not settle."""
    mapped = ask(engine, facts=facts, parallel=parallel)
    assert mapped.reasons == ()
    assert any(note in found for found in mapped.notes)


def test_on_blackwell_the_default_backend_shares_tokens() -> None:
    """No argument for it; where the GPU is unknown the backend that always can is chosen."""
    parallel = ParallelConfig(tp=8, dcp=8)
    args = {
        where: ask("sglang", facts=MLA, parallel=parallel, inventory=inventory).args.get("attention_backend")
        for where, inventory in (("B200", B200), ("unknown", UNKNOWN), ("H100", H100))
    }
    assert args == {"B200": None, "unknown": "flashinfer", "H100": "flashinfer"}


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_what_was_measured_is_not_judged(engine: str) -> None:
    """A replayed row ran, whatever its model."""
    for parallel in (
        ParallelConfig(tp=8, ep=8),
        ParallelConfig(tp=8, dcp=2),
        ParallelConfig(tp=8, attn_dp=8),
    ):
        assert ask(engine, facts=DENSE, parallel=parallel, deploy="replay").reasons == ()
