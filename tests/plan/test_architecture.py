"""The shape of a model, from config.json files as they are published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autotune.plan.architecture import shape_of
from tests.plan.candidates import facts

FILES = Path(__file__).parents[1] / "data" / "checkpoints"
SHAPE = (
    *("layers", "hidden_size", "heads", "kv_heads", "intermediate_size", "vocab_size", "max_model_len"),
    *("tied_embeddings", "experts", "experts_per_token", "moe_intermediate_size", "dense_layers"),
    *("kv_lora_rank", "qk_rope_head_dim", "sliding_window", "sliding_layers"),
)
DENSE = {"model_type": "llama", "num_hidden_layers": 8, "num_attention_heads": 4, "hidden_size": 64}
SLIDING = {**DENSE, "sliding_window": 128}
MOE = {**DENSE, "num_experts": 16, "moe_intermediate_size": 32, "intermediate_size": 96}


def content(name: str) -> dict[str, Any]:
    """A config.json as it is published."""
    read: dict[str, Any] = json.loads((FILES / f"{name}.json").read_text())
    return read


@pytest.mark.parametrize("name", sorted(path.stem for path in FILES.glob("*.json")))
def test_published_files_say_what_the_presets_say(name: str) -> None:
    """Each fact of a preset is read from the file that the preset was made from."""
    read, problems = shape_of(content(name), "config.json")
    preset = facts(name)
    assert problems == []
    told = {fact: getattr(preset, fact) for fact in SHAPE if getattr(preset, fact) is not None}
    assert {fact: getattr(read, fact) for fact in told} == told
    assert read.head_dim == (preset.head_dim or None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("qwen3_30b_a3b", {"intermediate_size": 6144, "dtype": "bf16"}, id="a width that no layer has"),
        pytest.param("mixtral_8x7b", {"intermediate_size": None, "sliding_window": None}, id="the width is the experts'"),
        pytest.param("gpt_oss_120b", {"intermediate_size": None, "dtype": None}, id="no dtype"),
        pytest.param("gemma3_27b", {"dtype": "bf16", "sliding_layers": 52}, id="dtype beside the text part"),
        pytest.param("llama3_1_8b", {"experts": None, "kv_lora_rank": None, "sliding_layers": 0}, id="dense"),
        pytest.param("deepseek_v3", {"head_dim": None, "dense_layers": 3}, id="MLA"),
    ],
)  # fmt: skip
def test_what_presets_leave_open(name: str, expected: dict[str, Any]) -> None:
    """What a published file says, or lacks, beside its preset."""
    read, _ = shape_of(content(name), "config.json")
    assert {fact: getattr(read, fact) for fact in expected} == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param(DENSE, {"kv_heads": 4, "head_dim": 16, "tied_embeddings": None}, id="defaults of heads"),
        pytest.param({**DENSE, "num_key_value_heads": 2, "head_dim": 32}, {"kv_heads": 2, "head_dim": 32}, id="GQA"),
        pytest.param({"model_type": "gpt2", "n_layer": 12, "n_head": 12, "n_embd": 768, "n_positions": 1024}, {"layers": 12, "heads": 12, "hidden_size": 768, "max_model_len": 1024}, id="older names"),
        pytest.param({**DENSE, "num_attention_heads": None, "text_config": {"num_attention_heads": 2}}, {"heads": 2}, id="text part"),
        pytest.param({"text_config": {"model_type": "gemma3_text", "hidden_size": 2560, "num_hidden_layers": 34, "sliding_window": 1024}}, {"heads": 8, "kv_heads": 4, "head_dim": 256, "vocab_size": 262208, "tied_embeddings": True, "sliding_layers": 29}, id="defaults of a class: Gemma 3 4B"),
        pytest.param({**DENSE, "model_type": "gemma2", "num_hidden_layers": 46, "sliding_window": 4096}, {"sliding_layers": 23, "tied_embeddings": True}, id="Gemma 2"),
        pytest.param({**DENSE, "dtype": "float16"}, {"dtype": "fp16"}, id="dtype"),
        pytest.param({**DENSE, "torch_dtype": "torch.float32"}, {"dtype": "fp32"}, id="torch dtype"),
        pytest.param({**DENSE, "torch_dtype": "float8_e4m3fn"}, {"dtype": None}, id="a dtype that is none here"),
        pytest.param({**DENSE, "num_attention_heads": [4, 8]}, {"heads": None}, id="a value for each layer"),
        pytest.param({**DENSE, "num_experts": 0, "num_experts_per_tok": 2}, {"experts": None, "experts_per_token": None}, id="no experts"),
        pytest.param({**DENSE, "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"] * 2}, {"cacheless_layers": 6, "sliding_layers": 0}, id="linear attention"),
    ],
)  # fmt: skip
def test_other_ways_to_say_it(config: dict[str, Any], expected: dict[str, Any]) -> None:
    """Names, defaults and places that model families have."""
    read, problems = shape_of(config, "config.json")
    assert problems == []
    assert {fact: getattr(read, fact) for fact in expected} == expected


@pytest.mark.parametrize(
    ("rope", "longest"),
    [
        pytest.param(None, 4096, id="none"),
        pytest.param({"rope_type": "default"}, 4096, id="default"),
        pytest.param({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 512}, 4096, id="llama3: said already"),
        pytest.param({"type": "longrope", "factor": 8.0}, 4096, id="longrope: said already"),
        pytest.param({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096}, 16384, id="yarn"),
        pytest.param({"type": "yarn", "factor": 8, "original_max_position_embeddings": 512}, 4096, id="yarn: said already"),
        pytest.param({"rope_type": "yarn", "factor": 2.0}, 8192, id="yarn without the original"),
        pytest.param({"type": "dynamic", "factor": 2.0}, 8192, id="dynamic"),
        pytest.param({"type": "video_rope", "factor": None}, 4096, id="a factor that is null"),
        pytest.param({"type": ["yarn"], "factor": "2"}, 4096, id="nonsense"),
    ],
)  # fmt: skip
def test_longest_context(rope: object, longest: int) -> None:
    """What rope scaling makes of `max_position_embeddings`, as vLLM derives it."""
    read, _ = shape_of({**DENSE, "max_position_embeddings": 4096, "rope_scaling": rope}, "config.json")
    assert read.max_model_len == longest


@pytest.mark.parametrize(
    ("said", "sliding"),
    [
        pytest.param({}, 8, id="Mistral: all layers"),
        pytest.param({"use_sliding_window": False}, 0, id="not used"),
        pytest.param({"use_sliding_window": True, "max_window_layers": 6}, 2, id="Qwen 2: the last ones"),
        pytest.param({"max_window_layers": 6}, 0, id="Qwen 2: off unless said"),
        pytest.param({"layer_types": ["sliding_attention", "full_attention"] * 4}, 4, id="listed"),
        pytest.param({"sliding_window_pattern": 4}, 6, id="every fourth sees everything"),
        pytest.param({"_sliding_window_pattern": 3}, 6, id="as newer files call it"),
        pytest.param({"sliding_window_pattern": "LLLG"}, 6, id="EXAONE 4"),
        pytest.param({"sliding_window": None, "sliding_window_pattern": 4}, 0, id="no window"),
    ],
)  # fmt: skip
def test_sliding_layers(said: dict[str, Any], sliding: int) -> None:
    """Which of eight layers see no more than the window."""
    assert shape_of({**SLIDING, **said}, "config.json")[0].sliding_layers == sliding


@pytest.mark.parametrize(
    ("said", "dense"),
    [
        pytest.param({}, 0, id="none"),
        pytest.param({"first_k_dense_replace": 3}, 3, id="the first"),
        pytest.param({"first_k_dense_replace": 1, "moe_layer_freq": 2}, 5, id="the first, and every other"),
        pytest.param({"moe_layer_freq": [0, 1, 1, 1, 1, 1, 1, 1]}, 1, id="a flag for each"),
        pytest.param({"decoder_sparse_step": 2}, 4, id="every other"),
        pytest.param({"decoder_sparse_step": 1, "mlp_only_layers": [0, 7]}, 2, id="listed"),
        pytest.param({"decoder_sparse_step": 2, "mlp_only_layers": [0, 1]}, 5, id="both"),
        pytest.param({"moe_layers": [1, 3, 5, 7]}, 4, id="Llama 4: experts listed"),
        pytest.param({"interleave_moe_layer_step": 2}, 4, id="Llama 4: every other"),
        pytest.param({"num_experts": None, "first_k_dense_replace": 3}, 0, id="no experts"),
    ],
)  # fmt: skip
def test_dense_layers(said: dict[str, Any], dense: int) -> None:
    """Which of eight layers have no experts."""
    assert shape_of({**MOE, **said}, "config.json")[0].dense_layers == dense


def test_llama_4_has_two_widths() -> None:
    """Its `intermediate_size` is an expert's, another key has that of the dense layers."""
    config = {**DENSE, "num_local_experts": 16, "intermediate_size": 8192, "intermediate_size_mlp": 16384}
    read, _ = shape_of(config, "config.json")
    assert (read.moe_intermediate_size, read.intermediate_size) == (8192, 16384)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param({**DENSE, "num_attention_heads": "abc"}, ["num_attention_heads is 'abc': must be a whole number of at least 1"], id="text"),
        pytest.param({**DENSE, "num_hidden_layers": -1}, ["num_hidden_layers is -1: must be a whole number of at least 1"], id="negative"),
        pytest.param({**DENSE, "hidden_size": 0}, ["hidden_size is 0: must be a whole number of at least 1"], id="zero"),
        pytest.param({**DENSE, "vocab_size": True}, ["vocab_size is True: must be a whole number of at least 1"], id="true"),
        pytest.param({**DENSE, "vocab_size": 3.5}, ["vocab_size is 3.5: must be a whole number of at least 1"], id="fraction"),
        pytest.param({**DENSE, "num_experts": -8}, ["num_experts is -8: must be a whole number of at least 0"], id="negative experts"),
        pytest.param({**DENSE, "num_hidden_layers": 10**30}, ["num_hidden_layers is 1000000000000000000000000000000: must be a whole number of at least 1"], id="absurd"),
        pytest.param({**DENSE, "head_dim": "x" * 99}, ["head_dim is 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ...: must be a whole number of at least 0"], id="long text"),
        pytest.param({**DENSE, "num_attention_heads": "a", "num_hidden_layers": "b"}, ["num_hidden_layers is 'b'", "num_attention_heads is 'a'"], id="all at once"),
        pytest.param({}, ["describes no model: no model_type, layers or heads"], id="empty"),
    ],
)  # fmt: skip
def test_what_is_wrong(config: dict[str, Any], expected: list[str]) -> None:
    """Every problem of a file, at once."""
    _, problems = shape_of(config, "config.json")
    assert len(problems) == len(expected)
    assert all(said.startswith(start) for said, start in zip(problems, expected, strict=True))


def test_a_model_without_attention_is_no_problem() -> None:
    """Mamba has no heads: engines may know it though its shape is unknown here."""
    read, problems = shape_of({"model_type": "mamba", "state_size": 16}, "config.json")
    assert (read.shaped, problems) == (False, [])
