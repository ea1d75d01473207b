"""Models in GGUF files: headers that the tests write, and names as they are published."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autotune.plan.facts import ModelFacts, Stored
from autotune.plan.gguf import read_gguf, shards_of
from tests.plan.gguf_files import LLAMA, TENSORS, gguf, text, write

EXPERTS = {
    "general.architecture": "qwen3moe",
    "qwen3moe.block_count": 48,
    "qwen3moe.embedding_length": 2048,
    "qwen3moe.feed_forward_length": 6144,
    "qwen3moe.attention.head_count": 32,
    "qwen3moe.attention.head_count_kv": 4,
    "qwen3moe.attention.key_length": 128,
    "qwen3moe.expert_count": 128,
    "qwen3moe.expert_used_count": 8,
    "qwen3moe.expert_feed_forward_length": 768,
}
MLA = {
    "general.architecture": "deepseek2",
    "deepseek2.block_count": 62,
    "deepseek2.nextn_predict_layers": 1,
    "deepseek2.embedding_length": 7168,
    "deepseek2.attention.head_count": 128,
    "deepseek2.attention.head_count_kv": 1,
    "deepseek2.attention.kv_lora_rank": 512,
    "deepseek2.attention.key_length": 576,
    "deepseek2.rope.dimension_count": 64,
    "deepseek2.expert_count": 256,
    "deepseek2.leading_dense_block_count": 3,
}
GEMMA = {
    "general.architecture": "gemma3",
    "gemma3.block_count": 62,
    "gemma3.attention.head_count": 32,
    "gemma3.attention.sliding_window": 1024,
}
MIXTRAL = {**LLAMA, "llama.expert_count": 8, "llama.expert_used_count": 2}


def test_llama(tmp_path: Path) -> None:
    """Every fact of a dense model, its parameters and the size of its files."""
    file = write(tmp_path / "Llama-3.1-8B-Q4_K_M.gguf")
    assert read_gguf([file]).facts == ModelFacts(
        source="GGUF file Llama-3.1-8B-Q4_K_M.gguf",
        params=2 * 4096 * 128256 + 4096 * 4096,
        layers=32,
        hidden_size=4096,
        heads=32,
        kv_heads=8,
        head_dim=128,
        intermediate_size=14336,
        vocab_size=128256,
        max_model_len=131072,
        tied_embeddings=False,
        stored=Stored(method="gguf", gemm_dtype="w4a16"),
        weights_bytes=file.stat().st_size,
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(EXPERTS, {"experts": 128, "experts_per_token": 8, "moe_intermediate_size": 768, "intermediate_size": 6144, "head_dim": 128, "dense_layers": 0}, id="experts"),
        pytest.param(MIXTRAL, {"experts": 8, "moe_intermediate_size": 14336, "intermediate_size": None}, id="the width is the experts'"),
        pytest.param(MLA, {"layers": 61, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "head_dim": None, "dense_layers": 3}, id="MLA"),
        pytest.param(GEMMA, {"sliding_window": 1024, "sliding_layers": 52, "kv_heads": 32}, id="sliding, as the architecture does"),
        pytest.param({**GEMMA, "gemma3.attention.sliding_window_pattern": [True] * 40 + [False] * 22}, {"sliding_layers": 40}, id="sliding, a flag for each layer"),
        pytest.param({**LLAMA, "llama.attention.sliding_window": 4096}, {"sliding_layers": 32}, id="all layers slide"),
        pytest.param({**LLAMA, "llama.attention.head_count_kv": [8, 0] * 16}, {"kv_heads": 8}, id="layers without attention"),
        pytest.param({**LLAMA, "llama.attention.head_count": [8, 4] * 16}, {"heads": None}, id="layers that differ"),
        pytest.param({**LLAMA, "llama.vocab_size": 0}, {"vocab_size": 3}, id="as many tokens as are listed"),
        pytest.param({**LLAMA, "llama.block_count": "many"}, {"layers": None}, id="text for a number"),
    ],
)  # fmt: skip
def test_architectures(tmp_path: Path, values: dict[str, object], expected: dict[str, Any]) -> None:
    """What the header says of other architectures."""
    facts = read_gguf([write(tmp_path / "a.gguf", gguf(values))]).facts
    assert {fact: getattr(facts, fact) for fact in expected} == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Llama-3.1-8B-Instruct-Q4_K_M.gguf", "w4a16"),
        ("qwen2.5-7b-instruct-q4_0.gguf", "w4a16"),
        ("llama-2-7b.Q4_K_S.gguf", "w4a16"),
        ("Phi-3-mini-4k-instruct-q4.gguf", "w4a16"),
        ("Qwen3-235B-A22B-UD-Q4_K_XL-00001-of-00001.gguf", "w4a16"),
        ("model-IQ4_XS.gguf", "w4a16"),
        ("model-Q8_0.gguf", "w8a16"),
        ("model-F16.gguf", "fp16"),
        ("model-BF16.gguf", "bf16"),
        ("gpt-oss-20b-MXFP4.gguf", "mxfp4"),
        ("model-Q5_K_M.gguf", None),
        ("model-IQ2_XXS.gguf", None),
        ("plain.gguf", "w4a16"),  # general.file_type says it
    ],
)
def test_formats_by_name(tmp_path: Path, name: str, expected: str | None) -> None:
    """File names tell the number format, and the header where they do not."""
    facts = read_gguf([write(tmp_path / name)]).facts
    assert facts.stored == Stored(method="gguf", gemm_dtype=expected)
    assert facts.dtype == (expected if expected in {"fp16", "bf16"} else None)


def test_experts_have_the_format_too(tmp_path: Path) -> None:
    """The format of the experts is set where there are experts."""
    facts = read_gguf([write(tmp_path / "a-Q8_0.gguf", gguf(EXPERTS))]).facts
    assert facts.stored == Stored(method="gguf", gemm_dtype="w8a16", moe_dtype="w8a16")


def test_embeddings_are_tied_without_an_output(tmp_path: Path) -> None:
    """A file without an output matrix uses the embeddings'."""
    tied = {name: sizes for name, sizes in TENSORS.items() if name != "output.weight"}
    assert read_gguf([write(tmp_path / "a.gguf", gguf(LLAMA, tied))]).facts.tied_embeddings is True


