"""The facts of the model presets agree with each other: parameters follow from the shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from autotune.plan.facts import facts_of_preset
from autotune.plan.weights import BITS, UNQUANTIZED, parts_of
from autotune.schema import ModelConfig, StoredConfig

PRESETS = sorted((Path(__file__).parents[2] / "conf" / "model").glob("*.yaml"))
NAMES = [path.stem for path in PRESETS]

# Of one MLA layer beside the latent: DeepSeek-V3's config.json (q_lora_rank, qk_nope_head_dim, v_head_dim).
Q_LORA, NOPE, VALUE = 1536, 128, 128
# SigLIP-So400m of 27 layers and the projector to Gemma's width: vision_config of gemma-3-27b-it.
VISION_LAYER = 4 * (1152 * 1152 + 1152) + 2 * 1152 * 4304 + 4304 + 1152 + 4 * 1152
VISION = 27 * VISION_LAYER + (3 * 14 * 14 + 1) * 1152 + 4096 * 1152 + 2 * 1152 + (5376 + 1) * 1152


def model(name: str) -> ModelConfig:
    """The preset as the schema has it; variables of the environment stay as they are written."""
    path = next(path for path in PRESETS if path.stem == name)
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return ModelConfig(**{**content, "stored": StoredConfig(**content["stored"])})


def attention(m: ModelConfig) -> int:
    """Query and output: 2·h·H·d; key and value: 2·h·K·d. MLA: down and up for queries and the latent."""
    h, heads = m.hidden_size or 0, m.heads or 0
    if m.kv_lora_rank is not None:
        rope = m.qk_rope_head_dim or 0
        queries = h * Q_LORA + Q_LORA * heads * (NOPE + rope)
        latent = h * (m.kv_lora_rank + rope) + m.kv_lora_rank * heads * (NOPE + VALUE)
        return queries + latent + heads * VALUE * h
    return 2 * h * (m.head_dim or 0) * (heads + (m.kv_heads or 0))


def counted(name: str, m: ModelConfig) -> int:
    """Layers × (attention + 3·h·i or experts × 3·h·m and router) + vocabulary·h, twice if not tied."""
    h, layers = m.hidden_size or 0, m.layers or 0
    with_experts = layers - m.dense_layers if m.experts else 0
    one = 3 * h * (m.moe_intermediate_size or 0)
    shared = 1 if name.startswith("deepseek") else 0  # n_shared_experts
    experts = with_experts * (((m.experts or 0) + shared) * one + (m.experts or 0) * h)
    dense = (layers - with_experts) * 3 * h * (m.intermediate_size or 0)
    embeddings = (m.vocab_size or 0) * h * (1 if m.tied_embeddings else 2)
    vision = VISION if name == "gemma3_27b" else 0
    return layers * attention(m) + dense + experts + embeddings + vision


@pytest.mark.parametrize("name", NAMES)
def test_parameters_follow_from_the_shape(name: str) -> None:
    """The count differs by norms, biases and sinks only: less than 1 %."""
    m = model(name)
    assert counted(name, m) == pytest.approx(m.params, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_parts_are_the_whole(name: str) -> None:
    """What memory divides over GPUs adds up to the parameters, and no part is negative."""
    m = model(name)
    parts = parts_of(facts_of_preset(m))
    assert parts is not None
    sizes = (parts.experts, parts.attention, parts.dense, parts.shared, parts.embedding, parts.head)
    assert min(sizes) >= 0
    assert sum(sizes) == m.params


@pytest.mark.parametrize("name", NAMES)
def test_attention_is_never_taken_for_more_than_it_is(name: str) -> None:
    """For MLA it is a lower bound, for other models the same."""
    m = model(name)
    parts = parts_of(facts_of_preset(m))
    assert parts is not None
    exact = (m.layers or 0) * attention(m)
    assert parts.attention == exact if m.kv_lora_rank is None else 0.7 * exact < parts.attention <= exact


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_says_how_weights_are_stored(name: str) -> None:
    """`method: none` and 16-bit formats go together; experts have a format where there are experts."""
    stored = model(name).stored
    assert stored.method is not None
    formats = {stored.gemm_dtype, stored.moe_dtype} - {None}
    assert formats <= set(BITS)
    assert (stored.method == "none") == (formats <= UNQUANTIZED)
    assert (stored.moe_dtype is not None) == (model(name).experts is not None)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_gives_every_fact_that_its_kind_of_model_has(name: str) -> None:
    """Shape for all; experts, latent and window come with their sizes."""
    m = model(name)
    needed = ["params", "layers", "hidden_size", "heads", "kv_heads", "vocab_size", "max_model_len", "dtype"]
    if m.experts is not None:
        needed += ["experts_per_token", "moe_intermediate_size"]
    needed.append("head_dim" if m.kv_lora_rank is None else "qk_rope_head_dim")
    if m.experts is None or m.dense_layers:
        needed.append("intermediate_size")
    assert [field for field in needed if getattr(m, field) is None] == []
    assert (m.sliding_window is None) == (m.sliding_layers == 0)
    assert m.sliding_layers < (m.layers or 0)


@pytest.mark.parametrize("path", PRESETS, ids=NAMES)
def test_a_preset_is_short_and_names_its_source(path: Path) -> None:
    """A reader can look the facts up."""
    lines = path.read_text().splitlines()
    assert 5 <= len(lines) <= 25
    assert path.stem == "tiny" or lines[1].startswith("# source: ")
