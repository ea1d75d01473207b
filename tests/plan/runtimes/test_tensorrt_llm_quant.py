"""TensorRT-LLM: number formats, which the checkpoint decides and the GPUs must have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune.plan.facts import ModelFacts, Stored
from tests.contracts.runtime import DENSE, MLA, MOE
from tests.plan.runtimes.tensorrt_llm_plans import NEW, OLD, mapped

FP8_KV = replace(DENSE, stored=Stored(method="modelopt", gemm_dtype="fp8", kvcache_dtype="fp8"))
NVFP4_KV = replace(DENSE, stored=Stored(method="modelopt", gemm_dtype="fp8", kvcache_dtype="nvfp4"))
GPT_OSS = replace(MOE, stored=Stored(method="mxfp4", gemm_dtype="bf16", moe_dtype="mxfp4"))
NO_ONLINE = "TensorRT-LLM has no online quantization: "


@pytest.mark.parametrize(
    ("changes", "facts", "reason"),
    [
        ("quant.gemm_dtype=fp8", DENSE, f"{NO_ONLINE}use an FP8 (ModelOpt) checkpoint and quant.kvcache_dtype=fp8"),
        ("quant.gemm_dtype=int8", DENSE, f"{NO_ONLINE}use an FP8 (ModelOpt) checkpoint, because it has no INT8 kernels"),
        ("quant.gemm_dtype=w4a16", DENSE, f"{NO_ONLINE}use a W4A16_AWQ (ModelOpt) checkpoint"),
        ("quant.gemm_dtype=nvfp4", DENSE, f"{NO_ONLINE}needs compute capability 10.0 or newer; H100 has 9.0: choose quant.gemm_dtype=auto"),
        ("quant.moe_dtype=w4afp8", MOE, f"{NO_ONLINE}use a W4A8_AWQ (ModelOpt) checkpoint"),
        ("quant.moe_dtype=fp8", DENSE, "org/model has no experts: set quant.moe_dtype=auto"),
        ("quant.gemm_dtype=nvfp4", MLA, "the checkpoint's weights are fp8, which TensorRT-LLM keeps: choose quant.gemm_dtype=auto or an NVFP4 (ModelOpt) checkpoint"),
        ("quant.gemm_dtype=bf16", MLA, "the checkpoint's weights are fp8, which TensorRT-LLM keeps: choose quant.gemm_dtype=auto or a bf16 checkpoint"),
        ("quant.kvcache_dtype=fp8_e5m2", DENSE, "TensorRT-LLM has no e5m2 KV cache: choose quant.kvcache_dtype=fp8 (e4m3)"),
        ("quant.kvcache_dtype=nvfp4", DENSE, "needs compute capability 10.0 or newer; H100 has 9.0: choose quant.kvcache_dtype=fp8"),
        ("quant.kvcache_dtype=bf16", FP8_KV, "the checkpoint is made for a KV cache of fp8, which TensorRT-LLM keeps: choose quant.kvcache_dtype=auto or a checkpoint without KV scales"),
        ("quant.kvcache_dtype=bf16", replace(DENSE, dtype="fp16"), "is the model's own type, fp16: choose quant.kvcache_dtype=auto"),
        ("quant.attention_dtype=fp8", DENSE, "follows from an FP8 (e4m3) KV cache: set quant.kvcache_dtype=fp8"),
    ],
)  # fmt: skip
def test_what_cannot_be_expressed_is_refused(changes: str, facts: ModelFacts, reason: str) -> None:
    """With the field, the reason, and the nearest thing that works."""
    assert mapped(changes, facts=facts).reasons == (f"{changes}: {reason}",)


@pytest.mark.parametrize(
    ("changes", "facts", "note"),
    [
        ("quant.gemm_dtype=fp8", MLA, "the checkpoint is already fp8: no flag"),
        ("quant.moe_dtype=mxfp4", GPT_OSS, "the checkpoint is already mxfp4: no flag"),
        (
            "quant.kvcache_dtype=bf16",
            DENSE,
            "the model's own type, which the KV cache has without an argument",
        ),
        ("quant.attention_dtype=fp8", FP8_KV, "follows from the FP8 KV cache: no flag"),
    ],
)
def test_what_holds_without_an_argument_is_told(changes: str, facts: ModelFacts, note: str) -> None:
    """Nothing is emitted, nothing refused, and a note says why."""
    found = mapped(changes, facts=facts)
    assert (found.args, found.reasons) == ({}, ())
    assert f"{changes}: {note}" in found.notes


def test_an_unknown_checkpoint_is_judged_as_not_quantized() -> None:
    """And a note says so."""
    found = mapped("quant.gemm_dtype=fp8", facts=replace(DENSE, stored=None))
    assert "has no online quantization" in found.reasons[0]
    assert any("unknown: judged as not quantized" in note for note in found.notes)


@pytest.mark.parametrize(
    ("version", "stored", "part"),
    [
        (
            NEW,
            Stored(method="awq", gemm_dtype="w4a16"),
            "method is awq, which TensorRT-LLM 1.3.0rc24 does not load",
        ),
        (NEW, Stored(method="gguf"), "method is gguf"),
        (OLD, Stored(method="mxfp8", gemm_dtype="mxfp8"), "TensorRT-LLM 1.2.1 does not load"),
        (NEW, Stored(method="compressed-tensors", gemm_dtype="w4a16"), "stores w4a16 in compressed-tensors"),
        (NEW, Stored(method="modelopt", gemm_dtype="w4a16"), None),
        (NEW, Stored(method="compressed-tensors", gemm_dtype="fp8"), None),
    ],
)
def test_a_checkpoint_that_does_not_load_is_refused(version: str, stored: Stored, part: str | None) -> None:
    """Before any GPU is taken: the engine raises NotImplementedError only while loading."""
    reasons = mapped(version=version, facts=replace(DENSE, stored=stored)).reasons
    assert [part in reason for reason in reasons[:1] if part] == ([True] if part else [])
    assert bool(reasons) is (part is not None)


@pytest.mark.parametrize(
    ("name", "capability", "facts", "refused"),
    [
        ("A100", 8.0, FP8_KV, "stores fp8, which needs compute capability 8.9 or newer; A100 has 8.0"),
        ("L40S", 8.9, FP8_KV, None),
        ("H100", 9.0, replace(DENSE, stored=Stored(method="modelopt", gemm_dtype="nvfp4")), "stores nvfp4, which needs"),
        ("B200", 10.0, replace(DENSE, stored=Stored(method="modelopt", gemm_dtype="w4afp8")), "stores w4afp8, which has kernels up to compute capability 9.x; B200 has 10.0"),
        ("A100", 8.0, GPT_OSS, "stores mxfp4, which needs compute capability 9.0 or newer; A100 has 8.0"),
        ("H100", 9.0, GPT_OSS, None),
        ("GPU", None, FP8_KV, None),
    ],
)  # fmt: skip
def test_gpus_compute_in_what_the_checkpoint_stores(
    name: str, capability: float | None, *, facts: ModelFacts, refused: str | None
) -> None:
    """An unknown compute capability refuses nothing."""
    reasons = mapped(facts=facts, capability=capability, name=name).reasons
    assert len(reasons) == (refused is not None)
    assert all(refused in reason for reason in reasons if refused)


def test_mxfp4_on_hopper_computes_in_16_bits() -> None:
    """It runs, and is not what Blackwell measures."""
    assert any("16 bits below compute capability 10.0" in note for note in mapped(facts=GPT_OSS).notes)
    assert not mapped(facts=GPT_OSS, capability=10.0).notes


def test_only_the_new_version_overrides_the_checkpoints_kv_cache() -> None:
    """1.2 raises, 1.3 warns."""
    assert (
        "cannot override the checkpoint's nvfp4"
        in mapped("quant.kvcache_dtype=fp8", facts=NVFP4_KV, version=OLD).reasons[0]
    )
    found = mapped("quant.kvcache_dtype=fp8", facts=NVFP4_KV)
    assert (found.args, found.reasons) == ({"kv_cache_dtype": "fp8"}, ())
    assert "quant.kvcache_dtype=fp8: overrides the checkpoint's nvfp4" in found.notes