def test_shards_count_together(tmp_path: Path) -> None:
    """Parameters and sizes are those of all shards; the shape is the first one's."""
    first = write(tmp_path / "a-Q4_0-00001-of-00002.gguf", gguf(LLAMA, {"blk.0.attn_q.weight": (64, 64)}))
    second = write(tmp_path / "a-Q4_0-00002-of-00002.gguf", gguf({}, {"output.weight": (64, 32)}))
    write(tmp_path / "mmproj-a.gguf")
    models = shards_of(list(tmp_path.glob("*.gguf")))
    assert list(models.values()) == [[first, second]]
    found = read_gguf([first, second])
    assert (found.facts.params, found.facts.layers, found.problems) == (64 * 64 + 64 * 32, 32, ())
    assert found.facts.weights_bytes == first.stat().st_size + second.stat().st_size
    (missing,) = read_gguf([first]).problems
    assert missing == f"{first}: 1 of its 2 files are there: download the rest"


LONG_ARRAY = gguf({}, {})[:-8] + struct.pack("<Q", 1) + text("a") + struct.pack("<IIQ", 9, 10, 2**40)
NESTED = gguf({}, {})[:-8] + struct.pack("<Q", 1) + text("a") + struct.pack("<IIQ", 9, 9, 1)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"", "is no GGUF file: it does not start with GGUF", id="empty"),
        pytest.param(b"PK\x03\x04", "is no GGUF file: it does not start with GGUF", id="another format"),
        pytest.param(gguf()[:200], "ends inside its header", id="cut off"),
        pytest.param(b"GGUF\x03\x00", "ends inside its header", id="cut off early"),
        pytest.param(gguf(version=1), "GGUF version 1 cannot be read, only 2 and 3", id="version 1"),
        pytest.param(b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "GGUF version 50331648 cannot be read, only 2 and 3", id="big-endian"),
        pytest.param(b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "its header is damaged: too many entries", id="entries"),
        pytest.param(b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**60), "its header is damaged: a name is too long", id="name"),
        pytest.param(LONG_ARRAY, "its header is damaged: longer than 64 MiB", id="array"),
        pytest.param(NESTED, "its header is damaged: an array of unknown type 9", id="nested arrays"),
        pytest.param(gguf({}, {})[:-8] + struct.pack("<Q", 1) + text("a") + struct.pack("<I", 99), "its header is damaged: a value of unknown type 99", id="type"),
        pytest.param(gguf(LLAMA, {"a": (2,) * 5}), "its header is damaged: impossible tensors", id="dimensions"),
        pytest.param(gguf(LLAMA, {"a": (2**40, 2**40)}), "its header is damaged: impossible tensors", id="sizes"),
    ],
)  # fmt: skip
def test_damaged(tmp_path: Path, content: bytes, problem: str) -> None:
    """A file that is none, or not whole, is a problem that says what to do."""
    file = write(tmp_path / "a.gguf", content)
    found = read_gguf([file])
    assert found.problems == (f"{file}: {problem}: download it again, or give another model.path",)
    assert not found.facts.shaped


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 400), st.binary(min_size=1, max_size=12))
def test_no_damage_is_a_traceback(tmp_path: Path, place: int, damage: bytes) -> None:
    """Whatever bytes stand in a header, it is read, or said to be wrong."""
    whole = gguf({key: said for key, said in LLAMA.items() if key != "general.name"})
    file = write(tmp_path / "a.gguf", whole[:place] + damage + whole[place + len(damage) :])
    assert isinstance(read_gguf([file]).facts, ModelFacts)


def test_a_large_vocabulary_is_skipped(tmp_path: Path) -> None:
    """128,256 tokens and twice as many merges take well below the seconds that reading them takes."""
    words = ["word" + str(n) for n in range(128256)]
    values = {**LLAMA, "tokenizer.ggml.tokens": words, "tokenizer.ggml.merges": [*words, *words]}
    file = write(tmp_path / "a.gguf", gguf({**values, "llama.vocab_size": 0}))
    before = time.monotonic()
    assert read_gguf([file]).facts.vocab_size == 128256
    assert time.monotonic() - before < 5
